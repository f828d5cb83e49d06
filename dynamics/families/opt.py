"""OPT: LayerNorm before attention and MLP, learned positions added to the embedding, biases on every projection."""

from torch import nn
from transformers import OPTForCausalLM

from dynamics.errors import UnsupportedModel
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


def anatomy(model: OPTForCausalLM) -> Anatomy:
    """Parts of an `OPTForCausalLM`; the embedding part is token plus position, the input of block 0.

    Raises:
        UnsupportedModel: as in opt-350m, layers normalise their whole residual stream, or embeddings have another width
            than it, so that no term of a sum belongs to a component.
    """
    config, decoder = model.config, model.model.decoder
    if not config.do_layer_norm_before or decoder.final_layer_norm is None:
        raise UnsupportedModel(
            "config key do_layer_norm_before = False (or no final norm): each layer normalises the whole residual "
            "stream, so that logits are no sum of components. Use another size of OPT than 350m"
        )
    if config.word_embed_proj_dim != config.hidden_size:
        raise UnsupportedModel(
            f"config key word_embed_proj_dim = {config.word_embed_proj_dim} is not hidden_size = {config.hidden_size}: "
            "logits are read after another projection. Use another size of OPT than 350m"
        )
    unembedding, bias = unembedding_of(model)
    return Anatomy(
        backbone=model.model,
        rotary=None,
        first_block=decoder.layers[0],
        blocks=tuple(_block(layer, config.num_attention_heads) for layer in decoder.layers),
        final_norm=layer_norm(decoder.final_layer_norm, model.device),
        embedding=embedding_of(model),
        unembedding=unembedding,
        unembedding_bias=bias,
    )


def _block(layer: nn.Module, n_heads: int) -> Block:
    """An MLP has no module of its own in OPT; what it adds is the output of its second projection, of flat tokens."""
    out_proj = submodule(layer, "self_attn.out_proj", nn.Linear)
    return Block(
        attention_output=out_proj,
        w_o=heads_of_linear(out_proj.weight, n_heads),
        w_v=values_of_linear(submodule(layer, "self_attn.v_proj", nn.Linear).weight, n_heads),
        attention_bias=out_proj.bias,
        mlp=layer.get_submodule("fc2"),
        attention_norm=layer_norm(submodule(layer, "self_attn_layer_norm", nn.LayerNorm), out_proj.weight.device),
    )
