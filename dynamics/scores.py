"""Predictions and scores of components: accuracy, margin, label share, and how predictions are stored.

Axes are in the order (example, component, label). Ties count 1/n_tied everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_LABELS = 32
"""A tie is stored as one bit per label."""


@dataclass(frozen=True)
class Scores:
    """Scores of each component as a classifier, one entry per component.

    Attributes:
        accuracy: (component,), mean credit at the gold label.
        balanced_accuracy: (component,), mean over labels of the accuracy on that label's examples.
        mean_margin: (component,), mean of the gold contribution less the largest other, in logits.
        label_share: (component, label), share of examples on which each label is predicted.
        entropy: (component,), of label_share, in bits.
        mean_gap: (component,), mean of `gap`, in logits.
    """

    accuracy: np.ndarray
    balanced_accuracy: np.ndarray
    mean_margin: np.ndarray
    label_share: np.ndarray
    entropy: np.ndarray
    mean_gap: np.ndarray


def labels_outermost(values: np.ndarray) -> np.ndarray:
    """The same array (..., label) with the label axis outermost in memory; numpy keeps this order in what it computes.

    Reductions over a few labels that lie side by side take five to ten times as long.
    """
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, -1, 0)), 0, -1)


def credit(values: np.ndarray) -> np.ndarray:
    """Credit of predicting the largest value: 1/n_tied at every label that attains the maximum, 0 at the others.

    Args:
        values: (..., label), finite.

    Returns:
        (..., label) float64; sums to 1 over labels.

    Raises:
        ValueError: a value is not finite; a NaN would count as no prediction.
    """
    if not np.isfinite(values).all():
        raise ValueError("contributions hold NaN or infinity, so no accuracy is defined; drop such rows")
    values = labels_outermost(values)
    top = values == values.max(-1, keepdims=True)
    return top / top.sum(-1, keepdims=True)


def encode(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictions as they are stored.

    Args:
        values: (..., label), finite.

    Returns:
        (...) uint8, the predicted label, the first in a tie; and (...) uint32, bit y set where label y ties at the top,
        0 without a tie.

    Raises:
        ValueError: there are more than `MAX_LABELS` labels, or a value is not finite.
    """
    return encode_credit(credit(values))


def encode_credit(label_credit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same from `credit` (..., label).

    Raises:
        ValueError: there are more than `MAX_LABELS` labels.
    """
    n_labels = label_credit.shape[-1]
    if n_labels > MAX_LABELS:
        raise ValueError(f"{n_labels} labels; ties can be stored for at most {MAX_LABELS}, use fewer")
    top = labels_outermost(label_credit) > 0
    single = label_credit.max(-1) == 1
    bits = (top * (np.uint32(1) << np.arange(n_labels, dtype=np.uint32))).sum(-1, dtype=np.uint32)
    return top.argmax(-1).astype(np.uint8), np.where(single, np.uint32(0), bits)


def decode(labels: np.ndarray, tied: np.ndarray, n_labels: int) -> np.ndarray:
    """Credit (..., label) of stored predictions: `decode(*encode(values), n_labels)` equals `credit(values)`."""
    single = np.uint32(1) << labels.astype(np.uint32)
    bits = np.where(tied > 0, tied, single)[..., None]
    top = (bits >> np.arange(n_labels, dtype=np.uint32)) & 1
    return top / top.sum(-1, keepdims=True)


def prediction_columns(values: np.ndarray, example_id: Sequence[str] | np.ndarray) -> dict[str, list[int] | None]:
    """The columns `predictions` and `tied` of a row of `prompt_scores`: the label of each example, by ascending id.

    Args:
        values: (example, label), of which the largest is predicted: logits, or `credit`.
        example_id: (example,) unique.
    """
    labels, tied = encode(values[np.argsort(np.asarray(example_id), kind="stable")])
    return {"predictions": labels.tolist(), "tied": tied.tolist() if tied.any() else None}


def accuracy(label_credit: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Mean credit at the gold label: (example, ..., label), (example,) -> (...)."""
    return at_gold(label_credit, gold).mean(0)


def at_gold(values: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Value at the gold label of each example: (example, ..., label), (example,) -> (example, ...)."""
    return np.moveaxis(values, -1, 1)[np.arange(len(gold)), gold]


def margin(values: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Value at the gold label less the largest other: (example, ..., label), (example,) -> (example, ...)."""
    values, n_labels = labels_outermost(values), values.shape[-1]
    is_gold = (np.arange(n_labels) == gold[:, None]).reshape(len(gold), *[1] * (values.ndim - 2), n_labels)
    return at_gold(values, gold) - np.where(is_gold, -np.inf, values).max(-1)


def gap(values: np.ndarray) -> np.ndarray:
    """Largest value less the second largest: how sure a prediction is, right or wrong. (..., label) -> (...)."""
    largest, *others = np.moveaxis(values, -1, 0)
    second = np.full_like(largest, -np.inf)
    for other in others:
        second = np.maximum(second, np.minimum(largest, other))
        largest = np.maximum(largest, other)
    return largest - second


def mean_gap(values: np.ndarray) -> np.ndarray:
    """Mean of `gap` over rows: (row, component, label) -> (component,) float32, as it is stored, in logits."""
    return gap(values).mean(0, dtype=np.float64).astype(np.float32)


def score(
    contributions: np.ndarray,
    gold: np.ndarray,
    *,
    label_credit: np.ndarray | None = None,
    gaps: np.ndarray | None = None,
) -> Scores:
    """Scores of every component as a classifier that predicts the label of its largest contribution.

    Args:
        contributions: (example, component, label), at least one example.
        gold: (example,) label indices.
        label_credit, gaps: `credit` and `mean_gap` of the contributions, where they are known already.
    """
    label_credit = credit(contributions) if label_credit is None else label_credit
    correct = at_gold(label_credit, gold)
    share = label_credit.mean(0)
    per_label = [correct[gold == label].mean(0) for label in np.unique(gold)]
    return Scores(
        accuracy=correct.mean(0),
        balanced_accuracy=np.mean(per_label, 0),
        mean_margin=margin(contributions, gold).mean(0, dtype=np.float64),
        label_share=share,
        entropy=-(share * np.log2(np.where(share > 0, share, 1))).sum(-1),
        mean_gap=mean_gap(contributions) if gaps is None else gaps,
    )
