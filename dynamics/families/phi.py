"""Phi-1 and Phi-2: parallel residual, LayerNorm, partial rotary embedding, biases on every projection."""

from torch import nn
from transformers import PhiForCausalLM

from dynamics.families.anatomy import (
    Anatomy,
    Block,
    embedding_of,
    heads_of_linear,
    layer_norm,
    submodule,
    unembedding_of,
    values_of_linear,
)
from dynamics.families.rotary import rotary_of


def anatomy(model: PhiForCausalLM) -> Anatomy:
    """Parts of a `PhiForCausalLM`; its unembedding has a bias."""
    backbone, config = model.model, model.config
    unembedding, bias = unembedding_of(model)
    n_heads, n_kv_heads = config.num_attention_heads, config.num_key_value_heads or config.num_attention_heads
    return Anatomy(
        backbone=backbone,
        rotary=rotary_of(backbone),
        first_block=backbone.layers[0],
        blocks=tuple(_block(layer, n_heads, n_kv_heads) for layer in backbone.layers),
        final_norm=layer_norm(backbone.final_layernorm),
        embedding=embedding_of(model),
        unembedding=unembedding,
        unembedding_bias=bias,
    )


def _block(layer: nn.Module, n_heads: int, n_kv_heads: int) -> Block:
    dense = submodule(layer, "self_attn.dense", nn.Linear)
    return Block(
        attention_output=dense,
        w_o=heads_of_linear(dense.weight, n_heads),
        w_v=values_of_linear(submodule(layer, "self_attn.v_proj", nn.Linear).weight, n_kv_heads),
        attention_bias=dense.bias,
        mlp=layer.get_submodule("mlp"),
        attention_norm=layer_norm(submodule(layer, "input_layernorm", nn.LayerNorm)),
    )
