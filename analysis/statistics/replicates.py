"""Replicates of the test rows: labels permuted, label words swapped, examples resampled with replacement.

Each kind counts the same thing: the credit of every component on each half of the test rows, as whole numbers. So every
choice of a component (`analysis.statistics.component_choice`) is repeated in every replicate by the same code that
makes it on the data.

- `Permuted`: labels shuffled within each half, the same shuffles for every component, prompt and step (components are
  far from independent). What is reached where predictions have nothing to do with labels. Replicate 0 is not shuffled.
- `Swapped`: the label words of each demonstration seed exchanged among themselves. What is reached where nothing says
  which word stands for which class. Meaningful only where seeds draw their label words.
- `Resampled`: examples drawn with replacement within each label and half, the same draws everywhere.

Rows that belong together (`group` in `predictions`) are not independent, so they are in one half and move as one:

- Permutations exchange the labels of whole groups among groups of the same number of rows in the half, and shuffle
  them within each group. A group that is alone in its size keeps its labels.
- Resampling draws whole groups among those with the same labels in the half, so that numbers of rows stay as they are;
  rows of a group that is alone in its kind are drawn one by one, like lone rows of their label.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from analysis.statistics.answer_bits import AnswerBits, Halves, count_bits, n_words_of, pack_digits, pack_rows
from analysis.statistics.exact_counts import count, count_dtype, pack
from dynamics.methods.selection import balanced_halves, group_members

N_REPLICATES = 1000
N_SHUFFLED = 250
"""Permutations after those of the null; they serve as curves to be tested against it."""
SEED = 0
BLOCK_COUNTS = 2**18
"""Counts made at once, where that is `LEAST_BLOCK` replicates or more: few enough to stay in a processor's cache."""
LEAST_BLOCK = 128
"""Replicates counted at once at least; a matrix product of fewer is slow."""


def halves_of(gold: np.ndarray, example_id: Sequence[str], groups: Sequence[str | None] | None = None) -> Halves:
    """The two halves that held-out choices are made and scored on: `dynamics.methods.selection.balanced_halves`."""
    in_first = balanced_halves(gold, np.array(example_id), groups)
    return np.flatnonzero(in_first), np.flatnonzero(~in_first)


class Replicates(Protocol):
    """One kind of replicates; `credit` is whole numbers, from `analysis.reading.credit.credit_counts`."""

    def blocks(self, prompts: Sequence[int], credit: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """The credit of each component under some prompts, one block of replicates after the other.

        Args:
            prompts: which.
            credit: (example, component, label) of each.

        Yields:
            (half, prompt, replicate, component), of an integer type that holds sums over halves and prompts.
        """
        ...

    def traced(self, bits: AnswerBits, component: np.ndarray) -> np.ndarray:
        """The credit on each half of one component per replicate: index (half, prompt, replicate) -> the same shape."""
        ...

    def of_single_answers(self, credit: np.ndarray) -> np.ndarray:
        """The credit on all rows where each prompt has one answer: (prompt, example, label) -> (prompt, replicate)."""
        ...


def all_counts(replicates: Replicates, prompt: int, credit: np.ndarray) -> np.ndarray:
    """One prompt's credit in all replicates: (half, replicate, component)."""
    return np.concatenate([block[:, 0] for block in replicates.blocks([prompt], [credit])], 1)


@dataclass(frozen=True)
class Permuted:
    """Permuted labels: one-hot by half, (replicate, label x example); the true labels in replicate 0."""

    halves: Halves
    one_hot: tuple[np.ndarray, np.ndarray]

    def blocks(self, prompts: Sequence[int], credit: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """(half, prompt, replicate, component) each."""
        del prompts
        by_half = [[_labels_as_rows(of_prompt[half]) for half in self.halves] for of_prompt in credit]
        return _products(self.one_hot, by_half, max(map(len, self.halves)) * _max_credit(credit))

    def traced(self, bits: AnswerBits, component: np.ndarray) -> np.ndarray:
        """(half, prompt, replicate)."""
        credit = np.zeros(component.shape, np.int64)
        for half, gold in enumerate(self._gold_bits):
            for digit in range(bits.n_digits):
                for label in range(bits.n_labels):
                    answered = bits.chosen(half, digit, label, component[half])
                    credit[half] += count_bits(answered & gold[label]) << digit
        return credit

    @cached_property
    def _gold_bits(self) -> list[np.ndarray]:
        """Of each half, the rows that have each label: (label, replicate, word)."""
        n_words = max(map(n_words_of, map(len, self.halves)))
        by_half = zip(self.halves, self.one_hot, strict=True)
        labels = [one_hot.reshape(len(one_hot), -1, len(half)).transpose(1, 2, 0) for half, one_hot in by_half]
        return [np.stack([pack_rows(rows, n_words) for rows in of_half]) for of_half in labels]

    def of_single_answers(self, credit: np.ndarray) -> np.ndarray:
        """(prompt, replicate)."""
        return all_counts(self, 0, credit.transpose(1, 0, 2)).sum(0).T


@dataclass(frozen=True)
class Swapped:
    """Label words exchanged: word (prompt, label, replicate), the label whose word a label gets."""

    gold: np.ndarray
    halves: Halves
    word: np.ndarray

    def blocks(self, prompts: Sequence[int], credit: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """(half, prompt, replicate, component) each."""
        dtype = count_dtype(len(self.gold) * _max_credit(credit) * len(credit))
        by_half = [[self._by_gold(of_prompt, half).astype(dtype) for of_prompt in credit] for half in self.halves]
        n_at_once = _block_size(len(self.halves) * len(credit) * credit[0].shape[1])
        for first in range(0, self.word.shape[-1], n_at_once):
            word = self.word[list(prompts), :, first : first + n_at_once]
            yield np.stack([[_swap(*pair) for pair in zip(of_half, word, strict=True)] for of_half in by_half])

    def traced(self, bits: AnswerBits, component: np.ndarray) -> np.ndarray:
        """(half, prompt, replicate)."""
        rows = _rows_of_labels(self.gold, self.halves, bits.n_labels)
        credit = np.zeros(component.shape, np.int64)
        prompt = np.arange(component.shape[1])[:, None]
        for half, of_labels in enumerate(rows):
            digits = [bits.words[half, :, digit] for digit in range(bits.n_digits)]
            for label, of_label in enumerate(of_labels):
                answers = np.add.reduce([count_bits(words & of_label) << digit for digit, words in enumerate(digits)])
                credit[half] += answers[prompt, self.word[:, label], component[half]]
        return credit

    def of_single_answers(self, credit: np.ndarray) -> np.ndarray:
        """(prompt, replicate)."""
        by_prompt = enumerate(credit)
        return np.stack([all_counts(self, i, of_prompt[:, None])[..., 0].sum(0) for i, of_prompt in by_prompt])

    def _by_gold(self, credit: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Credit summed over each label's rows: (gold label, answered label, component)."""
        n_labels = credit.shape[-1]
        return np.stack([credit[half[self.gold[half] == y]].sum(0, dtype=np.int64).T for y in range(n_labels)])


@dataclass(frozen=True)
class Resampled:
    """Examples drawn with replacement: weights (replicate, example), how often each was drawn."""

    gold: np.ndarray
    halves: Halves
    weights: np.ndarray

    def blocks(self, prompts: Sequence[int], credit: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """(half, prompt, replicate, component) each."""
        del prompts
        hits = [[self._at_gold(of_prompt)[half] for half in self.halves] for of_prompt in credit]
        weights = [self.weights[:, half] for half in self.halves]
        return _products(weights, hits, max(map(len, self.halves)) * _max_credit(credit))

    def traced(self, bits: AnswerBits, component: np.ndarray) -> np.ndarray:
        """(half, prompt, replicate)."""
        rows = _rows_of_labels(self.gold, self.halves, bits.n_labels)
        credit = np.zeros(component.shape, np.int64)
        for half, weights in enumerate(self._weight_bits):
            for digit in range(bits.n_digits):
                answered = [bits.chosen(half, digit, label, component[half]) for label in range(bits.n_labels)]
                hits = np.bitwise_or.reduce([words & rows[half][label] for label, words in enumerate(answered)])
                for digit_of_weight, drawn in enumerate(weights):
                    credit[half] += count_bits(hits & drawn) << (digit + digit_of_weight)
        return credit

    @cached_property
    def _weight_bits(self) -> list[list[np.ndarray]]:
        """Of each half and binary digit of the weights, the rows where it is 1: (replicate, word)."""
        n_words = max(map(n_words_of, map(len, self.halves)))
        return [pack_digits(self.weights[:, half].T, n_words) for half in self.halves]

    def of_single_answers(self, credit: np.ndarray) -> np.ndarray:
        """(prompt, replicate)."""
        return all_counts(self, 0, credit.transpose(1, 0, 2)).sum(0).T

    def _at_gold(self, credit: np.ndarray) -> np.ndarray:
        return credit[np.arange(len(credit)), :, self.gold]


def permuted(
    gold: np.ndarray,
    halves: Halves,
    n_labels: int,
    n: int = N_REPLICATES,
    groups: Sequence[str | None] | None = None,
    *,
    seed: int = SEED,
) -> Permuted:
    """Labels shuffled within each half, n times, after the true ones; those of a group of rows together.

    Args:
        groups: (example,) the group of each row, None for a lone one; None where all are alone.
    """
    rng = np.random.default_rng([seed, 0])
    shuffled = np.repeat(gold[:, None], n + 1, axis=1).astype(np.uint8)
    for half in halves:
        for blocks in _blocks_by(half, groups, len).values():
            if blocks.shape[1] == 1:
                rows = blocks[:, 0]
                shuffled[rows, 1:] = rng.permuted(shuffled[rows, 1:], axis=0)
                continue
            source = rng.permuted(np.repeat(np.arange(len(blocks))[:, None], n, 1), axis=0)
            labels = rng.permuted(gold[blocks][source], axis=-1)
            shuffled[blocks, 1:] = labels.transpose(0, 2, 1)
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
    by_seed = np.stack([rng.permuted(labels, axis=0) for _ in range(int(seed_of.max()) + 1)])
    return Swapped(gold, halves, by_seed[seed_of])


def resampled(
    gold: np.ndarray,
    halves: Halves,
    n: int = N_REPLICATES,
    groups: Sequence[str | None] | None = None,
    *,
    seed: int = SEED,
) -> Resampled:
    """Examples drawn with replacement, n times, as many of each label in each half as there are; groups as wholes.

    Args:
        groups: (example,) the group of each row, None for a lone one; None where all are alone.
    """
    rng = np.random.default_rng([seed, 2])
    weights = np.zeros((n, len(gold)), np.float32)
    for half in halves:
        kinds = _blocks_by(half, groups, lambda rows: tuple(sorted(gold[rows].tolist())))
        whole = [blocks for blocks in kinds.values() if len(blocks) > 1 and blocks.shape[1] > 1]
        one_by_one = np.setdiff1d(half, np.concatenate([rows.ravel() for rows in whole])) if whole else half
        for label in np.unique(gold[one_by_one]):
            rows = one_by_one[gold[one_by_one] == label]
            weights[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), n)
        for blocks in whole:
            drawn = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), n)
            weights[:, blocks] = drawn[:, :, None]
    return Resampled(gold, halves, weights)


def _blocks_by(
    half: np.ndarray, groups: Sequence[str | None] | None, kind: Callable[[np.ndarray], Hashable]
) -> dict[Hashable, np.ndarray]:
    """The groups of a half by their kind, lone rows as groups of one: kind -> (group, row of it) indices of rows."""
    in_half = set(half.tolist())
    members = [np.array(rows) for rows in group_members(groups) if rows[0] in in_half]
    together = {int(i) for rows in members for i in rows}
    by_kind: dict[Hashable, list[np.ndarray]] = {}
    for rows in [*(np.array([i]) for i in half.tolist() if i not in together), *members]:
        by_kind.setdefault(kind(rows), []).append(rows)
    return {key: np.stack(blocks) for key, blocks in by_kind.items()}


def _products(
    weights: Sequence[np.ndarray], values: Sequence[Sequence[np.ndarray]], max_count: int
) -> Iterator[np.ndarray]:
    """Weights of each half (replicate, row) times values of each prompt and half (row, component), in blocks."""
    packed = [[pack(of_half, max_count) for of_half in of_prompt] for of_prompt in values]
    n_halves, n_components = len(weights), packed[0][0].n_columns
    dtype = count_dtype(max_count * n_halves * len(values))
    n_at_once = _block_size(n_halves * len(values) * n_components)
    for first in range(0, len(weights[0]), n_at_once):
        part = [of_half[first : first + n_at_once] for of_half in weights]
        block = np.empty((n_halves, len(values), len(part[0]), n_components), dtype)
        for i, of_prompt in enumerate(packed):
            for half, digits in enumerate(of_prompt):
                count(part[half], digits, block[half, i])
        yield block


def _block_size(n_counts: int) -> int:
    """Replicates to count at once, of `n_counts` each."""
    return max(LEAST_BLOCK, BLOCK_COUNTS // n_counts)


def _rows_of_labels(gold: np.ndarray, halves: Halves, n_labels: int) -> np.ndarray:
    """The rows of each half that have each label: (half, label, word)."""
    n_words = max(map(n_words_of, map(len, halves)))
    return np.stack([pack_rows(gold[half][:, None] == np.arange(n_labels), n_words) for half in halves])


def _labels_as_rows(credit: np.ndarray) -> np.ndarray:
    """(example, component, label) -> (label x example, component)."""
    return credit.transpose(2, 0, 1).reshape(-1, credit.shape[1])


def _swap(by_gold: np.ndarray, word: np.ndarray) -> np.ndarray:
    """The credit where each label y has the word of word[y] (label, replicate): (replicate, component)."""
    return np.add.reduce([by_gold[y][of_label] for y, of_label in enumerate(word)], dtype=by_gold.dtype)


def _max_credit(credit: Sequence[np.ndarray]) -> int:
    return max(int(of_prompt.max(initial=0)) for of_prompt in credit)
