"""Arrays -> numbers: what a component predicts and how well. Axes in the order (example, component, label)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_LABELS = 32
"""A tie is stored as one bit per label."""


@dataclass(frozen=True)
class Scores:
    """How well each component classifies, one entry per component.

    Attributes:
        accuracy, balanced_accuracy: (component,), ties counting 1/n_tied.
        mean_margin: (component,), in logits.
        label_share: (component, label), how often each label is predicted.
        entropy: (component,), of label_share, in bits.
    """

    accuracy: np.ndarray
    balanced_accuracy: np.ndarray
    mean_margin: np.ndarray
    label_share: np.ndarray
    entropy: np.ndarray


def credit(values: np.ndarray) -> np.ndarray:
    """What predicting from `values` earns per gold label: 1/n_tied at every label that attains the maximum, else 0.

    Args:
        values: (..., label), finite.

    Returns:
        (..., label) float64; sums to 1 over labels.

    Raises:
        ValueError: a value is not finite, since NaN would count as no prediction at all.
    """
    if not np.isfinite(values).all():
        raise ValueError("contributions hold NaN or infinity; no accuracy is defined")
    top = values == values.max(-1, keepdims=True)
    return top / top.sum(-1, keepdims=True)


def encode(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted label (uint8, the first in a tie) and tied labels (uint32 bits, 0 without a tie), label axis gone."""
    if values.shape[-1] > MAX_LABELS:
        raise ValueError(f"{values.shape[-1]} labels; ties can be stored for at most {MAX_LABELS}")
    top = credit(values) > 0
    bits = (top * (np.uint32(1) << np.arange(values.shape[-1], dtype=np.uint32))).sum(-1, dtype=np.uint32)
    return top.argmax(-1).astype(np.uint8), np.where(top.sum(-1) > 1, bits, 0).astype(np.uint32)


def decode(labels: np.ndarray, tied: np.ndarray, n_labels: int) -> np.ndarray:
    """The credit (..., label) of stored predictions: the inverse of `encode` as far as scoring goes."""
    alone = np.uint32(1) << labels.astype(np.uint32)
    bits = np.where(tied > 0, tied, alone)[..., None]
    top = (bits >> np.arange(n_labels, dtype=np.uint32)) & 1
    return top / top.sum(-1, keepdims=True)


def answers_by_id(values: np.ndarray, example_id: Sequence[str] | np.ndarray) -> dict[str, list[int] | None]:
    """The columns `predictions` and `tied` of `prompt_scores`: what is answered on each row, by ascending example_id.

    Args:
        values: (example, label), of which the largest is answered: logits, or `credit`.
        example_id: (example,) unique.
    """
    labels, tied = encode(values[np.argsort(np.asarray(example_id), kind="stable")])
    return {"predictions": labels.tolist(), "tied": tied.tolist() if tied.any() else None}


def accuracy(earned: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Mean credit at the gold label: (example, ..., label), (example,) -> (...)."""
    return at_gold(earned, gold).mean(0)


def at_gold(values: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """The gold label's entry of each example: (example, ..., label), (example,) -> (example, ...)."""
    index = gold.astype(np.intp).reshape(-1, *[1] * (values.ndim - 1))
    return np.take_along_axis(values, np.broadcast_to(index, (*values.shape[:-1], 1)), -1)[..., 0]


def margin(values: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Gold value less the largest other, in the values' unit: (example, ..., label) -> (example, ...)."""
    n_labels = values.shape[-1]
    is_gold = (np.arange(n_labels) == gold[:, None]).reshape(len(gold), *[1] * (values.ndim - 2), n_labels)
    return at_gold(values, gold) - np.where(is_gold, -np.inf, values).max(-1)


def score(contributions: np.ndarray, gold: np.ndarray) -> Scores:
    """Score every component as a classifier of its own.

    Args:
        contributions: (example, component, label), at least one example.
        gold: (example,) label indices.
    """
    earned = credit(contributions)
    hits = at_gold(earned, gold)
    share = earned.mean(0)
    per_label = [hits[gold == label].mean(0) for label in np.unique(gold)]
    return Scores(
        accuracy=hits.mean(0),
        balanced_accuracy=np.mean(per_label, 0),
        mean_margin=margin(contributions, gold).mean(0, dtype=np.float64),
        label_share=share,
        entropy=-(share * np.log2(np.where(share > 0, share, 1))).sum(-1),
    )
