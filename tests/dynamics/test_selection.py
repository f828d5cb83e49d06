"""Selection: who wins, who wins a tie, and that held-out accuracy of guessing components is chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from dynamics.methods.selection import (
    Answers,
    answers_of,
    balanced_halves,
    heldout_split_half,
    heldout_train_rows,
    oracle_b1,
    oracle_t1,
)
from dynamics.scores import accuracy, credit, decode, encode


def contributions_of(predicted: np.ndarray, margins: np.ndarray, n_labels: int = 2) -> np.ndarray:
    """Components (example, component) that predict a label by a margin: (example, component, label)."""
    return np.eye(n_labels)[predicted] * margins[..., None]


GOLD = np.array([0, 1, 0, 1])
RIGHT, WRONG = [0, 1, 0, 1], [1, 0, 1, 0]
HALF = [0, 1, 1, 0]


def rows(*columns: list[int], margins: list[float]) -> Answers:
    predicted = np.array(columns).T
    return answers_of(contributions_of(predicted, np.broadcast_to(np.array(margins), predicted.shape)), GOLD)


def test_best_and_worst() -> None:
    test = rows(HALF, RIGHT, WRONG, margins=[1, 1, 1])
    assert (oracle_t1(test).component, oracle_t1(test).accuracy) == (1, 1.0)
    assert (oracle_b1(test).component, oracle_b1(test).accuracy) == (2, 0.0)


def test_a_tie_goes_to_the_larger_gap_then_to_the_first() -> None:
    assert oracle_t1(rows(HALF, RIGHT, RIGHT, margins=[9, 1, 2])).component == 2
    assert oracle_t1(rows(HALF, RIGHT, RIGHT, margins=[9, 2, 2])).component == 1
    assert oracle_b1(rows(WRONG, WRONG, RIGHT, margins=[1, 2, 9])).component == 1
    assert oracle_b1(rows(WRONG, WRONG, RIGHT, margins=[2, 2, 9])).component == 0


def test_a_tie_between_half_right_components_does_not_look_at_labels() -> None:
    """Both are right on half of the rows: one is surer where it is right, the other is surer on the whole."""
    predicted = np.array([HALF, HALF]).T
    margins = np.array([[8, 8, 1, 1], [4, 4, 6, 6]]).T
    for gold in (GOLD, 1 - GOLD):
        assert oracle_t1(answers_of(contributions_of(predicted, margins), gold)).component == 1


def test_ties_on_a_half_go_by_the_gaps_on_all_rows() -> None:
    test = rows(RIGHT, RIGHT, margins=[2, 1])
    test = Answers(test.credit, test.gold, np.array([2.0, 3.0]))
    held_out = heldout_split_half(test, np.array([True, True, False, False]))
    assert [best.component for best in held_out.selected] == [1, 1]


def test_without_gaps_a_tie_goes_to_the_first() -> None:
    with_gaps = rows(HALF, RIGHT, RIGHT, margins=[9, 1, 2])
    assert oracle_t1(Answers(with_gaps.credit, GOLD)).component == 1
    assert oracle_b1(Answers(with_gaps.credit[:, 1:], GOLD)).component == 0


def test_credits_of_a_third_tie_in_any_order() -> None:
    """The same credits in another order do not add up to the same float; the larger gap must still win."""
    thirds = np.repeat(np.array([[1 / 3] * 3, [0, 1, 0], [1, 0, 0]]), [21, 7, 7], 0)
    both, gold = np.stack([thirds, thirds[np.random.default_rng(0).permutation(35)]], 1), np.ones(35, int)
    first, second = accuracy(both, gold)
    if first < second:
        both, first, second = both[:, ::-1], second, first
    assert 0 < first - second < 1e-12
    assert oracle_t1(Answers(both, gold, np.array([1.0, 2.0]))).component == 1


def test_train_rows_choose_and_test_rows_score() -> None:
    train, test = rows(RIGHT, HALF, margins=[1, 1]), rows(HALF, RIGHT, margins=[1, 1])
    held_out = heldout_train_rows(train, test)
    assert (held_out.selected[0].component, held_out.selected[0].accuracy, held_out.accuracy) == (0, 1.0, 0.5)


def test_split_half_scores_each_way_on_the_other_half() -> None:
    """Component 0 is right on the first half only, 1 on the second only, 2 on half of each."""
    gold = np.arange(8) % 2
    first = np.arange(8) < 4
    predicted = np.stack([np.where(first, gold, 1 - gold), np.where(first, 1 - gold, gold), np.zeros(8, int)], 1)
    held_out = heldout_split_half(answers_of(contributions_of(predicted, np.ones((8, 3))), gold), first)
    assert [best.component for best in held_out.selected] == [0, 1]
    assert [best.accuracy for best in held_out.selected] == [1.0, 1.0]
    assert held_out.accuracy == 0.0


def test_stored_predictions_give_the_same_choice() -> None:
    contributions, gold = guesses(3)
    labels, tied = encode(contributions)
    stored, direct = Answers(decode(labels, tied, 4), gold), answers_of(contributions, gold)
    halves = balanced_halves(gold)
    assert heldout_split_half(stored, halves) == heldout_split_half(Answers(direct.credit, gold), halves)
    assert oracle_t1(stored).accuracy == oracle_t1(direct).accuracy


def guesses(seed: int, n_rows: int = 400, n_components: int = 100):
    """Components that know nothing: contributions and gold."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, n_components, 4)).astype(np.float32), np.arange(n_rows) % 4


def test_held_out_guessing_is_chance_and_the_oracle_is_not() -> None:
    """10 sets of 400 rows, 100 guessing components: held out within the central 99.9 % of a binomial, T1 above it."""
    oracle, train, split = [], [], []
    for seed in range(10):
        test = answers_of(*guesses(seed))
        oracle.append(oracle_t1(test).accuracy)
        train.append(heldout_train_rows(answers_of(*guesses(100 + seed, 24)), test).accuracy)
        split.append(heldout_split_half(test, balanced_halves(test.gold)).accuracy)
    low, high = binom.ppf([0.0005, 0.9995], 4000, 0.25) / 4000
    assert low <= np.mean(train) <= high, (low, train, high)
    assert low <= np.mean(split) <= high, (low, split, high)
    assert np.mean(oracle) > high + 0.02


@settings(deadline=None)
@given(gold=st.lists(st.integers(0, 3), min_size=2, max_size=60), seed=st.integers(0, 99))
def test_halves_are_balanced_and_follow_the_ids(gold: list[int], seed: int) -> None:
    labels, ids = np.array(gold), np.array([f"row-{i:03d}" for i in range(len(gold))])
    first = balanced_halves(labels, ids, seed=seed)
    counts = [(first & (labels == y)).sum() - (~first & (labels == y)).sum() for y in range(4)]
    assert max(map(abs, counts)) <= 1
    assert abs(sum(counts)) <= 1
    order = np.random.default_rng(seed).permutation(len(gold))
    assert (balanced_halves(labels[order], ids[order], seed=seed) == first[order]).all()


def test_halves_differ_by_seed_and_repeat() -> None:
    gold = np.arange(40) % 4
    assert (balanced_halves(gold) == balanced_halves(gold)).all()
    assert (balanced_halves(gold, seed=0) != balanced_halves(gold, seed=1)).any()


def test_refusals() -> None:
    contributions, gold = guesses(0, 8, 3)
    contributions[2, 1, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        answers_of(contributions, gold)
    label_credit = credit(np.nan_to_num(contributions))
    with pytest.raises(ValueError, match="drop such rows"):
        Answers(np.where(label_credit == 1, np.nan, label_credit), gold)
    with pytest.raises(ValueError, match="at least one example"):
        Answers(label_credit[:0], gold[:0])
    with pytest.raises(ValueError, match="gold of shape"):
        answers_of(np.nan_to_num(contributions), gold[:5])
    with pytest.raises(ValueError, match="gaps of shape"):
        Answers(label_credit, gold, np.zeros((8, 2)))
    with pytest.raises(ValueError, match="same components and labels"):
        heldout_train_rows(Answers(label_credit, gold), Answers(label_credit[:, :2], gold))
    with pytest.raises(ValueError, match="cannot be halved"):
        balanced_halves(gold[:1])
    with pytest.raises(ValueError, match="cannot be halved"):
        balanced_halves(gold, np.array(["same"] * 8))
