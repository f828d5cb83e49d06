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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from analysis.statistics import counting
from dynamics.methods.selection import balanced_halves

N_REPLICATES = 1000
N_SHUFFLED = 250
"""Permutations after those of the null that stand for curves of their own: labels shuffled by somebody else."""
SEED = 0
BLOCK = 128
"""Replicates counted at once: few enough that a template's counts stay in a processor's cache."""

Halves = tuple[np.ndarray, np.ndarray]
"""Indices of the examples in each half."""


def halves_of(gold: np.ndarray, example_id: Sequence[str]) -> Halves:
    """The two halves that held-out choices are made and scored on: `dynamics.methods.selection.balanced_halves`."""
    in_first = balanced_halves(gold, np.array(example_id))
    return np.flatnonzero(in_first), np.flatnonzero(~in_first)


class Replicates(Protocol):
    """A way of counting again; `earned` is whole numbers, from `analysis.reading.answers.earned`."""

    def blocks(self, prompts: Sequence[int], earned: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """What each component earns under some prompts, a block of replicates after the other.

        Args:
            prompts: which.
            earned: (example, component, label) of each.

        Yields:
            (half, prompt, replicate, component), of an integer type that holds sums over halves and prompts.
        """
        ...

    def traced(self, prompt: int, earned: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The same on all rows for one component per replicate, chosen (replicate,) -> (replicate,)."""
        ...

    def alone(self, earned: np.ndarray) -> np.ndarray:
        """The same on all rows where each prompt has one answer: (prompt, example, label) -> (prompt, replicate)."""
        ...


def all_counts(ways: Replicates, prompt: int, earned: np.ndarray) -> np.ndarray:
    """One prompt's counts in all replicates: (half, replicate, component)."""
    return np.concatenate([block[:, 0] for block in ways.blocks([prompt], [earned])], 1)


@dataclass(frozen=True)
class Permuted:
    """Permuted labels: one-hot by half, (replicate, label x example); the true labels in replicate 0."""

    halves: Halves
    one_hot: tuple[np.ndarray, np.ndarray]

    def blocks(self, prompts: Sequence[int], earned: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """(half, prompt, replicate, component) each."""
        del prompts
        shares = [[_by_label(mine[half]) for half in self.halves] for mine in earned]
        return _products(self.one_hot, shares, max(map(len, self.halves)) * _most_earned(earned))

    def traced(self, prompt: int, earned: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(replicate,)."""
        del prompt
        parts = zip(self.halves, self.one_hot, strict=True)
        return np.add.reduce([_followed(gold, _by_label(earned[half]), chosen) for half, gold in parts])

    def alone(self, earned: np.ndarray) -> np.ndarray:
        """(prompt, replicate)."""
        return all_counts(self, 0, earned.transpose(1, 0, 2)).sum(0).T


@dataclass(frozen=True)
class Swapped:
    """Label words exchanged: word (prompt, label, replicate), the label whose word a label gets."""

    gold: np.ndarray
    halves: Halves
    word: np.ndarray

    def blocks(self, prompts: Sequence[int], earned: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """(half, prompt, replicate, component) each."""
        dtype = counting.holds(len(self.gold) * _most_earned(earned) * len(earned))
        answered = [[self._answered(mine, half).astype(dtype) for half in self.halves] for mine in earned]
        for first in range(0, self.word.shape[-1], BLOCK):
            word = self.word[list(prompts), :, first : first + BLOCK]
            yield np.stack(
                [
                    [_words(half, w) for half, w in zip(halves, word, strict=True)]
                    for halves in zip(*answered, strict=True)
                ]
            )

    def traced(self, prompt: int, earned: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(replicate,)."""
        answered = self._answered(earned, np.arange(len(earned)))
        return np.add.reduce([answered[y][word, chosen] for y, word in enumerate(self.word[prompt])])

    def alone(self, earned: np.ndarray) -> np.ndarray:
        """(prompt, replicate)."""
        return np.stack([all_counts(self, i, mine[:, None])[..., 0].sum(0) for i, mine in enumerate(earned)])

    def _answered(self, earned: np.ndarray, half: np.ndarray) -> np.ndarray:
        """What is answered on each label's rows: (gold label, answered label, component)."""
        n_labels = earned.shape[-1]
        return np.stack([earned[half[self.gold[half] == y]].sum(0, dtype=np.int64).T for y in range(n_labels)])


@dataclass(frozen=True)
class Resampled:
    """Examples drawn again: weights (replicate, example), how often each was drawn."""

    gold: np.ndarray
    halves: Halves
    weights: np.ndarray

    def blocks(self, prompts: Sequence[int], earned: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """(half, prompt, replicate, component) each."""
        del prompts
        hits = [[self._hits(mine)[half] for half in self.halves] for mine in earned]
        weights = [self.weights[:, half] for half in self.halves]
        return _products(weights, hits, max(map(len, self.halves)) * _most_earned(earned))

    def traced(self, prompt: int, earned: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(replicate,)."""
        del prompt
        return _followed(self.weights, self._hits(earned), chosen)

    def alone(self, earned: np.ndarray) -> np.ndarray:
        """(prompt, replicate)."""
        return all_counts(self, 0, earned.transpose(1, 0, 2)).sum(0).T

    def _hits(self, earned: np.ndarray) -> np.ndarray:
        return earned[np.arange(len(earned)), :, self.gold]


def permuted(gold: np.ndarray, halves: Halves, n_labels: int, n: int = N_REPLICATES, *, seed: int = SEED) -> Permuted:
    """Labels shuffled within each half, n times, after the true ones."""
    rng = np.random.default_rng([seed, 0])
    shuffled = np.repeat(gold[:, None], n + 1, axis=1).astype(np.uint8)
    for half in halves:
        shuffled[half, 1:] = rng.permuted(shuffled[half, 1:], axis=0)
    eye = np.eye(n_labels, dtype=np.float32)
    first, second = (eye[shuffled[half].T].transpose(0, 2, 1).reshape(n + 1, -1) for half in halves)
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


def _products(weights: Sequence[np.ndarray], values: Sequence[Sequence[np.ndarray]], most: int) -> Iterator[np.ndarray]:
    """Weights of each half (replicate, row) times values of each prompt and half (row, component), in blocks."""
    packed = [[counting.pack(half, most) for half in prompt] for prompt in values]
    n_halves, n_components = len(weights), packed[0][0].n_columns
    dtype = counting.holds(most * n_halves * len(values))
    for first in range(0, len(weights[0]), BLOCK):
        part = [half[first : first + BLOCK] for half in weights]
        block = np.empty((n_halves, len(values), len(part[0]), n_components), dtype)
        for i, prompt in enumerate(packed):
            for half, mine in enumerate(prompt):
                counting.count(part[half], mine, block[half, i])
        yield block


def _followed(weights: np.ndarray, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """One column of values per replicate: weights (replicate, row), values (row, column) -> (replicate,)."""
    return np.einsum("rk,kr->r", weights, values[:, chosen].astype(np.float64))


def _by_label(earned: np.ndarray) -> np.ndarray:
    """(example, component, label) -> (label x example, component)."""
    return earned.transpose(2, 0, 1).reshape(-1, earned.shape[1])


def _words(answered: np.ndarray, word: np.ndarray) -> np.ndarray:
    """What is earned where each label y has the word of word[y]: (replicate, component)."""
    return np.add.reduce([answered[y][mine] for y, mine in enumerate(word)], dtype=answered.dtype)


def _most_earned(earned: Sequence[np.ndarray]) -> int:
    return max(int(mine.max(initial=0)) for mine in earned)
