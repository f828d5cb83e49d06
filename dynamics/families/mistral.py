"""Mistral: the modules of Llama; its sliding window limits what heads attend to, not what they write."""

from transformers import MistralForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy


def anatomy(model: MistralForCausalLM) -> Anatomy:
    """Parts of a `MistralForCausalLM`."""
    return llama.anatomy(model)
