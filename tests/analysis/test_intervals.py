"""Intervals: what is drawn again, and do they hold the truth? (Many sweeps: tests/benchmarks/bench_coverage.py.)"""

from math import comb

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.choosing import FULL, HELD_OUT
from analysis.statistics.onset import interval
from analysis.statistics.resampling import again, alone, drawn, seed_weights
from tests.coverage import coverage
from tests.learning import Design


def test_the_mean_of_normal_seeds_has_students_t_as_its_interval() -> None:
    seeds = np.array([0.5, 0.7, 0.55, 0.62, 0.71])
    curve = drawn(np.array([seeds.mean()]), seeds[None], np.repeat(seeds[None, :, None], 20_000, -1))
    low, high = interval(again(lambda values: values, curve))
    expected = stats.t.interval(0.95, 4, seeds.mean(), stats.sem(seeds))
    assert (low.item(), high.item()) == pytest.approx(expected, abs=0.01)


def test_with_one_seed_only_examples_are_drawn_again() -> None:
    assert (seed_weights(1) == 0).all()
    moves = np.random.default_rng(0).normal(0.6, 0.1, (3, 1, 500))
    curve = drawn(np.full(3, 0.5), np.full((3, 1), 0.5), moves)
    np.testing.assert_allclose(again(lambda values: values, curve), 0.5 + moves[:, 0] - moves.mean(-1))


def test_noise_of_single_answers_counts_once() -> None:
    """Without anything that examples or seeds have in common, all of it comes in with the seeds."""
    rng = np.random.default_rng(3)
    moves = rng.normal(0, 0.02, (1, 15, 4000))
    curve = drawn(np.array([0.5]), 0.5 + rng.normal(0, 0.02, (1, 15)), moves)
    spread = again(lambda values: values, curve).std() / curve.seeds.std()
    assert 1 <= spread < 1.1
    assert alone(np.array(1.0), np.array(1.0), 15) == 1  # seeds move together: nothing to take out
    assert alone(np.array(1.0), np.array(15.0), 15) == 0


def test_a_seed_without_a_value_is_left_out() -> None:
    by_seed = np.array([[0.4, np.nan, 0.6]])
    curve = drawn(np.array([0.5]), by_seed, np.repeat(by_seed[..., None], 100, -1))
    assert np.isfinite(again(lambda values: values, curve)).all()


def test_intervals_hold_the_truth() -> None:
    """30 simulated sweeps; with 95 %, fewer than 24 hold it with probability .0006."""
    n = 30
    found = coverage(Design(n_examples=100), (FULL, HELD_OUT), n, 150)
    assert sum(comb(n, k) * 0.95**k * 0.05 ** (n - k) for k in range(24)) < 0.001
    for (curve, what), share in found.items():
        if "step0" not in what:  # its interval is not claimed
            assert share >= 24 / n, (curve, what)
    assert found[FULL, "mean"] < 1
