"""Bootstrap over examples and demonstration seeds: replicates of curves, and of statistics of curves.

A replicate of a curve is `mean + (change by resampled examples) + (change by resampled demonstration seeds)`.

- *Examples* are drawn with replacement within each label and half, the same draws for every component, prompt and step
  (`replicates.Resampled`), and components are chosen again in each replicate. Centred, since the best of many is higher
  in replicates than in the data.
- *Seeds* get normal weights whose sum has the variance of the mean of S seeds, times `sqrt((S - 1) / chi2(S - 1))`: the
  mean of S normal numbers then has Student's t as its interval, as it should and as drawing S out of S does not give
  where S is five. Templates are fixed: a seed's prompts under all templates change together.

What examples add under one seed only would be counted twice, by either draw. So the changes by examples are scaled by
`sqrt(1 - C / V)`: V is the variance of the statistic with only examples resampled, W the mean of the same with one
seed's changes at a time, and `C = (W - V) / (S - 1)` the part of V that belongs to examples and seeds together. With
one seed nothing is scaled, and only examples are resampled.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.statistics.replicates import N_REPLICATES, SEED

Statistic = Callable[..., np.ndarray]
"""A statistic of curves (step, ...): an array without the step axis, or with it."""
Unscaled = tuple[np.ndarray, np.ndarray]
"""(replicate,) and (seed, replicate)."""


@dataclass(frozen=True)
class Bootstrap:
    """A curve's mean over prompts and how it changes when examples and seeds are resampled.

    Attributes:
        mean: (step,).
        by_examples: (step, replicate), changes with examples resampled, centred.
        by_examples_per_seed: (step, seed, replicate), the same of each seed's own mean.
        by_seeds: (step, replicate), changes with seeds resampled.
    """

    mean: np.ndarray
    by_examples: np.ndarray
    by_examples_per_seed: np.ndarray
    by_seeds: np.ndarray

    def at(self, some: slice) -> "Bootstrap":
        """The same at some of the steps."""
        return Bootstrap(self.mean[some], self.by_examples[some], self.by_examples_per_seed[some], self.by_seeds[some])


def bootstrap(mean: np.ndarray, by_seed: np.ndarray, resampled: np.ndarray, *, seed: int = SEED) -> Bootstrap:
    """A curve's changes.

    Args:
        mean: (step,) over prompts.
        by_seed: (step, seed), over each seed's prompts; NaN for a seed that has none.
        resampled: (step, seed, replicate), the same with examples resampled.
    """
    has_value = ~np.isnan(by_seed).any(0)
    centred = (resampled - resampled.mean(-1, keepdims=True))[:, has_value].astype(np.float64)
    deviations = by_seed[:, has_value] - by_seed[:, has_value].mean(1, keepdims=True)
    weights = seed_weights(by_seed.shape[1], resampled.shape[-1], seed=seed)[has_value]
    return Bootstrap(mean, centred.mean(1), centred, deviations @ weights)


def replicate(statistic: Statistic, *curves: Bootstrap) -> np.ndarray:
    """A statistic of curves in every replicate, which is the same draw for all curves.

    Args:
        statistic: called with one (step, ...) array per curve; one replicate's result must not depend on the others.

    Returns:
        (..., replicate).
    """
    n_seeds = min(curve.by_examples_per_seed.shape[1] for curve in curves)
    scale = np.ones(1)
    if n_seeds > 1:
        of_mean = statistic(*(changed(curve.mean, curve.by_examples) for curve in curves))
        per_seed = statistic(*(changed(curve.mean, curve.by_examples_per_seed[:, :n_seeds]) for curve in curves))
        scale = examples_only(_variance(of_mean), _variance(per_seed).mean(-1), n_seeds)[..., None]
    return statistic(*(changed(curve.mean, curve.by_examples * scale + curve.by_seeds) for curve in curves))


def unscaled(statistic: Statistic, curve: Bootstrap) -> Unscaled:
    """A statistic of one curve with only examples resampled: all seeds', (replicate,), and each seed's alone.

    It is what `difference` needs of a curve whatever the other one is.
    """
    return (
        statistic(changed(curve.mean, curve.by_examples)),
        statistic(changed(curve.mean, curve.by_examples_per_seed)),
    )


def difference(
    statistics: tuple[Statistic, Statistic], curves: tuple[Bootstrap, Bootstrap], by_examples: tuple[Unscaled, Unscaled]
) -> np.ndarray:
    """`replicate` of a statistic of the first curve less one of the second: (replicate,).

    Args:
        by_examples: `unscaled` of each.
    """
    n_seeds = min(curve.by_examples_per_seed.shape[1] for curve in curves)
    scale = np.ones(1)
    (of_mean, per_seed), (other_of_mean, other_per_seed) = by_examples
    with np.errstate(invalid="ignore"):  # infinity less infinity: not defined
        if n_seeds > 1:
            apart = _variance(per_seed[:n_seeds] - other_per_seed[:n_seeds]).mean(-1)
            scale = examples_only(_variance(of_mean - other_of_mean), apart, n_seeds)[..., None]
        first, second = (
            statistic(changed(curve.mean, curve.by_examples * scale + curve.by_seeds))
            for statistic, curve in zip(statistics, curves, strict=True)
        )
        return first - second


def examples_only(of_mean: np.ndarray, per_seed: np.ndarray, n_seeds: int) -> np.ndarray:
    """The factor that leaves of the changes by examples what belongs to examples alone: `sqrt(1 - C / V)`.

    Args:
        of_mean: V, variance of the changes of the mean over seeds.
        per_seed: W, mean of the variances of the seeds' own changes.

    Returns:
        The factor; 1 where C is not known.
    """
    with np.errstate(invalid="ignore"):  # infinity less infinity: not known
        shared = (per_seed - of_mean) / (n_seeds - 1)
    known = np.isfinite(shared) & (of_mean > 0)
    ratio = np.where(known, shared, 0) / np.where(known, of_mean, 1)
    return np.where(known, np.sqrt(np.clip(1 - ratio, 0, 1)), 1.0)


def changed(mean: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """A curve (step,) plus changes (step, ...)."""
    return mean.reshape(-1, *[1] * (changes.ndim - 1)) + changes


def seed_weights(n_seeds: int, n: int = N_REPLICATES, *, seed: int = SEED) -> np.ndarray:
    """Weights of each seed's deviation from the mean: (seed, replicate); 0 where there is one seed.

    Weighted and summed, deviations of S normal numbers have the distribution `s / sqrt(S) * t(S - 1)`.
    """
    if n_seeds < 2:
        return np.zeros((n_seeds, n))
    rng = np.random.default_rng([seed, 3])
    weights = rng.standard_normal((n_seeds, n))
    return (weights - weights.mean(0)) / np.sqrt(n_seeds * rng.chisquare(n_seeds - 1, n))


def _variance(values: np.ndarray) -> np.ndarray:
    """Squared half width of the middle 68 % of replicates: a variance that a few onsets at infinity do not change."""
    ordered = np.sort(values, -1)
    n = values.shape[-1]
    with np.errstate(invalid="ignore"):  # infinity less infinity: not known
        return ((ordered[..., int(0.84 * n)] - ordered[..., int(0.16 * n)]) / 2) ** 2
