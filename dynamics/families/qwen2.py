"""Qwen-2 and 2.5: the modules of Llama, with biases on queries, keys and values, which heads read and do not write."""

from transformers import Qwen2ForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy


def anatomy(model: Qwen2ForCausalLM) -> Anatomy:
    """Parts of a `Qwen2ForCausalLM`."""
    return llama.anatomy(model)
