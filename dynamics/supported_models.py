"""Supported models: the families by `model_type`, and config keys that no supported model may set. No torch."""

from collections.abc import Mapping
from typing import Any

from dynamics.errors import CheckpointError, UnsupportedModel, unknown

FAMILIES = {
    "apertus": "dynamics.families.apertus:anatomy",
    "bloom": "dynamics.families.bloom:anatomy",
    "gemma": "dynamics.families.gemma:anatomy",
    "gemma2": "dynamics.families.gemma2:anatomy",
    "gemma3_text": "dynamics.families.gemma3_text:anatomy",
    "gpt2": "dynamics.families.gpt2:anatomy",
    "gpt_neox": "dynamics.families.gpt_neox:anatomy",
    "llama": "dynamics.families.llama:anatomy",
    "mistral": "dynamics.families.mistral:anatomy",
    "olmo": "dynamics.families.olmo:anatomy",
    "olmo2": "dynamics.families.olmo2:anatomy",
    "olmo3": "dynamics.families.olmo3:anatomy",
    "olmoe": "dynamics.families.olmoe:anatomy",
    "opt": "dynamics.families.opt:anatomy",
    "phi": "dynamics.families.phi:anatomy",
    "qwen2": "dynamics.families.qwen2:anatomy",
    "qwen3": "dynamics.families.qwen3:anatomy",
    "qwen3_moe": "dynamics.families.qwen3_moe:anatomy",
    "smollm3": "dynamics.families.smollm3:anatomy",
}
"""`model_type` -> the function that finds a model's parts, a file each in `dynamics/families`."""

SOFTCAPPING = ("final_logit_softcapping", "attn_logit_softcapping")
"""Config keys that bound logits, or attention scores, which the fused attention kernel leaves unbounded."""
NOT_COVERED = (
    *SOFTCAPPING,
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "residual_multiplier",
    "embedding_multiplier",
    "scale_emb",
    "scale_depth",
    "dim_model_base",
    "mup_embeddings_scale",
    "mup_output_alpha",
    "mup_width_scale",
)
"""Config keys that transform or rescale logits, residual or embedding. Related families have them; the model classes of
these families would ignore them, and compute another model than the one that was trained."""


SAME_AT_EVERY_LENGTH = ("default", "linear", "yarn", "llama3", "proportional")
"""Rope types whose frequencies are computed once, from the config alone."""
BY_LENGTH = ("longrope", "dynamic")
"""Rope types whose frequencies depend on the length of the sequence."""


def check_rope_types(config: Mapping[str, Any]) -> None:
    """Check that a config's rotary embedding, whatever key it is under, is of a type that is known.

    Raises:
        CheckpointError: it is of another type; names the nearest.
    """
    for key in ("rope_parameters", "rope_scaling"):
        for kind in rope_types(config.get(key)):
            if kind not in (*SAME_AT_EVERY_LENGTH, *BY_LENGTH):
                known = unknown("rope_type", kind, (*SAME_AT_EVERY_LENGTH, *BY_LENGTH))
                raise CheckpointError(f"config key {key}: {known}. Correct config.json, or use another model")


def rope_types(parameters: object) -> list[object]:
    """The types of rotary embedding in a config's parameters: none, one, or one for each type of layer."""
    if not isinstance(parameters, Mapping):
        return []
    inner = [kind for value in parameters.values() for kind in rope_types(value)]
    own = [parameters[key] for key in ("rope_type", "type") if parameters.get(key) is not None]
    return [*own[:1], *inner]


def check_supported(model_type: object) -> None:
    """Check that a family file supports a `model_type`.

    Raises:
        UnsupportedModel: none does; names those there are, and how to add one.
    """
    if model_type not in FAMILIES:
        raise UnsupportedModel(
            unknown("model_type", model_type, FAMILIES, shown=len(FAMILIES))
            + ". To add one, write dynamics/families/<model_type>.py and register it in dynamics/supported_models.py"
        )


def check_no_rescaling(config: Mapping[str, Any]) -> None:
    """Check that a config sets each of `NOT_COVERED` to None or 1 (of `SOFTCAPPING`: to None), or not at all.

    Raises:
        UnsupportedModel: it sets one to something else.
    """
    for key in NOT_COVERED:
        value = config.get(key)
        if value is not None and (value != 1 or key in SOFTCAPPING):
            allowed = "None" if key in SOFTCAPPING else "None or 1"
            raise UnsupportedModel(
                f"config key {key} = {value!r} of this {config.get('model_type')} model is not supported: its label "
                f"logits are not the sum of its parts as they are computed here. Only {allowed} is; use another model"
            )
