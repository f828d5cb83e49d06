"""Rotary frequencies that old versions of transformers saved beside the weights, compared with those of the config.

A model is opened with the frequencies of its config. Where a file says otherwise, one of the two is of another model,
and every logit would be another one.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dynamics.errors import CheckpointError
from dynamics.families.rotary import BY_LENGTH
from dynamics.stored_tensors import stored_tensors

_NAME = re.compile(r"(.*\.)?rotary_emb\.inv_freq")
_POWER_ERROR = 4e-6
"""Relative; of `theta ** -x` in float32, whose exponent is rounded too."""


def check_frequencies(folder: Path, weights: str, names: Iterable[str], model: PreTrainedModel) -> None:
    """Check the frequencies in a checkpoint's files, to the precision of their type, against an opened model's.

    Old classes of scaled embeddings saved unscaled frequencies and scaled positions, so those are accepted too. Under
    `dynamic` scaling the frequencies of the last pass were saved, which say nothing.

    Args:
        folder, weights: where the files are, and their format.
        names: of all tensors in them.
        model: opened from them.

    Raises:
        CheckpointError: they are of another config; with both, and the `rope_theta` that the file's are of.
    """
    if not any(map(_NAME.fullmatch, names)):
        return
    rotary: Any = getattr(model.base_model, "rotary_emb", None)
    if rotary is None:
        raise CheckpointError(
            f"{folder} holds rotary frequencies, and the model of its config.json has none. Copy config and weights "
            "from the same checkpoint"
        )
    if isinstance(rotary.rope_type, dict):
        raise CheckpointError(
            f"{folder} holds rotary frequencies without the type of layers that they are of, and this model has other "
            "ones for each. Save the weights again, without them"
        )
    if rotary.rope_type in BY_LENGTH:
        return
    parameters = rotary.config.rope_parameters
    accepted = (rotary.inv_freq.float().cpu(), _unscaled(parameters["rope_theta"], len(rotary.inv_freq)))
    for name, stored in stored_tensors(folder, weights, _NAME.fullmatch):
        if not any(_equal(stored, expected) for expected in accepted):
            raise CheckpointError(
                f"{folder}: {name} holds other rotary frequencies ({_shown(stored)}) than config.json gives "
                f"({_shown(accepted[0])} by rope_theta = {parameters['rope_theta']:g}, rope_type = "
                f"{rotary.rope_type!r}){_theta(stored)}. Correct config.json, or take the tensor out if it is wrong"
            )


def _unscaled(theta: float, n: int) -> Tensor:
    """Frequencies (n,) `theta^(-i / n)`."""
    return 1.0 / theta ** (torch.arange(n, dtype=torch.float32) / n)


def _equal(stored: Tensor, expected: Tensor) -> bool:
    """Whether frequencies are equal, to the narrowest type that holds the stored ones: they may have been cast back."""
    if stored.shape != expected.shape:
        return False
    values = stored.float()
    narrower = (kind for kind in (torch.bfloat16, torch.float16) if torch.equal(values.to(kind).float(), values))
    limits = torch.finfo(next(narrower, torch.float32))
    allowed = (limits.eps + _POWER_ERROR) * expected + limits.smallest_normal * limits.eps
    return bool(((values - expected).abs() <= allowed).all())


def _shown(frequencies: Tensor) -> str:
    ends = [f"{value:.4g}" for value in frequencies.flatten()[[0, -1]].tolist()]
    return f"{frequencies.numel()} from {ends[0]} to {ends[1]}"


def _theta(stored: Tensor) -> str:
    """The rope_theta of stored frequencies, where they are unscaled ones."""
    n = stored.numel()
    last = float(stored.flatten()[-1])
    if n < 2 or not 0 < last < 1:
        return ""
    theta = last ** (-n / (n - 1))
    return f"; the file's are of rope_theta = about {theta:.4g}" if _equal(stored, _unscaled(theta, n)) else ""
