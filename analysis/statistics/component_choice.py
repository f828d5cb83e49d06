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
    LAST: "the other half of test at the last step",
    FIRST: "the other half of test at the first step above its null",
    HELD_OUT: "the other half of test",
    CROSS_SEED: "the other half of test under the other demonstration seeds",
    LABELLED: "train",
    COMP_RW: "train",
    CALIB: "train",
}
"""Curve -> the rows its component was chosen, or its weights were fitted, on."""

NO_INTERVAL = (LAST, FIRST)
"""Curves without intervals: the choice of their component depends on one step.

Simulated intervals of First-T1 covered .89 of onsets by `null` where labels were unbalanced; those of Last-T1 covered
as much as the other curves' did (docs/analyses.md).
"""


@dataclass(frozen=True)
class Choice:
    """The components chosen at one step, and their accuracy.

    Attributes:
        accuracy: curve -> (prompt, replicate); NaN where the choice cannot be made.
        best: (prompt, replicate) index of the component that is T1.
        best_of_half: (half, prompt, replicate) index of the component that is best on each half.
    """

    accuracy: dict[str, np.ndarray]
    best: np.ndarray
    best_of_half: np.ndarray


def choose(counts: np.ndarray, max_counts: Sequence[int], gaps: np.ndarray | None = None) -> Choice:
    """Choose among components in every replicate, ties by the rule of `dynamics.methods.selection`.

    Args:
        counts: (half, prompt, replicate, component) credit, of a type that holds sums over halves and prompts; the
            prompts of ONE template, one per seed.
        max_counts: the credit of a component that is always right, on each half.
        gaps: (prompt, component) mean gap of each component's two largest logits: a tie goes to the larger one, across
            seeds to the larger mean over the other seeds, then to the first component. None: to the first.
    """
    total, max_total = counts[0] + counts[1], sum(max_counts)
    gaps = np.zeros((total.shape[0], total.shape[-1])) if gaps is None else gaps
    best, best_of_half = best_of(total, gaps), np.stack([best_of(of_half, gaps) for of_half in counts])
    accuracy = {
        T1: pick(total, best) / max_total,
        B1: total.min(-1).astype(np.float64) / max_total,
        HELD_OUT: on_the_other_half(counts, best_of_half, max_counts),
        CROSS_SEED: np.full(best.shape, np.nan),
    }
    if counts.shape[1] > 1:
        other_seeds = counts.sum(1, keepdims=True, dtype=counts.dtype) - counts
        of_others = gaps.sum(0) - gaps
        chosen = np.stack([best_of(of_half, of_others) for of_half in other_seeds])
        accuracy[CROSS_SEED] = on_the_other_half(counts, chosen, max_counts)
    return Choice(accuracy, best, best_of_half)


def best_of(counts: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """The component with most credit; of several the one with the largest gap, of these the first.

    Args:
        counts: (prompt, replicate, component) whole numbers.
        gaps: (prompt, component).

    Returns:
        (prompt, replicate) index.
    """
    n = counts.shape[-1]
    if (gaps == gaps[:, :1]).all():
        return counts.argmax(-1)
    rank = np.argsort(np.argsort(-gaps, -1, kind="stable"), -1, kind="stable")
    dtype = np.int32 if int(counts.max(initial=0)) * n + n < 2**31 else np.int64
    by_credit_then_gap = counts.astype(dtype) * dtype(n) + (n - 1 - rank).astype(dtype)[:, None]
    return by_credit_then_gap.argmax(-1)


def most_accurate(accuracy: np.ndarray, gaps: np.ndarray | None) -> np.ndarray:
    """The same choice from accuracies, equal to nine digits: (prompt, component), gaps alike -> (prompt,) index."""
    rounded = np.round(accuracy, 9)
    tied = rounded == rounded.max(-1, keepdims=True)
    return np.where(tied, 0 if gaps is None else gaps, -np.inf).argmax(-1)


def pick(counts: np.ndarray, component: np.ndarray) -> np.ndarray:
    """The counts of one component each: (..., component), (...) -> (...) float64."""
    return np.take_along_axis(counts, component[..., None].astype(np.intp), -1)[..., 0].astype(np.float64)


def on_the_other_half(counts: np.ndarray, chosen: np.ndarray, max_counts: Sequence[int]) -> np.ndarray:
    """Accuracy of components on the half that they were not chosen on; the mean over both ways.

    Args:
        counts: (half, prompt, replicate, component).
        chosen: (half, prompt, replicate) index, by the half they were chosen on.
        max_counts: the credit of a component that is always right, on each half.

    Returns:
        (prompt, replicate).
    """
    first, second = (pick(counts[1 - half], chosen[half]) / max_counts[1 - half] for half in (0, 1))
    return (first + second) / 2
