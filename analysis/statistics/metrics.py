"""Metrics of a classifier on labelled rows, as means over rows: accuracy, margin and area under the ROC curve.

Accuracy has a threshold in it: a row counts once its gold label is the largest, and not before. Two metrics have none.

- `margin`: the gold label's logit less the largest other, in logits. Its scale is that of the logits, which grow.
- `auc`: area under the ROC curve of a label against the others, mean over labels (`dynamics.label_bias.macro_auc`).

Each is the mean over rows of a value at the row's label, `sum_r v[r, y_r] / n`; with ranks over rows, for `auc`

    v[r, y] = n / K * (rank[r, y] - (m_y + 1) / 2) / (m_y (n - m_y))        m_y rows have label y, of K such labels

So metrics with permuted labels are sums of the same values, exactly. When rows are resampled their ranks change too;
the influence of a row has this to first order, as the variance of an area by DeLong et al. (Biometrics 44, 1988) has:
its share of the pairs that it is ranked correctly in.
"""

import numpy as np

from dynamics.label_bias import centred
from dynamics.scores import credit

ACCURACY, MARGIN, AUC = "accuracy", "margin", "auc"
METRICS = (ACCURACY, MARGIN, AUC)


def values_by_label(metric: str, logits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """What a row adds to a metric under each label: its mean over rows, at their labels, is the metric.

    Args:
        metric: one of `METRICS`.
        logits: (row, ..., label); NaN where there is no classifier.
        gold: (row,) label indices; for `auc` only how often each occurs.

    Returns:
        (row, ..., label) float64.
    """
    if metric == ACCURACY:
        return np.where(np.isnan(logits), np.nan, credit(np.nan_to_num(logits)))
    return _margins(logits) if metric == MARGIN else _area_by_label(_ranks(logits), gold)


def values_and_influence(metric: str, logits: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`values_by_label`, and what each row adds with the change of the others' ranks; its mean, too, is the metric.

    With weights w of the rows, whose sum over each label is unchanged, the metric is `sum_r w_r influence_r / n`, of
    `auc` to first order.

    Args:
        logits: (row, ..., label).
        gold: (row,).

    Returns:
        (row, ..., label) and (row, ...), float64.
    """
    if metric == AUC:
        ranks = _ranks(logits)
        return _area_by_label(ranks, gold), _area_influence(ranks, gold)
    values = values_by_label(metric, logits, gold)
    return values, at_labels(values, gold)


def _area_by_label(ranks: np.ndarray, gold: np.ndarray) -> np.ndarray:
    counts = np.bincount(gold, minlength=ranks.shape[-1])
    n, occurs = len(gold), (counts > 0) & (counts < len(gold))
    pairs = np.where(occurs, counts * (n - counts), 1)
    return np.where(occurs, (ranks - (counts + 1) / 2) / pairs, 0) * n / max(occurs.sum(), 1)


def _area_influence(ranks: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Shares of pairs with rows of other labels that a row is ranked correctly in, each label's in turn: (row, ...)."""
    from scipy.stats import rankdata  # takes longer to import than all of `analysis`

    counts = np.bincount(gold, minlength=ranks.shape[-1])
    labels = [y for y, m in enumerate(counts) if 0 < m < len(gold)]
    total = np.zeros(ranks.shape[:-1])
    for y in labels:
        positive, of_label = gold == y, ranks[..., y]
        m, n_others = counts[y], len(gold) - counts[y]
        below = (of_label[positive] - rankdata(of_label[positive], axis=0)) / n_others
        above = 1 - (of_label[~positive] - rankdata(of_label[~positive], axis=0)) / m
        total[positive] += below / m
        total[~positive] += (above - below.mean(0)) / n_others
    return total * len(gold) / max(len(labels), 1)


def confusion(metric: str, logits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """What the rows of each label add to a metric where the word that stands for it is another label's.

    Args:
        logits: (row, ..., label).
        gold: (row,).

    Returns:
        (..., label, word) float64; summed over each label's own word, the metric.
    """
    n, counts = len(gold), np.bincount(gold, minlength=logits.shape[-1])
    if metric != AUC:
        values = values_by_label(metric, logits, gold)
        return np.stack([values[gold == y].sum(0) for y in range(len(counts))], -2) / n
    ranks, n_areas = _ranks(logits), max(int(((counts > 0) & (counts < n)).sum()), 1)
    areas = [
        (ranks[gold == y].mean(0) - (m + 1) / 2) / (n - m) if 0 < m < n else np.zeros(ranks.shape[1:])
        for y, m in enumerate(counts.tolist())
    ]
    return np.stack(areas, -2) / n_areas


def at_labels(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each row's value at its label: (row, ..., label), (row,) -> (row, ...)."""
    index = labels.astype(np.intp).reshape(-1, *[1] * (values.ndim - 1))
    return np.take_along_axis(values, np.broadcast_to(index, (*values.shape[:-1], 1)), -1)[..., 0]


def _margins(logits: np.ndarray) -> np.ndarray:
    """Each label's logit less the largest of the others: (row, ..., label)."""
    ordered = np.sort(logits, -1)
    largest, second = ordered[..., -1:], ordered[..., -2:-1]
    return logits.astype(np.float64) - np.where(logits == largest, second, largest)


def _ranks(logits: np.ndarray) -> np.ndarray:
    """Ranks of the rows by each label's logit less the row's mean, ties at their mean rank: (row, ..., label)."""
    from scipy.stats import rankdata  # takes longer to import than all of `analysis`

    scores = centred(logits)
    scores -= scores.mean(-1, keepdims=True)
    if scores.shape[-1] > 2:
        return rankdata(scores, axis=0)
    first = rankdata(scores[..., 0], axis=0)
    return np.stack([first, len(scores) + 1 - first], -1)  # what one of two labels gains, the other loses
