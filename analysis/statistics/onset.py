"""Onsets: when a curve exceeds a level and stays above it, in log2 of steps; bands and percentile intervals.

A curve has *emerged* when its last step is above the level; its onset is the first step from which on no step is below.
Between the last step below and the first above, the crossing is interpolated linearly in log2(step). Step 0 is placed
one doubling before the first positive step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-9
"""Accuracies are counts over rows: they differ by far more than this or not at all."""
CONFIDENCE = 0.95
NEVER = np.inf


@dataclass(frozen=True)
class Onset:
    """Onsets of any number of curves.

    Attributes:
        step: index of the first step from which on the curve stays above; -1 where it never does.
        log2: interpolated crossing, in log2 of steps; `NEVER` where there is none, -inf where the first step is above.
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


def censoring(step: int) -> str:
    """The index of an onset in words: `never` (-1), `before` the first checkpoint (0), or empty."""
    return "never" if step < 0 else "before" if step == 0 else ""


def onset(axis: np.ndarray, last_first: Iterable[np.ndarray]) -> Onset:
    """Onsets from margins above the level, from the last step backwards, so that one step is held at a time.

    Args:
        axis: (step,) from `log2_steps`.
        last_first: per step, the last first, accuracy less level, of any one shape.
    """
    margins = iter(last_first)
    later = np.asarray(next(margins), float)
    stays_above = later > TOLERANCE
    step = np.where(stays_above, len(axis) - 1, -1)
    log2 = np.full(later.shape, NEVER)
    for i, margin in zip(range(len(axis) - 2, -1, -1), margins, strict=True):
        above = margin > TOLERANCE
        crosses = stays_above & ~above
        share = np.where(crosses, -margin / np.where(crosses, later - margin, 1), 0)
        log2 = np.where(crosses, axis[i] + np.clip(share, 0, 1) * (axis[i + 1] - axis[i]), log2)
        stays_above = stays_above & above
        step = np.where(stays_above, i, step)
        later = np.asarray(margin, float)
    return Onset(step, np.where(stays_above, -np.inf, log2))


def onset_of(axis: np.ndarray, margins: np.ndarray) -> Onset:
    """Onsets from all margins at once: (step, ...)."""
    return onset(axis, margins[::-1])


def band(null: np.ndarray, level: float) -> np.ndarray:
    """The level that permuted curves exceed anywhere with probability `level`: a family-wise band over steps.

    `mean + k sd` at every step, with mean and sd of the permuted curves there and k the floor(level (1 + N))-th largest
    of `max over steps (curve - mean) / sd` among N permuted curves. Steps where nothing varies have sd 0 and count 0.

    Args:
        null: (step, ..., permutation), without the true labels.

    Returns:
        (step, ...): strictly above counts.
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
