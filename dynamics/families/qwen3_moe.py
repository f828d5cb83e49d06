"""Qwen-3 with experts: the modules of Llama; the MLP part is the sum of the routed experts, weighted by the router."""

from transformers import Qwen3MoeForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy


def anatomy(model: Qwen3MoeForCausalLM) -> Anatomy:
    """Parts of a `Qwen3MoeForCausalLM`."""
    return llama.anatomy(model)
