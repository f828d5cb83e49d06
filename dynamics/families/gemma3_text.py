"""Gemma-3, language models only: the modules of Gemma-2; layers with a sliding window have other rotary frequencies."""

from transformers import Gemma3ForCausalLM

from dynamics.errors import UnsupportedModel
from dynamics.families import gemma2
from dynamics.families.anatomy import Anatomy


def anatomy(model: Gemma3ForCausalLM) -> Anatomy:
    """Parts of a `Gemma3ForCausalLM`.

    Raises:
        UnsupportedModel: tokens attend to later ones, so that a padded batch is not what its prompts are alone.
    """
    if model.config.use_bidirectional_attention:
        raise UnsupportedModel(
            "config key use_bidirectional_attention = True: an embedding model, whose tokens attend to later ones. Use "
            "a language model"
        )
    return gemma2.anatomy(model)
