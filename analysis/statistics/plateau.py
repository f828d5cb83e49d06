"""The plateau of a curve, what it does after its peak, and the noise between its late checkpoints.

The plateau is the median of the last three checkpoints (of the last two where there are fewer than six, of the last one
where there are fewer than four: never more than half of a curve). Of three, no single one can move the median past the
other two, whatever its value; it moves their mean by a third of its own error.
"""

import numpy as np

N_PLATEAU, N_LATE = 3, 5


def n_plateau(n_steps: int) -> int:
    """The number of checkpoints that the plateau is taken over: three, but at most half of them, and at least one."""
    return max(1, min(N_PLATEAU, n_steps // 2))


def plateau(values: np.ndarray) -> np.ndarray:
    """The median of the last `n_plateau` rows: (step, ...) -> (...)."""
    last = values[-n_plateau(len(values)) :]
    if len(last) < N_PLATEAU:
        return np.median(last, 0)
    first, second, third = last  # the same as np.median, several times faster
    return np.maximum(np.minimum(first, second), np.minimum(np.maximum(first, second), third))


def with_plateau(values: np.ndarray) -> np.ndarray:
    """The plateau as one more row: (step, ...) -> (step + 1, ...)."""
    return np.concatenate([values, plateau(values)[None]])


def doublings_above(axis: np.ndarray, margins: np.ndarray) -> float:
    """How long a curve (step,) is above 0, in doublings of training, interpolated between checkpoints."""
    before, after = margins[:-1], margins[1:]
    rises = np.abs(after) + np.abs(before)
    share = (np.maximum(before, 0) + np.maximum(after, 0)) / np.where(rises > 0, rises, 1)
    return float((np.diff(axis) * share).sum())


def late_noise(values: np.ndarray) -> float:
    """The noise of single checkpoints of a curve (step,): SD of the n differences between its last five, / sqrt 2.

    Their mean is taken off, so a steady rise is no noise. Neighbouring differences share a checkpoint; so the divisor
    that makes the variance of independent noise unbiased is n - 1/n, not n - 1. NaN with fewer than three checkpoints.
    """
    differences = np.diff(values[-N_LATE:])
    n = len(differences)
    return float(np.sqrt(((differences - differences.mean()) ** 2).sum() / (n - 1 / n) / 2)) if n > 1 else np.nan
