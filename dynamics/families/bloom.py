"""BLOOM: LayerNorm, also after the embedding; attention biased by distance (ALiBi); biases on every projection."""

from torch import nn
from transformers import BloomForCausalLM

from dynamics.errors import UnsupportedModel
from dynamics.families.anatomy import (
    Anatomy,
    Block,
    embedding_of,
    heads_of_linear,
    layer_norm,
    submodule,
    unembedding_of,
)


def anatomy(model: BloomForCausalLM) -> Anatomy:
    """Parts of a `BloomForCausalLM`; the embedding part is its norm's output, the input of block 0.

    Raises:
        UnsupportedModel: attention and MLP add to a norm's output instead of the residual stream, or projections are
            computed in slices, without their modules.
    """
    config, backbone = model.config, model.transformer
    if config.apply_residual_connection_post_layernorm:
        raise UnsupportedModel(
            "config key apply_residual_connection_post_layernorm = True: layers add to a norm's output, so that logits "
            "are no sum of components. Use a BLOOM model without it"
        )
    if config.slow_but_exact and config.pretraining_tp > 1:
        raise UnsupportedModel(
            "config key slow_but_exact = True computes projections in slices. Set it to false in config.json: the "
            "same numbers in another order"
        )
    unembedding, bias = unembedding_of(model)
    return Anatomy(
        backbone=backbone,
        rotary=None,
        first_block=backbone.h[0],
        blocks=tuple(_block(layer, config.num_attention_heads) for layer in backbone.h),
        final_norm=layer_norm(backbone.ln_f),
        embedding=embedding_of(model),
        unembedding=unembedding,
        unembedding_bias=bias,
    )


def _block(layer: nn.Module, n_heads: int) -> Block:
    """What the module `mlp` returns has the residual stream in it; what is added is its second projection's output."""
    dense = submodule(layer, "self_attention.dense", nn.Linear)
    fused = submodule(layer, "self_attention.query_key_value", nn.Linear).weight
    return Block(
        attention_output=dense,
        w_o=heads_of_linear(dense.weight, n_heads),
        w_v=fused.view(n_heads, 3, -1, fused.shape[1])[:, 2].transpose(1, 2),
        attention_bias=dense.bias,
        mlp=layer.get_submodule("mlp.dense_4h_to_h"),
        attention_norm=layer_norm(submodule(layer, "input_layernorm", nn.LayerNorm)),
    )
