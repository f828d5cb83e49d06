"""Which component a curve follows, and on what rows it was chosen: the same code on the data and in every replicate."""

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
"""Curves without intervals: which component is followed hangs on one step, and intervals held the truth too rarely."""


@dataclass(frozen=True)
class Chosen:
    """What choosing a component gives at one step.

    Attributes:
        accuracy: curve -> (prompt, replicate); NaN where the choice cannot be made.
        best: (prompt, replicate) index of the component that is T1.
    """

    accuracy: dict[str, np.ndarray]
    best: np.ndarray


def choose(counts: np.ndarray, most: Sequence[int]) -> Chosen:
    """Choose among components in every replicate. A tie goes to the first component.

    Args:
        counts: (half, prompt, replicate, component), what is earned, of a type that holds sums over halves and prompts;
            the prompts of ONE template, one per seed.
        most: what can be earned on each half.
    """
    whole = counts[0] + counts[1]
    best = whole.argmax(-1)
    accuracy = {
        T1: pick(whole, best) / sum(most),
        B1: whole.min(-1).astype(np.float64) / sum(most),
        HELD_OUT: _scored_on_the_other_half(counts, counts, most),
        CROSS_SEED: np.full(best.shape, np.nan),
    }
    if counts.shape[1] > 1:
        others = counts.sum(1, keepdims=True, dtype=counts.dtype) - counts
        accuracy[CROSS_SEED] = _scored_on_the_other_half(others, counts, most)
    return Chosen(accuracy, best)


def pick(counts: np.ndarray, component: np.ndarray) -> np.ndarray:
    """One component of each (..., component): (...) float64."""
    return np.take_along_axis(counts, component[..., None].astype(np.intp), -1)[..., 0].astype(np.float64)


def _scored_on_the_other_half(choosing: np.ndarray, scored: np.ndarray, most: Sequence[int]) -> np.ndarray:
    """Choose on each half of one set of counts, score on the other half of another; the mean of both ways."""
    ways = [pick(scored[1 - half], choosing[half].argmax(-1)) / most[1 - half] for half in (0, 1)]
    return (ways[0] + ways[1]) / 2
