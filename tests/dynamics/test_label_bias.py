"""Label bias: centred predictions and areas under the ROC curve against obvious readings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dynamics.label_bias import CENTRED, TRAIN_CENTRED, centred, in_form, label_means, macro_auc
from dynamics.methods.label_free import calibrate, prior
from dynamics.scores import accuracy, credit

RNG = np.random.default_rng(7)
LOGITS = arrays(
    np.float32, st.tuples(st.integers(4, 12), st.integers(1, 3), st.integers(2, 4)), elements=st.integers(-5, 5)
)


def area_by_pairs(logits: np.ndarray, gold: np.ndarray) -> float:
    """Macro one-vs-rest area of (row, label) by counting pairs."""
    scores = logits - logits.mean(-1, keepdims=True)
    areas = []
    for label in range(logits.shape[1]):
        positive, negative = scores[gold == label, label], scores[gold != label, label]
        if len(positive) and len(negative):
            difference = np.round(positive[:, None] - negative, 5)
            areas.append((difference > 0).mean() + (difference == 0).mean() / 2)
    return float(np.mean(areas))


@settings(deadline=None)  # the first ties import scipy
@given(LOGITS, st.integers(0, 2**32 - 1))
def test_auc_is_the_share_of_pairs_ranked_correctly(logits, seed):
    gold = np.random.default_rng(seed).integers(0, logits.shape[-1], len(logits))
    gold[:2] = [0, 1]
    expected = [area_by_pairs(logits[:, j], gold) for j in range(logits.shape[1])]
    assert macro_auc(logits, gold) == pytest.approx(expected)


def test_auc_of_scores_that_are_equal_but_for_rounding_counts_ties():
    logits, gold = np.array([[0, 1, -1]] + [[-1, -1, -1]] * 4, np.float32), np.array([0, 1, 1, 0, 0])
    assert macro_auc(logits[:, None], gold) == pytest.approx([area_by_pairs(logits, gold)])


def test_auc_ignores_constants_of_labels_and_of_rows():
    logits, gold = RNG.normal(size=(50, 3, 4)), RNG.integers(0, 4, 50)
    shifted = logits + RNG.normal(size=4) + RNG.normal(size=(50, 3, 1))
    assert macro_auc(shifted, gold) == pytest.approx(macro_auc(logits, gold))


def test_auc_of_two_labels_is_that_of_their_difference():
    logits, gold = RNG.normal(size=(40, 2)), RNG.integers(0, 2, 40)
    difference = logits[:, 1] - logits[:, 0]
    pairs = difference[gold == 1][:, None] - difference[gold == 0]
    assert macro_auc(logits, gold) == pytest.approx((pairs > 0).mean())


def test_auc_is_undefined_where_all_rows_have_one_label():
    assert np.isnan(macro_auc(RNG.normal(size=(5, 2, 2)), np.zeros(5, int))).all()


def test_a_model_that_ranks_rows_but_says_one_label_is_right_when_centred():
    gold = np.arange(40) % 2
    logits = np.stack([3 + 0 * gold, gold - 0.5], 1) + RNG.normal(scale=0.05, size=(40, 2))
    assert accuracy(credit(logits), gold) == 0.5
    assert accuracy(credit(centred(logits)), gold) == macro_auc(logits, gold) == 1


def test_a_model_that_only_has_a_bias_is_at_chance_when_centred():
    gold = np.arange(40) % 2
    logits = np.tile(np.array([2.0, 1.0], np.float32), (40, 1))
    assert accuracy(credit(centred(logits)), gold) == macro_auc(logits, gold) == 0.5


@pytest.mark.parametrize("noise", [0, 1e-7])
def test_rounding_errors_of_a_constant_component_predict_nothing(noise):
    constant = np.float32(37.3) * (1 + noise * RNG.choice([-1, 1], size=(200, 1, 2))).astype(np.float32)
    assert (credit(centred(constant)) == 0.5).all()


def test_the_bias_of_the_full_model_is_the_sum_over_components():
    contributions = RNG.normal(size=(30, 6, 3))
    full = contributions.sum(1)
    assert label_means(contributions).sum(0) == pytest.approx(label_means(full))
    assert centred(contributions).sum(1) == pytest.approx(centred(full))


def test_forms_take_their_means_from_their_own_rows():
    test, train = RNG.normal(size=(20, 4, 2)), RNG.normal(size=(6, 4, 2))
    assert in_form(test, "", train) is test
    assert in_form(test, CENTRED, train) == pytest.approx(test - test.mean(0))
    assert in_form(test, TRAIN_CENTRED, train) == pytest.approx(test - train.mean(0))


def test_centring_uses_no_gold_label_and_no_order_of_rows():
    logits, order = RNG.normal(size=(20, 3, 2)), RNG.permutation(20)
    assert centred(logits)[order] == pytest.approx(centred(logits[order]))


def test_label_free_calibration_divides_probabilities_by_their_prior():
    logits = RNG.normal(size=(25, 3)) * 4 + [2, 0, -1]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert prior(logits) == pytest.approx(p.mean(0))
    assert calibrate(logits, prior(logits)) == pytest.approx(np.log(p / p.mean(0)))
