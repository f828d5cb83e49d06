"""SmolLM-3: the modules of Llama; some layers have no rotary embedding, which changes attention only."""

from transformers import SmolLM3ForCausalLM

from dynamics.families import llama
from dynamics.families.anatomy import Anatomy


def anatomy(model: SmolLM3ForCausalLM) -> Anatomy:
    """Parts of a `SmolLM3ForCausalLM`."""
    return llama.anatomy(model)
