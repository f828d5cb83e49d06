"""Credit of answers, 1/n_tied at every label answered: as floats, and as whole numbers whose sums are exact."""

import math

import numpy as np

from dynamics import scores


def credit(labels: np.ndarray, tied: np.ndarray | None, n_labels: int) -> np.ndarray:
    """Credit as fractions: 1/n_tied at every label answered.

    Args:
        labels: (...) uint8, the label answered; the first in a tie.
        tied: (...) uint32, bit y set where label y ties at the top, 0 without a tie; None where nothing ties.

    Returns:
        (..., label) float64.
    """
    return np.eye(n_labels)[labels] if tied is None else scores.decode(labels, tied, n_labels)


def credit_at_gold(labels: np.ndarray, tied: np.ndarray | None, gold: np.ndarray) -> np.ndarray:
    """Credit at the gold label alone, without the label axis: labels, tied and gold broadcast to (...) float64."""
    is_gold = labels == gold
    if tied is None:
        return is_gold.astype(float)
    gold_ties = (tied >> gold.astype(np.uint32)) & 1
    return np.where(tied > 0, gold_ties / np.maximum(np.bitwise_count(tied), 1), is_gold)


def credit_counts(labels: np.ndarray, tied: np.ndarray | None, n_labels: int, unit: int = 1) -> np.ndarray:
    """Credit as whole numbers, `unit` times 1/n_tied, so that sums over examples are exact.

    Args:
        labels, tied: (...), as in `credit`.
        unit: a multiple of every n_tied, from `credit_unit`.

    Returns:
        (..., label) uint8, or int64 where a unit does not fit; in memory one label after the other.
    """
    by_label = np.empty((n_labels, *labels.shape), np.uint8 if unit < 256 else np.int64)
    for label in range(n_labels):
        np.equal(labels, label, out=by_label[label], casting="unsafe")
    by_label *= by_label.dtype.type(unit)
    if tied is not None and tied.any():
        ties = tied > 0
        share = unit // np.bitwise_count(tied[ties])
        for label in range(n_labels):
            by_label[label][ties] = ((tied[ties] >> np.uint32(label)) & 1) * share
    return np.moveaxis(by_label, 0, -1)


def credit_unit(*tied: np.ndarray | None) -> int:
    """The least number that every number of tied labels divides; 1 where nothing ties."""
    patterns = [np.unique(bits) for bits in tied if bits is not None]
    return math.lcm(*{max(1, int(bits).bit_count()) for pattern in patterns for bits in pattern})
