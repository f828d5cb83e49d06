"""Label bias: each label's mean logit over rows, and predictions and scores from which it is taken off.

    centred_xy = g_xy - mean over rows of g_xy,   separately for the full model and for every component

The mean needs no gold label. Taken off, it leaves what differs from row to row: a classifier that ranks rows correctly
but says one label on all of them is right again. On logits the mean splits exactly over components, so the part of each
component in the full model's bias is a number. In logits and with the mean over the scored rows this is batch
calibration (Zhou et al., arXiv 2309.17249), which takes the mean of probabilities (`dynamics.methods.label_free`).

Two sets of rows are used for the mean: the scored rows themselves (`centred`: transductive, since the prediction of a
row depends on the other rows, and a balanced set of rows is assumed), or the training rows, their labels unused
(`train_centred`).
"""

import numpy as np

from dynamics.scores import labels_outermost

CENTRED, TRAIN_CENTRED = "centred_", "train_centred_"
"""Before the name of a method: from logits less each label's mean over the test rows, or over the training rows."""
FORMS = ("", CENTRED, TRAIN_CENTRED)
RESOLUTION = 2.0**-20
"""Differences from a mean below this share of a component's largest logit are rounding errors and count as 0.

A component that is the same on every row, as the embedding of a last token can be, would otherwise predict from them.
"""


def label_means(logits: np.ndarray) -> np.ndarray:
    """Each label's mean over rows, the label bias: (row, ..., label) -> (..., label) float64, in logits."""
    return logits.mean(0, dtype=np.float64)


def centred(logits: np.ndarray, means: np.ndarray | None = None) -> np.ndarray:
    """Logits less each label's mean.

    Args:
        logits: (row, ..., label).
        means: (..., label), from `label_means` of other rows; None for those of these rows.

    Returns:
        (row, ..., label) float64; 0 where a difference is below `RESOLUTION` times the largest absolute logit of the
        same component.
    """
    logits = labels_outermost(logits)
    return _without_rounding(logits - (label_means(logits) if means is None else means), logits)


def _without_rounding(differences: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Differences between logits (row, ..., label), in place: 0 where they may be rounding errors (`RESOLUTION`)."""
    largest = np.maximum(logits.max((0, -1), keepdims=True), -logits.min((0, -1), keepdims=True))
    differences[np.abs(differences) <= RESOLUTION * largest] = 0
    return differences


def in_form(logits: np.ndarray, form: str, train: np.ndarray) -> np.ndarray:
    """Logits of scored rows in one of `FORMS`.

    Args:
        logits: (row, ..., label) of the scored rows.
        form: which.
        train: (training row, ..., label); one or more for `TRAIN_CENTRED`.
    """
    if form == TRAIN_CENTRED:
        return centred(logits, label_means(train))
    return centred(logits) if form == CENTRED else logits


def macro_auc(logits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Mean over labels of the area under the ROC curve, that label against all others; ties count half.

    The score of a label is its logit less the mean of the row's logits. So neither a constant added to a label nor one
    added to a row changes the area, and with two labels it is that of the difference of their logits. 1/2 is chance,
    below it rows are ranked the wrong way round.

    Args:
        logits: (row, ..., label).
        gold: (row,) label indices.

    Returns:
        (...) float64; NaN where all rows have one label.
    """
    logits = labels_outermost(logits)
    differences = centred(logits)
    scores = np.moveaxis(_without_rounding(differences - differences.mean(-1, keepdims=True), logits), 0, -1)
    n_labels = 1 if logits.shape[-1] == 2 else logits.shape[-1]  # of two labels, both have the same area
    is_label = [gold == label for label in range(n_labels)]
    areas = [_auc(scores[..., y, :], positive) for y, positive in enumerate(is_label) if 0 < positive.sum() < len(gold)]
    return np.mean(areas, 0) if areas else np.full(logits.shape[1:-1], np.nan)


def _auc(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of scores (..., row): the share of pairs ranked correctly, ties half (Mann-Whitney)."""
    scores = np.ascontiguousarray(scores, np.float32)
    order = np.argsort(scores, -1)
    in_order = np.take_along_axis(scores, order, -1)
    is_positive = positive[order]
    n, n_positive = len(positive), int(positive.sum())
    rank_sum = np.asarray(is_positive @ np.arange(1.0, n + 1))
    ties = np.argwhere((in_order[..., 1:] == in_order[..., :-1]).any(-1))
    for index in map(tuple, ties):
        rank_sum[index] = _ranks(scores[index])[positive].sum()
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * (n - n_positive))


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1 of scores (row,); tied rows have the mean of their ranks."""
    from scipy.stats import rankdata  # here, since importing it takes a second and plans are checked without it

    return rankdata(scores)
