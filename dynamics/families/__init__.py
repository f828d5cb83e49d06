"""Model families: one file each, one line each in `FAMILIES`."""

from pkgutil import resolve_name

from transformers import PreTrainedConfig, PreTrainedModel

from dynamics.errors import UnsupportedModel, unknown
from dynamics.families.anatomy import Anatomy

FAMILIES = {
    "gpt_neox": "dynamics.families.gpt_neox:anatomy",
    "gpt2": "dynamics.families.gpt2:anatomy",
    "llama": "dynamics.families.llama:anatomy",
    "mistral": "dynamics.families.mistral:anatomy",
    "olmo2": "dynamics.families.olmo2:anatomy",
}

NOT_COVERED = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "residual_multiplier",
    "embedding_multiplier",
    "scale_emb",
    "scale_depth",
    "dim_model_base",
)
"""Config keys that transform or rescale logits, residual or embedding. Related families have them; the model classes of
these families would ignore them, and compute another model than the one that was trained."""


def anatomy(model: PreTrainedModel) -> Anatomy:
    """The parts of a Hugging Face causal language model.

    Raises:
        UnsupportedModel: no family file supports its `model_type`, or its config sets one of `NOT_COVERED`.
    """
    check_supported(model.config.model_type)
    _check_no_rescaling(model.config)
    return resolve_name(FAMILIES[model.config.model_type])(model)


def check_supported(model_type: object) -> None:
    """Check that a family file supports a `model_type`.

    Raises:
        UnsupportedModel: none does; names those there are, and how to add one.
    """
    if model_type not in FAMILIES:
        raise UnsupportedModel(
            unknown("model_type", model_type, FAMILIES)
            + ". To add one, write dynamics/families/<model_type>.py and register it in dynamics/families/__init__.py"
        )


def _check_no_rescaling(config: PreTrainedConfig) -> None:
    """Check that a config sets each of `NOT_COVERED` to None or 1, or not at all."""
    for key in NOT_COVERED:
        value = getattr(config, key, None)
        if value is not None and value != 1:
            raise UnsupportedModel(
                f"config key {key} = {value!r} of this {config.model_type} model is not supported: its label logits "
                "are not the sum of its parts. Only None or 1 is; use another model"
            )
