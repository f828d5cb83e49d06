"""Onsets: when a curve exceeds a level, by its isotonic fit, first passage and last exit, in log2 of steps; intervals.

Curves are margins above a level, with the margin of the plateau as one more row (`analysis.statistics.plateau`): a
curve has *emerged* when its plateau is above the level. Crossings lie between two checkpoints and are interpolated
linearly in log2(step). Step 0 is placed one doubling before the first positive step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-9
"""Accuracies are counts over rows: they differ by far more than this or not at all."""
CONFIDENCE = 0.95
NEVER = np.inf
BLOCK = 1024
"""Curves that are fitted at once: few enough that they stay in a processor's cache."""


@dataclass(frozen=True)
class Onset:
    """Onsets of any number of curves.

    Attributes:
        step: index of the checkpoint after the crossing; -1 where there is none, 0 where the first one is above.
        log2: the crossing, in log2 of steps; `NEVER` where there is none, -inf where the first checkpoint is above.
    """

    step: np.ndarray
    log2: np.ndarray


def log2_steps(steps: Sequence[int]) -> np.ndarray:
    """The axis of onsets: log2 of the steps, ascending; 0 one doubling before the first positive step."""
    positive = [step for step in steps if step > 0]
    zero = np.log2(positive[0]) - 1 if positive else -1.0
    return np.array([np.log2(step) if step > 0 else zero for step in steps])


def to_step(log2: float, steps: Sequence[int]) -> float | None:
    """A position on the axis as a step; null where it is never, or before the first step."""
    if np.isinf(log2):
        return None
    zero = log2_steps(steps)[0] if steps[0] == 0 else -np.inf
    return 0.0 if log2 <= zero else float(2**log2)


def why_no_number(step: int, margins: np.ndarray) -> str:
    """Why one curve has no onset: `never`, `falls`, `before`, or empty where it has one.

    Args:
        step: index of the onset.
        margins: (step + 1,): the curve `falls` where it is above the level at some step, but its plateau is not.
    """
    if step < 0:
        return "falls" if margins[-1] <= TOLERANCE and (margins[:-1] > TOLERANCE).any() else "never"
    return "before" if step == 0 else ""


def isotonic_onset(axis: np.ndarray, margins: np.ndarray) -> Onset:
    """Where the isotonic fit of each curve exceeds its level: the non-decreasing curve of least squares.

    With x the margins by step and S_i the sum of the first i of them, the fit is above 0 exactly from the last i on at
    which S_i is smallest (a block of the fit is above 0 where its sum is), its value there is the smallest mean of
    x_i..x_b over b >= i, and its value one step before the largest mean of x_a..x_(i-1) over a < i. So one pass gives
    the crossing of `scipy.optimize.isotonic_regression` for all replicates at once. The last checkpoint counts at least
    as the plateau, so that it alone cannot pull the end of a curve that has emerged below the level.

    Args:
        axis: (step,) from `log2_steps`.
        margins: (step + 1, ...) above the level; the last row is the plateau's. Never where that is not above 0.
    """
    flat = margins.reshape(len(margins), -1)
    blocks = [_isotonic_onset(axis, flat[:, first : first + BLOCK]) for first in range(0, flat.shape[1], BLOCK)]
    step, log2 = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return Onset(step.reshape(margins.shape[1:]), log2.reshape(margins.shape[1:]))


def _isotonic_onset(axis: np.ndarray, margins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index and log2 of `isotonic_onset`, of one block of curves (step + 1, curve)."""
    n, plateau, sums = len(axis), margins[-1], _sums(margins)
    first = n - (sums <= sums.min(0) + TOLERANCE)[::-1].argmax(0)
    emerges = plateau > TOLERANCE
    crosses = emerges & (first > 0)
    i = np.where(crosses, first, min(1, n - 1))
    length = np.arange(n + 1)[:, None] - i
    means = (sums - np.take_along_axis(sums, i[None], 0)) / np.where(length == 0, 1, length)
    above = np.where(crosses, np.where(length > 0, means, np.inf).min(0), 1)
    below = np.where(crosses, np.where(length < 0, means, -np.inf).max(0), -1)
    log2 = np.where(crosses, interpolated(axis, i, below, above), np.where(emerges, -np.inf, NEVER))
    return np.where(emerges, first, -1), log2


def has_crossing(margins: np.ndarray) -> np.ndarray:
    """Whether each curve has an isotonic onset, and not before the first checkpoint: margins as there."""
    return (margins[-1] > TOLERANCE) & (_sums(margins)[1:].min(0) <= TOLERANCE)


def _sums(margins: np.ndarray) -> np.ndarray:
    """Sums of the first i margins by step, (step + 1, ...); the last checkpoint counts at least as the plateau."""
    sums = np.zeros(margins.shape)
    for i, margin in enumerate(margins[:-1]):  # several times faster than cumsum along the first axis
        np.add(sums[i], margin, out=sums[i + 1, ...])
    sums[-1] = sums[-2] + np.maximum(margins[-2], margins[-1])
    return sums


def first_passage(axis: np.ndarray, margins: np.ndarray) -> Onset:
    """Where each curve itself is above its level for the first time: margins (step, ...), without the plateau's."""
    above = margins > TOLERANCE
    return _between(axis, margins, np.where(above.any(0), above.argmax(0), -1))


def last_exit(axis: np.ndarray, margins: np.ndarray) -> Onset:
    """From where on each curve itself is never below its level: margins (step, ...), without the plateau's."""
    stays = np.logical_and.accumulate((margins > TOLERANCE)[::-1])[::-1]
    return _between(axis, margins, np.where(stays[-1], stays.argmax(0), -1))


def _between(axis: np.ndarray, margins: np.ndarray, step: np.ndarray) -> Onset:
    """The crossings between the steps `step` and the ones before."""
    i = np.where(step > 0, step, min(1, len(axis) - 1))
    below, above = (np.take_along_axis(margins, index[None], 0)[0] for index in (i - 1, i))
    crossing = interpolated(axis, i, below, above)
    return Onset(step, np.where(step > 0, crossing, np.where(step == 0, -np.inf, NEVER)))


def interpolated(axis: np.ndarray, i: np.ndarray, below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Where lines from `below` at checkpoint i - 1 to `above` at i cross 0."""
    rises = above - below
    share = np.where(rises > 0, -below / np.where(rises > 0, rises, 1), 0)
    return axis[i - 1] + np.clip(share, 0, 1) * (axis[i] - axis[i - 1])


def bracket(axis: np.ndarray, onset: Onset) -> tuple[float, float] | None:
    """The positions of the two checkpoints around the crossing of one curve; None without a crossing."""
    step = int(onset.step)
    return (float(axis[step - 1]), float(axis[step])) if step > 0 else None


def onset_interval(replicates: np.ndarray, around: tuple[float, float] | None) -> tuple[float, float]:
    """The percentile interval of one onset, at least as wide as the checkpoints around it; infinite without a crossing.

    Args:
        replicates: (replicate,) in log2 of steps.
        around: from `bracket`.
    """
    if around is None:
        return np.inf, np.inf
    low, high = (float(end) for end in interval(replicates))
    return min(low, around[0]), max(high, around[1])


def band(null: np.ndarray, level: float) -> np.ndarray:
    """The level that permuted curves exceed anywhere with probability `level`: a family-wise band over all rows.

    `mean + k sd` in every row, with mean and sd of the permuted curves there and k the floor(level (1 + N))-th largest
    of `max over rows (curve - mean) / sd` among N permuted curves. Rows where nothing varies have sd 0 and count 0.

    Args:
        null: (row, ..., permutation), without the true labels; rows are steps, and the plateau.

    Returns:
        (row, ...): strictly above counts.
    """
    mean, sd = null.mean(-1), null.std(-1)
    return mean + sd * upper_quantile(standardised(null, mean, sd).max(0), level)


def standardised(null: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Permuted curves in SDs above their mean, 0 where nothing varies: (..., permutation)."""
    varies = sd > TOLERANCE
    return np.where(varies[..., None], (null - mean[..., None]) / np.where(varies, sd, 1)[..., None], 0)


def upper_quantile(maxima: np.ndarray, level: float) -> np.ndarray:
    """The k-th largest of N maxima (..., permutation), k = floor(level (1 + N)).

    Raises:
        ValueError: too few permutations for the level.
    """
    n = maxima.shape[-1]
    k = int(level * (1 + n) + TOLERANCE)
    if k < 1:
        raise ValueError(f"level {level} needs at least {int(np.ceil(1 / level)) - 1} permutations, not {n}")
    return np.partition(maxima, n - k, axis=-1)[..., n - k]


def interval(replicates: np.ndarray, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval along the last axis; infinite ends are kept, since "never" is an answer.

    NaN replicates (not defined) are left out; NaN where none is left.
    """
    ordered = np.sort(replicates, -1)  # NaN last
    n = (~np.isnan(ordered)).sum(-1, keepdims=True)
    tail = (1 - confidence) / 2
    index = [np.clip(np.ceil(share * n).astype(int) - 1, 0, None) for share in (tail, 1 - tail)]
    low, high = (np.take_along_axis(ordered, i, -1)[..., 0] for i in index)
    return low, high
