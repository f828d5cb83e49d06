"""Calibration (Calib+): one factor per label word on the full model's probabilities, from a few labelled rows.

    predict softmax(v . p)_y,   p = softmax of the label logits: probabilities renormalised over the label words

with v (label,) initialised at 1. Source: the paper's baseline of that name. It is component reweighting of as many
components as labels, where component y contributes p_y to label y and 0 to the others, so the same descent fits it.
No variant has a penalty or clips; loss, learning rate and stopping rule are those of each variant of
`dynamics.methods.reweighting`, with at most 5,000 updates (`default`: 256, averaged over stops). `official_code` checks
whether all rows are right BEFORE updates 1, 101, ...: a full model that is right on all rows stays unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynamics.methods.descent import FitSettings
from dynamics.methods.reweighting import LabelledRows, fit_each
from dynamics.methods.variants import VARIANTS

SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """Calib+ after fitting: one factor per label.

    Attributes:
        factors: (label,), v.
        settings: settings of the fit.
        epochs: number of updates.
        train_loss: mean cross-entropy of the rows, in nats.
        stop_reason: `all rows right`, `patience`, `max_epochs` or `averaged over stops`.
        n_per_label: (label,) training rows of each label; may be 0.
    """

    factors: np.ndarray
    settings: FitSettings
    epochs: int
    train_loss: float
    stop_reason: str
    n_per_label: tuple[int, ...]

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """`v . p`, the logits of the calibrated prediction: (example, label) in and out.

        Raises:
            ValueError: rows are not probabilities, or have another number of labels.
        """
        _check_probabilities(probabilities)
        if probabilities.shape[1] != len(self.factors):
            raise ValueError(
                f"probabilities have {probabilities.shape[1]} labels and the fit has {len(self.factors)} factors; give "
                "the labels of the fit"
            )
        return probabilities * self.factors


def label_probabilities(logits: np.ndarray) -> np.ndarray:
    """`softmax(label logits)`, renormalised over the label words: (example, label) in and out, float64."""
    powers = np.exp(logits - logits.max(-1, keepdims=True).astype(np.float64))
    return powers / powers.sum(-1, keepdims=True)


def fit_calibration(
    probabilities: np.ndarray, gold: np.ndarray, settings: FitSettings = VARIANTS["default"].calibration
) -> Calibration:
    """Fit Calib+, one factor per label, to labelled rows.

    Args:
        probabilities: (row, label), from `label_probabilities`.
        gold: (row,) label indices.
        settings: those of a variant in `dynamics.methods.variants`.

    Raises:
        ValueError: rows are not probabilities over the labels, or shapes do not match.
    """
    return fit_each_calibration([(probabilities, gold)], settings)[0]


def fit_each_calibration(sets: Sequence[tuple[np.ndarray, np.ndarray]], settings: FitSettings) -> list[Calibration]:
    """Fit Calib+ to each of several (probabilities, gold) by itself, as `reweighting.fit_each`.

    Raises:
        ValueError: as for `fit_calibration`.
    """
    for probabilities, _ in sets:
        _check_probabilities(probabilities)
    rows = [LabelledRows(p[:, :, None] * np.eye(p.shape[1]), gold) for p, gold in sets]
    return [
        Calibration(
            factors=fitted.weights,
            settings=settings,
            epochs=fitted.epochs,
            train_loss=fitted.train_loss,
            stop_reason=fitted.stop_reason,
            n_per_label=fitted.n_per_label,
        )
        for fitted in fit_each(rows, settings)
    ]


def _check_probabilities(probabilities: np.ndarray) -> None:
    valid = probabilities.ndim == 2 and bool((probabilities >= 0).all())
    if not (valid and bool((np.abs(probabilities.sum(-1) - 1) < SUM_TOLERANCE).all())):
        raise ValueError(
            f"values of shape {probabilities.shape} are not probabilities over the labels, (row, label) summing to 1; "
            "renormalise with label_probabilities(label logits)"
        )
