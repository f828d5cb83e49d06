"""The most accurate components of a prompt as a set, and the overlap of such sets."""

from math import comb

import numpy as np

TOP = 5
TIE_SEED = 0


def top_sets(accuracy: np.ndarray, top: int = TOP, *, seed: int = TIE_SEED) -> np.ndarray:
    """Which components are among the `top` most accurate: (prompt, component) -> bool.

    A tie for the last place is broken at random, for each prompt independently: components that all answer at chance
    must not count as agreement because they are in the same order everywhere.
    """
    tie_breaker = np.random.default_rng(seed).random(accuracy.shape)
    order = np.lexsort((tie_breaker, -np.round(accuracy, 9)), axis=1)
    sets = np.zeros(accuracy.shape, bool)
    np.put_along_axis(sets, order[:, :top], True, axis=1)
    return sets


def iou_by_chance(n_components: int, top: int = TOP) -> float:
    """Expected IoU of two random sets of `top` among n: `sum_k P(k shared) k / (2 top - k)`, k hypergeometric."""
    top = min(top, n_components)
    shared = range(max(0, 2 * top - n_components), top + 1)
    n_sets = comb(n_components, top)
    return sum(comb(top, k) * comb(n_components - top, top - k) / n_sets * k / (2 * top - k) for k in shared)
