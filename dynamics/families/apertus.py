"""Apertus: the attention of Llama with norms on queries and keys, and other names of the norms."""

from functools import partial

from transformers import ApertusForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy


def anatomy(model: ApertusForCausalLM) -> Anatomy:
    """Parts of an `ApertusForCausalLM`."""
    return llama.anatomy(model, partial(llama.block, attention_norm="attention_layernorm"))
