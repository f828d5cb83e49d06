"""Scores against obvious loops, ties, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dynamics import scores

CONTRIBUTIONS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(2, 5)),
    elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0]),  # few values, so that ties are common
)


def obvious_accuracy(row: np.ndarray, gold: int) -> float:
    """1/n_tied where gold is among the largest."""
    best = [y for y, value in enumerate(row) if value == max(row)]
    return 1 / len(best) if gold in best else 0.0


@given(CONTRIBUTIONS, st.data())
def test_scores_equal_obvious_loops(values: np.ndarray, data: st.DataObject) -> None:
    n_examples, n_components, n_labels = values.shape
    gold = np.array(data.draw(st.lists(st.integers(0, n_labels - 1), min_size=n_examples, max_size=n_examples)))
    scored = scores.score(values, gold)
    for j in range(n_components):
        hits = [obvious_accuracy(values[i, j], gold[i]) for i in range(n_examples)]
        assert scored.accuracy[j] == pytest.approx(np.mean(hits))
        by_label = [np.mean([h for h, g in zip(hits, gold, strict=True) if g == y]) for y in set(gold.tolist())]
        assert scored.balanced_accuracy[j] == pytest.approx(np.mean(by_label))
        margins = [values[i, j, g] - max(np.delete(values[i, j], g)) for i, g in enumerate(gold)]
        assert scored.mean_margin[j] == pytest.approx(np.mean(margins), abs=1e-6)
    np.testing.assert_allclose(scored.label_share.sum(-1), 1)


@given(CONTRIBUTIONS)
def test_stored_predictions_earn_the_same_credit(values: np.ndarray) -> None:
    labels, tied = scores.encode(values)
    np.testing.assert_array_equal(scores.decode(labels, tied, values.shape[-1]), scores.credit(values))


def test_permuted_examples_keep_scores() -> None:
    rng = np.random.default_rng(0)
    values, gold = rng.normal(size=(20, 5, 3)), rng.integers(0, 3, 20)
    order = rng.permutation(20)
    a, b = scores.score(values, gold), scores.score(values[order], gold[order])
    np.testing.assert_allclose(a.accuracy, b.accuracy)
    np.testing.assert_allclose(a.mean_margin, b.mean_margin)


def test_a_constant_component_is_label_biased() -> None:
    values = np.broadcast_to(np.array([0.0, 3.0]), (10, 1, 2))
    scored = scores.score(values, np.arange(10) % 2)
    assert scored.label_share.tolist() == [[0.0, 1.0]]
    assert (scored.accuracy[0], scored.entropy[0]) == (0.5, 0.0)


def test_nan_is_refused_and_so_are_too_many_labels() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        scores.credit(np.array([[0.0, np.nan]]))
    with pytest.raises(ValueError, match="33 labels; ties can be stored for at most 32"):
        scores.encode(np.zeros((1, 33)))
