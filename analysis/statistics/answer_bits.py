"""Answers as bits: what one component per replicate is credited with, without counting all of them.

A component that was chosen at one step is followed through all others, in every replicate another one. Its credit is
the number of rows on which its answer is the replicate's label: bits of the component, AND those of the label, counted
word by word. Credit in parts, of ties, is a whole number of units, whose binary digits are counted one by one.
"""

from dataclasses import dataclass

import numpy as np

Halves = tuple[np.ndarray, np.ndarray]
"""Indices of the examples in each half."""
_BYTES = 8


@dataclass(frozen=True)
class AnswerBits:
    """The credit of every component on each half of the test rows.

    Attributes:
        words: (half, prompt, digit, label, component, word) uint64; bit k of the words is row k of the half.
        unit: credit of an answer that ties with none.
    """

    words: np.ndarray
    unit: int

    def chosen(self, half: int, digit: int, label: int, component: np.ndarray) -> np.ndarray:
        """The words of one component each: (prompt, replicate) index -> (prompt, replicate, word)."""
        return np.take_along_axis(self.words[half, :, digit, label], component[..., None].astype(np.intp), 1)

    @property
    def n_digits(self) -> int:
        """Binary digits of the credit."""
        return self.words.shape[2]

    @property
    def n_labels(self) -> int:
        """Number of label words."""
        return self.words.shape[3]


def pack_credit(credit: np.ndarray, halves: Halves, unit: int) -> np.ndarray:
    """One prompt's credit (example, component, label) as words (half, digit, label, component, word).

    Without ties a row's last label is known from the others, and left out.
    """
    labels = range(credit.shape[-1] - (unit == 1))
    digits = range(int(unit).bit_length())
    n_words = max(map(n_words_of, map(len, halves)))
    return np.stack(
        [[[pack_rows((credit[half, :, y] >> d) & 1, n_words) for y in labels] for d in digits] for half in halves]
    )


def unpack_credit(words: np.ndarray, halves: Halves, unit: int) -> AnswerBits:
    """The words of all prompts (half, prompt, digit, label, component, word), with those of the label left out."""
    if unit > 1:
        return AnswerBits(words, unit)
    all_rows = np.stack([pack_rows(np.ones((len(half), 1), np.uint8), words.shape[-1])[0] for half in halves])
    others = np.bitwise_or.reduce(words, axis=3)
    last = all_rows[:, None, None, None, :] & ~others
    return AnswerBits(np.concatenate([words, last[:, :, :, None]], 3), unit)


def pack_rows(rows: np.ndarray, n_words: int) -> np.ndarray:
    """Zeros and ones (row, column) as (column, word) uint64."""
    packed = np.zeros((rows.shape[1], n_words * _BYTES), np.uint8)
    octets = np.packbits(rows.astype(np.uint8, copy=False), axis=0)
    packed[:, : len(octets)] = octets.T
    return packed.view(np.uint64)


def n_words_of(n_rows: int) -> int:
    """Words that hold a bit per row."""
    return -(-n_rows // (8 * _BYTES))


def count_bits(words: np.ndarray) -> np.ndarray:
    """The number of ones: (..., word) -> (...)."""
    return np.bitwise_count(words).sum(-1, dtype=np.int64)


def pack_digits(values: np.ndarray, n_words: int) -> list[np.ndarray]:
    """Whole numbers (row, column) as the words (column, word) of each binary digit."""
    whole = values.astype(np.int64)
    return [pack_rows((whole >> digit) & 1, n_words) for digit in range(max(1, int(whole.max()).bit_length()))]
