"""Means over prompts that share their test rows: intervals that hold for other demonstrations and other rows.

With the mean of each demonstration seed over its templates, S seeds, their standard deviation s, and the standard
deviation r that a mean over so many test rows has by sampling rows alone, the interval of the mean is

    mean ± sqrt((t s / sqrt(S))^2 + (z r)^2)

with the quantiles t of Student's distribution (S - 1 degrees of freedom) and z of the normal one. The second term is
there since all prompts are scored on the same rows: seeds can agree on what is true of these rows only. It is that of
one prompt, as if prompts were perfectly dependent, which makes the interval wide rather than narrow. Templates are
fixed.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri, stdtrit

LEVEL = 0.05
"""Probability that an interval leaves the truth out."""


Interval = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Value, lower and upper end."""
Intervals = Callable[[np.ndarray, np.ndarray, float | np.ndarray], Interval]
"""Values (prompt, ...), their standard deviations by sampling rows (prompt, ...), and the level -> an interval."""


def over_seeds(seeds: np.ndarray) -> Intervals:
    """Intervals of the mean over prompts, with a first axis of length 1; the ends are NaN with one seed.

    Args:
        seeds: (prompt,) demonstration seed.
    """

    def interval(values: np.ndarray, row_sd: np.ndarray, level: float | np.ndarray) -> Interval:
        by_seed = np.stack([values[seeds == seed].mean(0) for seed in np.unique(seeds)])
        mean, n = by_seed.mean(0)[None], len(by_seed)
        if n < 2:
            return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
        by_seeds = stdtrit(n - 1, 1 - level / 2) * by_seed.std(0, ddof=1) / np.sqrt(n)
        half = np.hypot(by_seeds, ndtri(1 - level / 2) * row_sd.mean(0))
        return mean, mean - half, mean + half

    return interval


def by_prompt(values: np.ndarray, row_sd: np.ndarray, level: float | np.ndarray) -> Interval:
    """Intervals of each prompt by itself: for other test rows, with these demonstrations."""
    half = ndtri(1 - level / 2) * row_sd
    return values, values - half, values + half


def auc_sd(gold: np.ndarray, n_groups: int | None = None) -> float:
    """Standard deviation of the AUC of guesses, by sampling rows: that of the Mann-Whitney statistic, mean over labels.

        sqrt((n + 1) / (12 n_y (n - n_y)))

    Args:
        gold: (example,) labels.
        n_groups: groups of rows that belong together, counted as one row each; None where all rows are alone.
    """
    counts = np.unique(gold, return_counts=True)[1].astype(float)
    if len(counts) < 2:
        return float("nan")
    n = counts.sum()
    sd = np.sqrt((n + 1) / (12 * counts * (n - counts))).mean()
    return float(sd * np.sqrt(n / (n_groups or n)))


def accuracy_sd(label_share: np.ndarray, gold: np.ndarray, n_groups: int | None = None) -> np.ndarray:
    """Standard deviation of the accuracy of given answers when the gold labels are permuted.

        sqrt(trace((diag(a) - a a') (diag(g) - g g')) / (n - 1)),   a, g: shares of each label, answered and gold

    Args:
        label_share: (..., label), how often each label is answered.
        gold, n_groups: as above.

    Returns:
        (...); 0 for a component that always gives the same answer.
    """
    g = np.bincount(gold, minlength=label_share.shape[-1]) / len(gold)
    n = n_groups or len(gold)
    linear = (label_share * g).sum(-1)
    quadratic = (label_share * g**2).sum(-1) + (label_share**2 * g).sum(-1)
    trace = linear - quadratic + linear**2
    return np.sqrt(np.maximum(trace, 0) / (n - 1))


def excess_agreement(ours: np.ndarray, theirs: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Agreement of answers less what is expected of answers that are independent of each other given the gold label.

    Such answers agree with probability `sum over y of P(y) sum over z of P(a = z | y) P(b = z | y)`, y the gold label
    and z an answer, which is what their accuracies alone give. Where they agree less, one is right on the rows on which
    the other is wrong.

    Args:
        ours, theirs: (example, component, label) credit.
        gold: (example,).

    Returns:
        Excess (our component, their component), and its standard deviation when answers are permuted among the rows of
        each gold label; 0 where one of the two always gives the same answer to the rows of each label.
    """
    excess, variance = 0.0, 0.0
    for label in np.unique(gold):
        a, b = (credit[gold == label].astype(np.float64) for credit in (ours, theirs))
        a, b = a - a.mean(0), b - b.mean(0)
        excess = excess + np.einsum("icz,idz->cd", a, b, optimize=True)
        squares = [np.einsum("icx,icz->cxz", credit, credit, optimize=True) for credit in (a, b)]
        variance = variance + np.einsum("cxz,dxz->cd", *squares, optimize=True) / max(1, len(a) - 1)
    n = len(gold)
    return np.asarray(excess) / n, np.sqrt(np.maximum(variance, 0)) / n
