"""Overlap of sets of components, against sets of the same sizes that are drawn at random.

The null of two sets is hypergeometric: of a and b among N components `a b / N` are expected to be shared. Of several
sets the statistic is the number of shared components, summed over pairs of sets; since pairs have sets in common, its
null is not a sum of independent ones, so all sets are drawn anew together, each by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

N_DRAWS = 1000
SEED = 0


@dataclass(frozen=True)
class Overlap:
    """Shared components of pairs of sets.

    Attributes:
        n_pairs: pairs in which neither set is empty.
        shared, expected: components that a pair shares, mean over these pairs, and what the null expects.
        p: probability of as many in all, under the null; NaN without a pair.
    """

    n_pairs: int
    shared: float
    expected: float
    p: float


def overlap(sets: np.ndarray, pairs: Sequence[tuple[int, int]]) -> Overlap:
    """Overlap of some pairs of sets (set, component) bool."""
    sizes = sets.sum(1)
    kept = [(i, j) for i, j in pairs if sizes[i] and sizes[j]]
    if not kept:
        return Overlap(0, float("nan"), float("nan"), float("nan"))
    one, other = np.array(kept).T
    shared = (sets[one] & sets[other]).sum(1)
    expected = sizes[one] * sizes[other] / sets.shape[1]
    if len(kept) == 1:
        from scipy.stats import hypergeom  # takes longer to import than all of `analysis`

        p = hypergeom.sf(shared[0] - 1, sets.shape[1], sizes[one[0]], sizes[other[0]])
    else:
        p = (1 + (_draw(sizes, sets.shape[1], one, other) >= shared.sum()).sum()) / (1 + N_DRAWS)
    return Overlap(len(kept), float(shared.mean()), float(expected.mean()), float(p))


def _draw(sizes: np.ndarray, n_components: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Shared components of all pairs together, (draw,)."""
    rng = np.random.default_rng(SEED)
    filled = np.arange(n_components) < sizes[:, None]
    drawn = (rng.permuted(filled, axis=1) for _ in range(N_DRAWS))
    return np.array([(sets[one] & sets[other]).sum() for sets in drawn])
