"""OLMo-3: the modules of OLMo-2; most layers attend to a sliding window, with rotary frequencies of their own."""

from transformers import Olmo3ForCausalLM

from dynamics.families import olmo2
from dynamics.families.anatomy import Anatomy


def anatomy(model: Olmo3ForCausalLM) -> Anatomy:
    """Parts of an `Olmo3ForCausalLM`."""
    return olmo2.anatomy(model)
