"""Bootstrap intervals: their distribution, and their coverage. (Many sweeps: tests/benchmarks/bench_coverage.py.)"""

from math import comb

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.bootstrap import bootstrap, examples_only, replicate, seed_weights
from analysis.statistics.component_choice import FULL, HELD_OUT
from analysis.statistics.onset import interval
from tests.coverage import CENTRED, DIFFERENCES, coverage
from tests.learning import Design


def test_the_mean_of_normal_seeds_has_students_t_as_its_interval() -> None:
    seeds = np.array([0.5, 0.7, 0.55, 0.62, 0.71])
    curve = bootstrap(np.array([seeds.mean()]), seeds[None], np.repeat(seeds[None, :, None], 20_000, -1))
    low, high = interval(replicate(lambda values: values, curve))
    expected = stats.t.interval(0.95, 4, seeds.mean(), stats.sem(seeds))
    assert (low.item(), high.item()) == pytest.approx(expected, abs=0.01)


def test_with_one_seed_only_examples_are_resampled() -> None:
    assert (seed_weights(1) == 0).all()
    resampled = np.random.default_rng(0).normal(0.6, 0.1, (3, 1, 500))
    curve = bootstrap(np.full(3, 0.5), np.full((3, 1), 0.5), resampled)
    np.testing.assert_allclose(replicate(lambda values: values, curve), 0.5 + resampled[:, 0] - resampled.mean(-1))


def test_noise_of_single_answers_counts_once() -> None:
    """Where examples or seeds have nothing in common, the seeds contribute all of the variance."""
    rng = np.random.default_rng(3)
    resampled = rng.normal(0, 0.02, (1, 15, 4000))
    curve = bootstrap(np.array([0.5]), 0.5 + rng.normal(0, 0.02, (1, 15)), resampled)
    spread = replicate(lambda values: values, curve).std() / curve.by_seeds.std()
    assert 1 <= spread < 1.1
    assert examples_only(np.array(1.0), np.array(1.0), 15) == 1  # seeds change together: nothing to subtract
    assert examples_only(np.array(1.0), np.array(15.0), 15) == 0


def test_a_seed_without_a_value_is_left_out() -> None:
    by_seed = np.array([[0.4, np.nan, 0.6]])
    curve = bootstrap(np.array([0.5]), by_seed, np.repeat(by_seed[..., None], 100, -1))
    assert np.isfinite(replicate(lambda values: values, curve)).all()


def test_intervals_contain_the_truth() -> None:
    """30 simulated sweeps; with 95 %, fewer than 24 contain it with probability .0006."""
    n = 30
    shares = coverage(Design(n_examples=100), (FULL, HELD_OUT), n, 150)
    assert sum(comb(n, k) * 0.95**k * 0.05 ** (n - k) for k in range(24)) < 0.001
    for (curve, quantity), share in shares.items():
        if "step0" not in quantity:  # its interval is not known to cover
            assert share >= 24 / n, (curve, quantity)
    assert shares[FULL, "mean"] < 1


def test_intervals_of_centred_curves_and_of_differences_contain_the_truth() -> None:
    """25 simulated sweeps with a label bias; with 95 %, fewer than 19 contain it with probability .0002."""
    n = 25
    assert sum(comb(n, k) * 0.95**k * 0.05 ** (n - k) for k in range(19)) < 0.001
    design = Design(learns_at=(6.0, 6.3, np.inf, np.inf), n_templates=1, n_examples=80, bias=0.8)
    shares = coverage(design, (HELD_OUT,), n, 150)
    differences = [(HELD_OUT, part + end) for part in DIFFERENCES for end in ("", " band")]
    for key in [*differences, (CENTRED + HELD_OUT, "mean"), (CENTRED + HELD_OUT, "onset half")]:
        assert shares[key] >= 19 / n, key
    assert min(shares[HELD_OUT, part] for part in DIFFERENCES) < 1
