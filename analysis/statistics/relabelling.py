"""Three ways of asking "what if": labels permuted, label words swapped, examples drawn again.

Each is a set of replicates, and each counts the same thing: what every component earns on each half of the test rows,
as whole numbers. So every choice of a component (`analysis.statistics.choosing`) is made again in every
replicate by the same code that makes it on the data.

- `Permuted`: labels shuffled within each half, the same shuffles for every component, prompt and step (components are
  far from independent). What is reached where predictions have nothing to do with labels. Replicate 0 is not shuffled.
- `Swapped`: the label words of each demonstration seed exchanged among themselves. What is reached where nothing says
  which word stands for which class. Meaningful only where seeds draw their label words.
- `Resampled`: examples drawn again with replacement within each label and half, the same draws everywhere.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

N_REPLICATES = 1000
N_SHUFFLED = 250
"""Permutations after those of the null that stand for curves of their own: labels shuffled by somebody else."""
SEED = 0

Halves = tuple[np.ndarray, np.ndarray]
"""Indices of the examples in each half."""


class Replicates(Protocol):
    """A way of counting again; `earned` is whole numbers, from `analysis.reading.answers.earned`."""

    def counts(self, prompt: int, earned: np.ndarray) -> np.ndarray:
        """What each component earns: (example, component, label) of one prompt -> (half, replicate, component)."""
        ...

    def traced(self, prompt: int, earned: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The same on all rows for one component per replicate, chosen (replicate,) -> (replicate,)."""
        ...

    def alone(self, earned: np.ndarray) -> np.ndarray:
        """The same where each prompt has one answer: (prompt, example, label) -> (prompt, replicate)."""
        ...


@dataclass(frozen=True)
class Permuted:
    """Permuted labels: one-hot by half, (replicate, example x label); the true labels in replicate 0."""

    halves: Halves
    one_hot: tuple[np.ndarray, np.ndarray]

    def counts(self, prompt: int, earned: np.ndarray) -> np.ndarray:
        """(half, replicate, component)."""
        del prompt
        return np.stack([gold @ flat.T for flat, gold in self._by_half(earned)])

    def traced(self, prompt: int, earned: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(replicate,)."""
        del prompt
        first, second = (np.einsum("rk,rk->r", flat[chosen], gold) for flat, gold in self._by_half(earned))
        return first.astype(np.float64) + second

    def _by_half(self, earned: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """(component, example x label) and the labels, in a type that counts without rounding."""
        parts = [earned[half].transpose(1, 0, 2).reshape(earned.shape[1], -1) for half in self.halves]
        exact = _exact(earned)
        return [(p.astype(exact), g.astype(exact, copy=False)) for p, g in zip(parts, self.one_hot, strict=True)]

    def alone(self, earned: np.ndarray) -> np.ndarray:
        """(prompt, replicate)."""
        return self.counts(0, earned.transpose(1, 0, 2)).sum(0, dtype=np.float64).T


@dataclass(frozen=True)
class Swapped:
    """Label words exchanged: word (prompt, label, replicate), the label whose word a label gets."""

    gold: np.ndarray
    halves: Halves
    word: np.ndarray

    def counts(self, prompt: int, earned: np.ndarray) -> np.ndarray:
        """(half, replicate, component)."""
        answered = np.stack([self._answered(earned, half) for half in self.halves])
        return np.add.reduce([answered[:, y][:, word] for y, word in enumerate(self.word[prompt])])

    def traced(self, prompt: int, earned: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(replicate,)."""
        answered = self._answered(earned, np.arange(len(earned)))
        return np.add.reduce([answered[y][word, chosen] for y, word in enumerate(self.word[prompt])])

    def alone(self, earned: np.ndarray) -> np.ndarray:
        """(prompt, replicate)."""
        return np.stack([self.counts(i, mine[:, None])[..., 0].sum(0) for i, mine in enumerate(earned)])

    def _answered(self, earned: np.ndarray, half: np.ndarray) -> np.ndarray:
        """What is answered on each label's rows: (gold label, answered label, component)."""
        n_labels = earned.shape[-1]
        return np.stack([earned[half[self.gold[half] == y]].sum(0, dtype=np.float64).T for y in range(n_labels)])


@dataclass(frozen=True)
class Resampled:
    """Examples drawn again: weights (replicate, example), how often each was drawn."""

    gold: np.ndarray
    halves: Halves
    weights: np.ndarray

    def counts(self, prompt: int, earned: np.ndarray) -> np.ndarray:
        """(half, replicate, component)."""
        del prompt
        hits = self._hits(earned)
        weights = self.weights.astype(hits.dtype, copy=False)
        return np.stack([weights[:, half] @ hits[half] for half in self.halves])

    def traced(self, prompt: int, earned: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(replicate,)."""
        del prompt
        return np.einsum("re,re->r", self._hits(earned).T[chosen], self.weights).astype(np.float64)

    def alone(self, earned: np.ndarray) -> np.ndarray:
        """(prompt, replicate)."""
        return self.counts(0, earned.transpose(1, 0, 2)).sum(0, dtype=np.float64).T

    def _hits(self, earned: np.ndarray) -> np.ndarray:
        return earned[np.arange(len(earned)), :, self.gold].astype(_exact(earned))


def permuted(gold: np.ndarray, halves: Halves, n_labels: int, n: int = N_REPLICATES, *, seed: int = SEED) -> Permuted:
    """Labels shuffled within each half, n times, after the true ones."""
    rng = np.random.default_rng([seed, 0])
    shuffled = np.repeat(gold[:, None], n + 1, axis=1).astype(np.uint8)
    for half in halves:
        shuffled[half, 1:] = rng.permuted(shuffled[half, 1:], axis=0)
    eye = np.eye(n_labels, dtype=np.float32)
    first, second = (eye[shuffled[half].T].reshape(n + 1, -1) for half in halves)
    return Permuted(halves, (first, second))


def swapped(
    gold: np.ndarray,
    halves: Halves,
    n_labels: int,
    seed_of: np.ndarray,
    n: int = N_REPLICATES,
    *,
    seed: int = SEED,
) -> Swapped:
    """Label words of each demonstration seed exchanged at random, n times; templates of a seed share the exchange.

    Args:
        seed_of: (prompt,) index of each prompt's demonstration seed.
    """
    rng = np.random.default_rng([seed, 1])
    labels = np.broadcast_to(np.arange(n_labels)[:, None], (n_labels, n))
    of_seed = np.stack([rng.permuted(labels, axis=0) for _ in range(int(seed_of.max()) + 1)])
    return Swapped(gold, halves, of_seed[seed_of])


def resampled(gold: np.ndarray, halves: Halves, n: int = N_REPLICATES, *, seed: int = SEED) -> Resampled:
    """Examples drawn with replacement, n times, as many of each label in each half as there are."""
    rng = np.random.default_rng([seed, 2])
    weights = np.zeros((n, len(gold)), np.float32)
    for half in halves:
        for label in np.unique(gold[half]):
            mine = half[gold[half] == label]
            weights[:, mine] = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), n)
    return Resampled(gold, halves, weights)


def _exact(earned: np.ndarray) -> type:
    """A float type that counts without rounding: float32 up to 2^24."""
    return np.float32 if int(earned.max(initial=0)) * len(earned) < 2**24 else np.float64
