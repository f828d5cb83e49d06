"""GPT-2: LayerNorm, learned positions added to the embedding, `Conv1D` weights stored (in, out), tied unembedding."""

from torch import nn
from transformers import GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from dynamics.errors import UnsupportedModel
from dynamics.families.anatomy import (
    Anatomy,
    Block,
    embedding_of,
    heads_of_rows,
    layer_norm,
    submodule,
    unembedding_of,
)


def anatomy(model: GPT2LMHeadModel) -> Anatomy:
    """Parts of a `GPT2LMHeadModel`; the embedding part is token plus position, the input of block 0.

    Raises:
        UnsupportedModel: blocks have cross-attention, which is no component.
    """
    if model.config.add_cross_attention:
        raise UnsupportedModel(
            "config key add_cross_attention = True: cross-attention writes to the residual stream and is no "
            "component. Use a decoder-only GPT-2"
        )
    backbone = model.transformer
    unembedding, bias = unembedding_of(model)
    return Anatomy(
        backbone=backbone,
        rotary=None,
        first_block=backbone.h[0],
        blocks=tuple(_block(layer, model.config.num_attention_heads) for layer in backbone.h),
        final_norm=layer_norm(backbone.ln_f),
        embedding=embedding_of(model),
        unembedding=unembedding,
        unembedding_bias=bias,
    )


def _block(layer: nn.Module, n_heads: int) -> Block:
    c_proj = submodule(layer, "attn.c_proj", Conv1D)
    values = submodule(layer, "attn.c_attn", Conv1D).weight.chunk(3, 1)[2]
    return Block(
        attention_output=c_proj,
        w_o=heads_of_rows(c_proj.weight, n_heads),
        w_v=values.reshape(len(values), n_heads, -1).transpose(0, 1),
        attention_bias=c_proj.bias,
        mlp=layer.get_submodule("mlp"),
        attention_norm=layer_norm(submodule(layer, "ln_1", nn.LayerNorm)),
    )
