"""How often simulated sweeps, whose truth is known, give a finding. (Many: tests/benchmarks/bench_error_rates.py.)

Thresholds are such that rates as claimed fail one of these tests with a probability below .001.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.component_choice import CROSS_SEED, FULL, HELD_OUT, T1
from tests.coverage import CENTRED
from tests.error_rates import above_band, component_errors, differences_above_zero, refits_above_band
from tests.learning import Design

SMALL = Design(learns_at=(6.0, 6.3, np.inf, np.inf), n_templates=1, n_seeds=3, n_examples=80, bias=0.8)
GUESSING = replace(SMALL, learns_at=(np.inf,) * 4, full_at=np.inf, persistence=0.98)
ONE_KNOWS = replace(SMALL, learns_at=(6.0, *[np.inf] * 3), full_at=6.0, n_seeds=5)


def at_most(n: int, rate: float) -> float:
    """The largest share of n sweeps that a rate gives with probability .9999."""
    return float(stats.binom.ppf(0.9999, n, rate)) / n


@pytest.mark.parametrize(
    "design", [GUESSING, replace(GUESSING, rows_alike=4), replace(GUESSING, gold_shares=(0.8, 0.2))]
)
def test_curves_that_know_nothing_are_seldom_above_their_band(design: Design) -> None:
    shares = above_band(design, (FULL, T1, HELD_OUT, CROSS_SEED), 25, 199)
    assert set(shares) == {form + name for form in ("", CENTRED) for name in (FULL, T1, HELD_OUT, CROSS_SEED)}
    assert max(shares.values()) <= at_most(25, 0.01)


def test_curves_that_know_are_above_their_band() -> None:
    assert set(above_band(SMALL, (FULL, T1), 3, 199).values()) == {1.0}


@pytest.mark.parametrize("components_biased", [False, True])
def test_where_only_bias_differs_nothing_remains(components_biased: bool) -> None:
    design = replace(ONE_KNOWS, components_biased=components_biased)
    shares = differences_above_zero(design, (HELD_OUT, CROSS_SEED), 12, 200)
    for curve in (HELD_OUT, CROSS_SEED):
        assert shares[curve, "bias"] == 1
        assert shares[curve, "remaining"] <= at_most(12, 0.025)


def test_a_component_that_knows_what_the_centred_model_does_not_is_found() -> None:
    shares = differences_above_zero(replace(ONE_KNOWS, full_at=np.inf), (HELD_OUT, CROSS_SEED), 4, 200)
    assert shares[HELD_OUT, "remaining"] == shares[CROSS_SEED, "remaining"] == 1


def test_components_that_learn_are_discovered_and_the_others_seldom() -> None:
    design = replace(SMALL, learns_at=(6.0, 6.5, *[np.inf] * 14), n_seeds=5, persistence=0.98)
    rates = component_errors(design, 15)
    assert rates["found"] == 1
    assert rates["false discoveries"] < 0.15
    assert rates["p at most .01"] <= at_most(15 * 14, 0.01)
    for criterion in ("null", "half"):
        assert rates[f"onset {criterion}"] >= 1 - at_most(30, 0.05)


def test_fits_to_labels_that_say_nothing_are_not_above_refits() -> None:
    shares = refits_above_band(4, 99, full_knows=False, labels_say=False)
    assert set(shares) == {"comp_rw", "centred_comp_rw", "calib_plus"}
    assert max(shares.values()) <= at_most(4, 0.01)
    assert refits_above_band(2, 99, full_knows=False, labels_say=True)["centred_comp_rw"] == 1
