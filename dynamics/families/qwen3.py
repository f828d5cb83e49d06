"""Qwen-3: the modules of Llama; queries and keys are normalised in each head, which changes attention only."""

from transformers import Qwen3ForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy


def anatomy(model: Qwen3ForCausalLM) -> Anatomy:
    """Parts of a `Qwen3ForCausalLM`."""
    return llama.anatomy(model)
