"""Calibration (Calib+): one factor per label word on the full model's probabilities, from a few labelled rows.

    predict softmax(v . p)_y,   p = softmax of the label logits: probabilities renormalised over the label words

with v (label,) from a start at 1. Source: the paper's baseline of that name. It is component reweighting of as many
components as labels, of which component y contributes p_y to label y and 0 to the others, so the same descent fits it.
No penalty and no clipping in any variant; loss, learning rate and stop are those of each variant of
`dynamics.methods.reweighting`, with at most 5,000 updates (`default`: 256, averaged over stops). `official_code` looks
whether all rows are right BEFORE updates 1, 101, ...: a full model that is right on all rows stays as it is.
"""

from dataclasses import dataclass

import numpy as np

from dynamics.methods.descent import FitSettings
from dynamics.methods.reweighting import fit
from dynamics.methods.variants import VARIANTS

SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """Fitted factors.

    Attributes:
        factors: (label,), v.
        settings: how they were fitted.
        epochs: updates made.
        train_loss: mean cross-entropy of the rows, in nats.
        stop_reason: `all rows right`, `patience`, `max_epochs` or `averaged over stops`.
        n_per_label: (label,) rows of each label; a label may have had none.
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
            ValueError: rows are not probabilities over as many labels.
        """
        _check_probabilities(probabilities)
        if probabilities.shape[1] != len(self.factors):
            raise ValueError(
                f"{probabilities.shape[1]} labels and {len(self.factors)} factors; give the labels of the fit"
            )
        return probabilities * self.factors


def label_probabilities(logits: np.ndarray) -> np.ndarray:
    """`softmax(label logits)`, renormalised over the label words: (example, label) in and out, float64."""
    powers = np.exp(logits - logits.max(-1, keepdims=True).astype(np.float64))
    return powers / powers.sum(-1, keepdims=True)


def fit_calibration(
    probabilities: np.ndarray, gold: np.ndarray, settings: FitSettings = VARIANTS["default"].calibration
) -> Calibration:
    """Fit one factor per label to labelled rows.

    Args:
        probabilities: (row, label), as `label_probabilities` gives them.
        gold: (row,) label indices.
        settings: those of a variant in `dynamics.methods.variants`.

    Raises:
        ValueError: rows are not probabilities over the labels, or do not agree with gold.
    """
    _check_probabilities(probabilities)
    fitted = fit(probabilities[:, :, None] * np.eye(probabilities.shape[1]), gold, settings)
    return Calibration(
        factors=fitted.weights,
        settings=settings,
        epochs=fitted.epochs,
        train_loss=fitted.train_loss,
        stop_reason=fitted.stop_reason,
        n_per_label=fitted.n_per_label,
    )


def _check_probabilities(probabilities: np.ndarray) -> None:
    valid = probabilities.ndim == 2 and bool((probabilities >= 0).all())
    if not (valid and bool((np.abs(probabilities.sum(-1) - 1) < SUM_TOLERANCE).all())):
        raise ValueError(
            f"values of shape {probabilities.shape} are not probabilities over the labels, (row, label) summing to 1; "
            "renormalise with label_probabilities(label logits)"
        )
