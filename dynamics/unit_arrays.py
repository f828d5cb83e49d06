"""The arrays of one unit, from which scores, fits and the rows of every table are computed. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dynamics.components import Component


@dataclass(frozen=True)
class LabelLogits:
    """The full model's label logits on a unit's test rows.

    Attributes:
        example_id, gold: (example,) name of the row, index of the gold label.
        full: (example, label) float32.
    """

    example_id: Sequence[str]
    gold: np.ndarray
    full: np.ndarray


@dataclass(frozen=True)
class UnitArrays:
    """The arrays of one unit, as computed or as read back from stored contributions.

    Attributes:
        keys: values of the columns that every table has (`dynamics.results.schema.KEYS`).
        components: the component axis.
        split, example_id, gold: (example,) `train` or `test`, name of the row, index of the gold label.
        contributions: (example, component, label) float32.
        constant: (label,) float32, the term that belongs to no component.
        full: (example, label) float32, the full model's label logits.
        n_shots_used: number of demonstrations in the prompts.
        skipped: (split, example_id, gold, reason) of examples that were not run because they exceed the context.
        groups: example_id -> group, of those that are not alone in it.
    """

    keys: Mapping[str, object]
    components: tuple[Component, ...]
    split: Sequence[str]
    example_id: Sequence[str]
    gold: np.ndarray
    contributions: np.ndarray
    constant: np.ndarray
    full: np.ndarray
    n_shots_used: int
    skipped: Sequence[tuple[str, str, int, str]] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
