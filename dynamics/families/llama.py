"""Llama: RMSNorm, grouped-query attention, biases only where the config has them."""

from collections.abc import Callable

from torch import nn
from transformers import LlamaForCausalLM, MistralForCausalLM, Olmo2ForCausalLM

from dynamics.families.anatomy import (
    Anatomy,
    Block,
    embedding_of,
    heads_of_linear,
    rms_norm,
    submodule,
    unembedding_of,
    values_of_linear,
)
from dynamics.families.rotary import rotary_of


def anatomy(model: LlamaForCausalLM | MistralForCausalLM) -> Anatomy:
    """Parts of a `LlamaForCausalLM`.

    Grouped-query attention shares keys and values among heads; what W_O reads is still one vector per query head,
    `d_head` = its input width / n_heads, which need not be d_model / n_heads.
    """
    return rms_anatomy(model, _block)


def rms_anatomy(
    model: LlamaForCausalLM | MistralForCausalLM | Olmo2ForCausalLM, block: Callable[[nn.Module, int, int], Block]
) -> Anatomy:
    """Parts of a model with the modules of Llama; `block` makes a `Block` of a layer, its heads and its key heads."""
    backbone = model.model
    unembedding, bias = unembedding_of(model)
    n_heads, n_kv_heads = model.config.num_attention_heads, model.config.num_key_value_heads
    return Anatomy(
        backbone=backbone,
        rotary=rotary_of(backbone),
        first_block=backbone.layers[0],
        blocks=tuple(block(layer, n_heads, n_kv_heads or n_heads) for layer in backbone.layers),
        final_norm=rms_norm(backbone.norm),
        embedding=embedding_of(model),
        unembedding=unembedding,
        unembedding_bias=bias,
    )


def _block(layer: nn.Module, n_heads: int, n_kv_heads: int) -> Block:
    o_proj = submodule(layer, "self_attn.o_proj", nn.Linear)
    return Block(
        attention_output=o_proj,
        w_o=heads_of_linear(o_proj.weight, n_heads),
        w_v=values_of_linear(submodule(layer, "self_attn.v_proj", nn.Linear).weight, n_kv_heads),
        attention_bias=o_proj.bias,
        mlp=layer.get_submodule("mlp"),
        attention_norm=rms_norm(layer.get_submodule("input_layernorm")),
    )
