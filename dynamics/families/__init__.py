"""Model families: one file each, one line each in `FAMILIES` of `dynamics.supported_models`."""

from pkgutil import resolve_name

from transformers import PreTrainedModel

from dynamics.families.anatomy import Anatomy
from dynamics.supported_models import FAMILIES, NOT_COVERED, check_no_rescaling, check_supported


def anatomy(model: PreTrainedModel) -> Anatomy:
    """The parts of a Hugging Face causal language model.

    Raises:
        UnsupportedModel: no family file supports its `model_type`, or its config sets one of `NOT_COVERED`.
    """
    check_supported(model.config.model_type)
    check_no_rescaling({key: getattr(model.config, key, None) for key in ("model_type", *NOT_COVERED)})
    return resolve_name(FAMILIES[model.config.model_type])(model)
