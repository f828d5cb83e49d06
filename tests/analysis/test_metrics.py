"""Metrics as means over rows: as they are defined, under permuted labels and swapped words, with rows resampled."""

import numpy as np
import pytest

from analysis.statistics.metrics import (
    ACCURACY,
    AUC,
    MARGIN,
    at_labels,
    confusion,
    values_and_influence,
    values_by_label,
)
from dynamics.label_bias import macro_auc
from dynamics.scores import accuracy, credit, margin

DEFINED = {
    ACCURACY: lambda logits, gold: accuracy(credit(logits), gold),
    MARGIN: lambda logits, gold: margin(logits, gold).mean(0),
    AUC: macro_auc,
}


def classifiers(n_labels: int, n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (row, 5, label) that know a little, and gold labels of unequal frequency."""
    rng = np.random.default_rng(seed)
    share = np.arange(n_labels, 0, -1) / np.arange(n_labels + 1).sum()
    gold = np.concatenate([np.arange(n_labels), rng.choice(n_labels, n - n_labels, p=share)])
    logits = rng.normal(size=(n, 5, n_labels))
    logits[np.arange(n), :, gold] += np.linspace(0, 2, 5)
    return logits, gold


@pytest.mark.parametrize("n_labels", [2, 4])
@pytest.mark.parametrize("metric", [ACCURACY, MARGIN, AUC])
def test_a_metric_is_a_mean_over_rows_whatever_their_labels(metric: str, n_labels: int) -> None:
    logits, gold = classifiers(n_labels)
    values, influence = values_and_influence(metric, logits, gold)
    expected = DEFINED[metric](logits, gold)
    np.testing.assert_allclose(at_labels(values, gold).mean(0), expected)
    np.testing.assert_allclose(influence.mean(0), expected)
    permuted = np.random.default_rng(1).permutation(gold)
    np.testing.assert_allclose(at_labels(values, permuted).mean(0), DEFINED[metric](logits, permuted))


@pytest.mark.parametrize("metric", [ACCURACY, MARGIN, AUC])
def test_words_are_swapped_as_labels_are(metric: str) -> None:
    """Labels of unequal frequency: the rows of a label take the word, and so the column, of another one."""
    logits, gold = classifiers(3)
    by_word = confusion(metric, logits, gold)
    for words in ([0, 1, 2], [1, 2, 0], [0, 2, 1]):
        swapped = sum(by_word[..., y, word] for y, word in enumerate(words))
        np.testing.assert_allclose(swapped, DEFINED[metric](logits, np.array(words)[gold]))


def test_the_influence_gives_the_area_of_resampled_rows_to_first_order() -> None:
    logits, gold = classifiers(2, n=400)
    _, influence = values_and_influence(AUC, logits, gold)
    rng = np.random.default_rng(2)
    linear, exact = [], []
    for _ in range(300):
        rows = np.concatenate([rng.choice(np.flatnonzero(gold == y), np.count_nonzero(gold == y)) for y in (0, 1)])
        linear.append(influence[rows].mean(0))
        exact.append(macro_auc(logits[rows], gold[rows]))
    np.testing.assert_allclose(np.std(linear, 0), np.std(exact, 0), rtol=0.05)
    assert (np.std(np.subtract(linear, exact), 0) < 0.15 * np.std(exact, 0)).all()  # the second order


def test_ties_count_half_and_a_prompt_without_a_classifier_stays_without() -> None:
    logits, gold = np.zeros((10, 2, 2)), np.arange(10) % 2
    logits[:, 1] = np.nan
    assert at_labels(values_by_label(ACCURACY, logits, gold), gold).mean(0)[0] == 0.5
    assert at_labels(values_by_label(AUC, logits, gold), gold).mean(0)[0] == pytest.approx(0.5)
    for metric in (ACCURACY, MARGIN, AUC):
        values, influence = values_and_influence(metric, logits, gold)
        assert np.isnan(values[:, 1]).all()
        assert np.isnan(influence[:, 1]).all()
