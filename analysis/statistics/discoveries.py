"""Discoveries among many components: small p-values from few permutations, and the share of false ones among them.

With N permutations an empirical p-value is at least 1 / (1 + N), too coarse where thousands are compared. The tail is
continued: with u the k-th largest of a component's N permuted maxima and s the mean excess of the larger ones over u,

    p(x) = (1 + k) / (1 + N) * exp(-(x - u) / s)   for x > u,   else (1 + number of permuted maxima >= x) / (1 + N)

It is the generalised Pareto tail of peaks over a threshold with its shape at 0 (Knijnenburg et al. 2009, with the
shape fitted). A fitted shape below 0 would put an end to the tail and call everything beyond it impossible. Sums over
rows of credit for permuted labels have tails that are lighter than exponential, so that small p-values are too large
rather than too small. A shape of 0 has one number to estimate, which 1,000 permutations do well.
"""

import numpy as np

FDR = 0.05
"""Expected share of false discoveries."""
TAIL = 0.1
"""Share of permuted maxima that the tail is fitted to."""


def tail_p(observed: np.ndarray, maxima: np.ndarray) -> np.ndarray:
    """P-values of observed maxima: (component,) among permuted ones (component, permutation) -> (component,).

    A component whose permuted maxima do not vary has p = 1 unless it exceeds them, and then the empirical one.
    """
    n = maxima.shape[1]
    k = max(1, int(TAIL * n))
    larger = np.partition(maxima, n - k, axis=1)[:, n - k :]
    threshold = larger.min(1)
    scale = (larger - threshold[:, None]).mean(1) * k / max(1, k - 1)
    empirical = (1 + (maxima >= observed[:, None]).sum(1)) / (1 + n)
    excess = observed - threshold
    beyond = (excess > 0) & (scale > 0)
    tail = (1 + k) / (1 + n) * np.exp(-np.where(beyond, excess, 0) / np.where(beyond, scale, 1))
    return np.where(beyond, tail, empirical)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values: the smallest false discovery rate at which each is a discovery (Benjamini, Hochberg 1995).

    Those at most q are discoveries, of which at most a share q is false on average, where p-values are independent or
    depend on each other positively.
    """
    order = np.argsort(p, kind="stable")[::-1]
    scaled = p[order] * len(p) / np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(np.minimum(scaled, 1))
    return adjusted
