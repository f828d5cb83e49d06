"""One unit's contributions as arrays: what scores, fits and the rows of every table are made from. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dynamics.components import Component


@dataclass(frozen=True)
class UnitArrays:
    """The arrays of one unit, as computed or as read back from stored contributions.

    Attributes:
        keys: the columns that every table has.
        components: the component axis.
        split, example_id, gold: per example.
        contributions: (example, component, label) float32.
        constant: (label,).
        full: (example, label).
        n_shots_used: demonstrations in the prompts.
        skipped: (split, example_id, gold, reason) of examples that do not fit the context and were not run.
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
