"""GPT-NeoX (Pythia): parallel or sequential residual, LayerNorm, biases on every projection."""

from torch import nn
from transformers import GPTNeoXForCausalLM

from dynamics.families.anatomy import (
    Anatomy,
    Block,
    embedding_of,
    heads_of_linear,
    layer_norm,
    submodule,
    unembedding_of,
)
from dynamics.families.rotary import rotary_of


def anatomy(model: GPTNeoXForCausalLM) -> Anatomy:
    """Parts of a `GPTNeoXForCausalLM`.

    Whether attention and MLP read the same residual (parallel) or the MLP reads the attention's result (sequential)
    changes what they write, not that it is added, so both have the same parts.
    """
    backbone = model.gpt_neox
    n_heads = model.config.num_attention_heads
    unembedding, bias = unembedding_of(model)
    return Anatomy(
        backbone=backbone,
        rotary=rotary_of(backbone),
        first_block=backbone.layers[0],
        blocks=tuple(_block(layer, n_heads) for layer in backbone.layers),
        final_norm=layer_norm(backbone.final_layer_norm),
        embedding=embedding_of(model),
        unembedding=unembedding,
        unembedding_bias=bias,
    )


def _block(layer: nn.Module, n_heads: int) -> Block:
    dense = submodule(layer, "attention.dense", nn.Linear)
    fused = submodule(layer, "attention.query_key_value", nn.Linear).weight
    return Block(
        attention_output=dense,
        w_o=heads_of_linear(dense.weight, n_heads),
        w_v=fused.view(n_heads, 3, -1, fused.shape[1])[:, 2].transpose(1, 2),
        attention_bias=dense.bias,
        mlp=layer.get_submodule("mlp"),
        attention_norm=layer_norm(submodule(layer, "input_layernorm", nn.LayerNorm)),
    )
