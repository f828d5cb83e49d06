"""Apertus: the attention of Llama with norms on queries and keys, and other names of the norms."""

from torch import nn
from transformers import ApertusForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy, Block, heads_of_linear, submodule, values_of_linear
from dynamics.families.llama import MakeNorm


def anatomy(model: ApertusForCausalLM) -> Anatomy:
    """Parts of an `ApertusForCausalLM`."""
    return llama.anatomy(model, _block)


def _block(layer: nn.Module, n_heads: int, n_kv_heads: int, norm: MakeNorm) -> Block:
    o_proj = submodule(layer, "self_attn.o_proj", nn.Linear)
    return Block(
        attention_output=o_proj,
        w_o=heads_of_linear(o_proj.weight, n_heads),
        w_v=values_of_linear(submodule(layer, "self_attn.v_proj", nn.Linear).weight, n_kv_heads),
        attention_bias=o_proj.bias,
        mlp=layer.get_submodule("mlp"),
        attention_norm=norm(layer.get_submodule("attention_layernorm")),
    )
