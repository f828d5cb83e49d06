"""Plateaus and levels: one checkpoint decides nothing, floors are those of the null, and what curves do afterwards."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics.criteria import HALF, NULL, SWAPPED, criteria, share_of_plateau
from analysis.statistics.mean_curve import MeanCurve
from analysis.statistics.onset import isotonic_onset, log2_steps
from analysis.statistics.plateau import doublings_above, late_noise, n_plateau, plateau
from tests.mean_curves import curve

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
RISES = (0.5, 0.5, 0.5, 0.5, 0.9, 0.9, 0.9, 0.9)
GUESSES = (0.5,) * 8


def onsets(of: MeanCurve) -> dict[str, float]:
    """Criterion -> the onset in log2 of steps."""
    return {one.name: float(isotonic_onset(of.axis, one.margins(of.values)).log2) for one in criteria(of)}


def test_the_plateau_is_never_more_than_half_of_a_curve() -> None:
    assert [n_plateau(n) for n in (1, 2, 3, 4, 5, 6, 154)] == [1, 1, 1, 2, 2, 3, 3]
    assert plateau(np.array([0.1, 0.2, 0.7, 0.9])) == pytest.approx(0.8)
    assert plateau(np.array([0.0] * 10 + [0.3, 0.9, 0.5])) == 0.5


@given(st.floats(0, 1))
def test_one_last_checkpoint_neither_makes_nor_unmakes_an_emergence(last: float) -> None:
    """Whatever its accuracy; and it moves the onset by less than the two checkpoints around the crossing."""
    risen, guessing = onsets(curve(STEPS, [*RISES, last])), onsets(curve(STEPS, [*GUESSES, last]))
    assert 1 <= risen[HALF] <= 3
    assert 1 <= risen[NULL] <= 3
    assert guessing[HALF] == guessing[NULL] == np.inf


def test_half_way_starts_at_the_mean_of_the_null_of_that_step() -> None:
    floor = np.array([0.6, 0.6, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5])
    values = [0.6, 0.6, 0.6, 0.75, 0.8, 0.9, 0.9, 0.9, 0.9]
    half = share_of_plateau(curve(STEPS, values, floor=floor), 0.5)
    np.testing.assert_allclose(half.level, floor + 0.2)
    assert np.isnan(share_of_plateau(curve(STEPS, floor, floor=floor), 0.5).level).all()


def test_half_way_to_a_plateau_that_a_choice_of_sign_explains_is_no_onset() -> None:
    """The curve is far above permuted labels, and within what swapped label words reach."""
    swapped = curve(STEPS, [*RISES, 0.9], floor=0.85, null_sd=0.05).null
    knows, chooses = curve(STEPS, [*RISES, 0.9]), replace(curve(STEPS, [*RISES, 0.9]), swapped=swapped)
    assert np.isfinite(onsets(knows)[HALF])
    assert onsets(chooses)[HALF] == onsets(chooses)[SWAPPED] == np.inf
    assert onsets(chooses)[NULL] == onsets(knows)[NULL]


def test_shares_of_the_plateau_are_reached_in_their_order() -> None:
    rising = curve(STEPS, np.linspace(0.5, 0.98, 9))
    crossings = [
        float(isotonic_onset(rising.axis, share_of_plateau(rising, share).margins(rising.values)).log2)
        for share in (0.4, 0.5, 0.6)
    ]
    # E = .42, the median of the last three: 40 % of it is 2.8 intervals of .06 after the first checkpoint
    assert crossings == pytest.approx([1.8, 2.5, 3.2])


def test_doublings_above_count_the_time_between_crossings() -> None:
    axis = log2_steps((1, 2, 4, 8, 16))
    assert doublings_above(axis, np.array([-1.0, 1, 1, -1, -1])) == pytest.approx(2)
    assert doublings_above(axis, np.array([-1.0, 3, -1, -1, 1])) == pytest.approx(0.75 + 0.75 + 0.5)
    assert doublings_above(axis, np.ones(5)) == 4
    assert doublings_above(axis, np.zeros(5)) == 0


def test_noise_between_late_checkpoints_leaves_out_a_steady_rise() -> None:
    assert late_noise(np.linspace(0.5, 0.9, 25)) == pytest.approx(0, abs=1e-12)
    assert late_noise(np.array([0.0, 0.0, 0.8, 0.9, 0.8, 0.9, 0.8])) == pytest.approx(0.1 * np.sqrt(4 / 3.75 / 2))
    assert np.isnan(late_noise(np.array([0.5, 0.9])))
    rng = np.random.default_rng(0)
    noise = [late_noise(rng.normal(0.8, 0.02, 30)) ** 2 for _ in range(4000)]
    assert np.sqrt(np.mean(noise)) == pytest.approx(0.02, rel=0.05)


def test_the_plateau_is_the_median_whatever_the_order_and_nothing_where_a_value_is_missing() -> None:
    rng = np.random.default_rng(0)
    for n_steps in (1, 2, 3, 4, 5, 6, 12):
        values = rng.integers(0, 3, (n_steps, 40, 5)) / 3 + rng.random((n_steps, 40, 5)).round(1)
        values[-1, 0, 0] = np.nan
        expected = np.median(values[-n_plateau(n_steps) :], 0)
        assert np.array_equal(plateau(values), expected, equal_nan=True)
