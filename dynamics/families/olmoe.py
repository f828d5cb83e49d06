"""OLMoE: the modules of Llama; the MLP part is the sum of the routed experts, weighted by the router."""

from transformers import OlmoeForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy


def anatomy(model: OlmoeForCausalLM) -> Anatomy:
    """Parts of a `OlmoeForCausalLM`."""
    return llama.anatomy(model)
