"""Prompts and examples drawn again: replicates of curves, and of what is read off them.

A replicate of a curve is `mean + (examples drawn again) + (demonstration seeds drawn again)`.

- *Examples* are drawn with replacement within each label and half, the same draws for every component, prompt and step
  (`relabelling.Resampled`), and components are chosen again. Centred, since the best of many is higher in replicates
  than in the data.
- *Seeds* get normal weights whose sum has the variance of the mean of S seeds, times `sqrt((S - 1) / chi2(S - 1))`: the
  mean of S normal numbers then has Student's t as its interval, as it should have and as drawing S out of S does not
  give where S is five. Templates are fixed: a seed's prompts under all templates move together.

What examples add under one seed only would come in twice, with either draw. So the moves of examples are scaled by
`sqrt(1 - C / V)`: V is the variance of what is read off the curves with only examples drawn again, W the mean of the
same with one seed's moves at a time, and `C = (W - V) / (S - 1)` the part of V that belongs to examples and seeds
together. With one seed nothing is scaled, and only examples are drawn again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.statistics.relabelling import N_REPLICATES, SEED

Reading = Callable[..., np.ndarray]
"""What is read off curves (step, ...): an array without the step axis, or with it."""


@dataclass(frozen=True)
class Drawn:
    """A curve's mean over prompts and how it moves.

    Attributes:
        mean: (step,).
        examples: (step, replicate) moves with examples drawn again, centred.
        by_seed: (step, seed, replicate), the same of each seed's own mean.
        seeds: (step, replicate), moves with seeds drawn again.
    """

    mean: np.ndarray
    examples: np.ndarray
    by_seed: np.ndarray
    seeds: np.ndarray


def drawn(mean: np.ndarray, by_seed: np.ndarray, moves: np.ndarray, *, seed: int = SEED) -> Drawn:
    """A curve's moves.

    Args:
        mean: (step,) over prompts.
        by_seed: (step, seed), over each seed's prompts; NaN for a seed that has none.
        moves: (step, seed, replicate), the same with examples drawn again.
    """
    there = ~np.isnan(by_seed).any(0)
    centred = (moves - moves.mean(-1, keepdims=True))[:, there].astype(np.float64)
    deviations = by_seed[:, there] - by_seed[:, there].mean(1, keepdims=True)
    weights = seed_weights(by_seed.shape[1], moves.shape[-1], seed=seed)[there]
    return Drawn(mean, centred.mean(1), centred, deviations @ weights)


def again(read: Reading, *curves: Drawn) -> np.ndarray:
    """What is read off curves, in every replicate; all curves move together.

    Args:
        read: called with one (step, ...) array per curve; one replicate's result must not depend on the others.

    Returns:
        (..., replicate).
    """
    n_seeds = min(curve.by_seed.shape[1] for curve in curves)
    share = np.ones(1)
    if n_seeds > 1:
        whole = read(*(at(curve.mean, curve.examples) for curve in curves))
        each = read(*(at(curve.mean, curve.by_seed[:, :n_seeds]) for curve in curves))
        share = alone(_spread(whole), _spread(each).mean(-1), n_seeds)[..., None]
    return read(*(at(curve.mean, curve.examples * share + curve.seeds) for curve in curves))


def alone(whole: np.ndarray, each: np.ndarray, n_seeds: int) -> np.ndarray:
    """How much of the moves that examples make belongs to examples alone: `sqrt(1 - C / V)`, 1 where not known.

    Args:
        whole: V, variance of the moves of the mean over seeds.
        each: W, mean of the variances of the seeds' own moves.
    """
    with np.errstate(invalid="ignore"):  # infinity less infinity: not known
        together = (each - whole) / (n_seeds - 1)
    known = np.isfinite(together) & (whole > 0)
    return np.where(known, np.sqrt(np.clip(1 - np.where(known, together, 0) / np.where(known, whole, 1), 0, 1)), 1.0)


def at(mean: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """A curve moved: (step,) and (step, ...)."""
    return mean.reshape(-1, *[1] * (moves.ndim - 1)) + moves


def seed_weights(n_seeds: int, n: int = N_REPLICATES, *, seed: int = SEED) -> np.ndarray:
    """What each seed's deviation from the mean is weighted with: (seed, replicate); 0 where there is one seed.

    Weighted and summed, deviations of S normal numbers have the distribution `s / sqrt(S) * t(S - 1)`.
    """
    if n_seeds < 2:
        return np.zeros((n_seeds, n))
    rng = np.random.default_rng([seed, 3])
    weights = rng.standard_normal((n_seeds, n))
    return (weights - weights.mean(0)) / np.sqrt(n_seeds * rng.chisquare(n_seeds - 1, n))


def _spread(values: np.ndarray) -> np.ndarray:
    """Squared half width of the middle 68 % of replicates: a variance that a few onsets at infinity leave alone."""
    ordered = np.sort(values, -1)
    n = values.shape[-1]
    with np.errstate(invalid="ignore"):  # infinity less infinity: not known
        return ((ordered[..., int(0.84 * n)] - ordered[..., int(0.16 * n)]) / 2) ** 2
