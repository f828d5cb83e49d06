"""Model families: one file each, one line each in `FAMILIES`."""

from pkgutil import resolve_name

from transformers import PreTrainedModel

from dynamics.errors import UnsupportedModel, unknown
from dynamics.families.anatomy import Anatomy

FAMILIES = {
    "gpt_neox": "dynamics.families.gpt_neox:anatomy",
}


def anatomy(model: PreTrainedModel) -> Anatomy:
    """Find the parts of a Hugging Face causal language model.

    Raises:
        UnsupportedModel: no family file covers its `model_type`, or its config asks for something the identity
            does not cover.
    """
    require_supported(model.config.model_type)
    return resolve_name(FAMILIES[model.config.model_type])(model)


def require_supported(model_type: object) -> None:
    """Refuse a `model_type` that no family file covers.

    Raises:
        UnsupportedModel: with the list and the place to add one.
    """
    if model_type not in FAMILIES:
        raise UnsupportedModel(
            unknown("model_type", model_type, FAMILIES)
            + ". To add one, write dynamics/families/<model_type>.py and register it in dynamics/families/__init__.py"
        )
