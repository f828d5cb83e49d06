"""Llama: RMSNorm, grouped-query attention, biases only where the config has them."""

from collections.abc import Callable
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from dynamics.families.anatomy import (
    Anatomy,
    Block,
    Norm,
    embedding_of,
    heads_of_linear,
    rms_norm,
    submodule,
    unembedding_of,
    values_of_linear,
)
from dynamics.families.rotary import rotary_of

MakeNorm = Callable[[nn.Module], Norm]
MakeBlock = Callable[[nn.Module, int, int, MakeNorm], Block]
"""A layer, its number of heads, its number of key heads and its kind of norm -> its parts."""


def block(
    layer: nn.Module, n_heads: int, n_kv_heads: int, norm: MakeNorm, *, attention_norm: str = "input_layernorm"
) -> Block:
    """Parts of a layer that norms what attention and MLP read, and adds what they write as it is."""
    o_proj = submodule(layer, "self_attn.o_proj", nn.Linear)
    return Block(
        attention_output=o_proj,
        w_o=heads_of_linear(o_proj.weight, n_heads),
        w_v=values_of_linear(submodule(layer, "self_attn.v_proj", nn.Linear).weight, n_kv_heads),
        attention_bias=o_proj.bias,
        mlp=layer.get_submodule("mlp"),
        attention_norm=norm(layer.get_submodule(attention_norm)),
    )


def anatomy(model: PreTrainedModel, block: MakeBlock = block, norm: MakeNorm = rms_norm) -> Anatomy:
    """Parts of a `LlamaForCausalLM`, or of a model whose modules have the same names.

    Grouped-query attention shares keys and values among heads; what W_O reads is still one vector per query head,
    `d_head` = its input width / n_heads, which need not be d_model / n_heads.

    Args:
        model: the model.
        block: makes the parts of a layer.
        norm: makes the norms of the model.
    """
    backbone: Any = model.get_submodule("model")
    unembedding, bias = unembedding_of(model)
    n_heads, n_kv_heads = model.config.num_attention_heads, model.config.num_key_value_heads
    return Anatomy(
        backbone=backbone,
        rotary=rotary_of(backbone),
        first_block=backbone.layers[0],
        blocks=tuple(block(layer, n_heads, n_kv_heads or n_heads, norm) for layer in backbone.layers),
        final_norm=norm(backbone.norm),
        embedding=embedding_of(model),
        unembedding=unembedding,
        unembedding_bias=bias,
    )
