"""Mistral: laid out as Llama; its sliding window decides what a head sees, not where it writes."""

from transformers import MistralForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy


def anatomy(model: MistralForCausalLM) -> Anatomy:
    """Parts of a `MistralForCausalLM`."""
    return llama.anatomy(model)
