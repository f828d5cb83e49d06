"""The component that a curve follows, and the rows it is chosen on; the same code for the data and every replicate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FULL, T1, B1 = "Full", "T1", "B1"
LAST, FIRST = "Last-T1", "First-T1"
HELD_OUT, CROSS_SEED, LABELLED = "Held-out T1", "Cross-seed T1", "Labelled T1"
COMP_RW, CALIB = "COMP RW", "Calib+"

SELECTED_ON = {
    FULL: None,
    T1: "test",
    B1: "test",
    LAST: "test at the last step",
    FIRST: "test at the first step above its null",
    HELD_OUT: "the other half of test",
    CROSS_SEED: "the other half of test under the other demonstration seeds",
    LABELLED: "train",
    COMP_RW: "train",
    CALIB: "train",
}
"""Curve -> the rows its component was chosen, or its weights were fitted, on."""

NO_INTERVAL = (LAST, FIRST)
"""Curves without intervals: the choice of their component depends on one step, and their intervals undercovered."""


@dataclass(frozen=True)
class Choice:
    """The components chosen at one step, and their accuracy.

    Attributes:
        accuracy: curve -> (prompt, replicate); NaN where the choice cannot be made.
        best: (prompt, replicate) index of the component that is T1.
    """

    accuracy: dict[str, np.ndarray]
    best: np.ndarray


def choose(counts: np.ndarray, max_counts: Sequence[int]) -> Choice:
    """Choose among components in every replicate. A tie goes to the first component.

    Args:
        counts: (half, prompt, replicate, component) credit, of a type that holds sums over halves and prompts; the
            prompts of ONE template, one per seed.
        max_counts: the credit of a component that is always right, on each half.
    """
    total, max_total = counts[0] + counts[1], sum(max_counts)
    best = total.argmax(-1)
    accuracy = {
        T1: pick(total, best) / max_total,
        B1: total.min(-1).astype(np.float64) / max_total,
        HELD_OUT: _scored_on_the_other_half(counts, counts, max_counts),
        CROSS_SEED: np.full(best.shape, np.nan),
    }
    if counts.shape[1] > 1:
        other_seeds = counts.sum(1, keepdims=True, dtype=counts.dtype) - counts
        accuracy[CROSS_SEED] = _scored_on_the_other_half(other_seeds, counts, max_counts)
    return Choice(accuracy, best)


def pick(counts: np.ndarray, component: np.ndarray) -> np.ndarray:
    """The counts of one component each: (..., component), (...) -> (...) float64."""
    return np.take_along_axis(counts, component[..., None].astype(np.intp), -1)[..., 0].astype(np.float64)


def _scored_on_the_other_half(choosing: np.ndarray, scoring: np.ndarray, max_counts: Sequence[int]) -> np.ndarray:
    """Choose on one half of `choosing`, score on the other half of `scoring`; the mean over which half is first."""
    first, second = (pick(scoring[1 - half], choosing[half].argmax(-1)) / max_counts[1 - half] for half in (0, 1))
    return (first + second) / 2
