"""The arithmetic of onsets: by hand, at the ends, against scipy's isotonic fit, and the level of a band over steps."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from analysis.statistics.onset import (
    NEVER,
    Onset,
    band,
    bracket,
    first_passage,
    has_crossing,
    interval,
    isotonic_onset,
    last_exit,
    log2_steps,
    onset_interval,
    to_step,
    upper_quantile,
    why_no_number,
)
from analysis.statistics.plateau import with_plateau

STEPS = (0, 1, 2, 4, 8)
AXIS = log2_steps(STEPS)
not_on_the_level = st.floats(-1, 1).filter(lambda x: abs(x) > 1e-6)
margins_of_any_curve = st.lists(not_on_the_level, min_size=5, max_size=5)


def test_step_zero_is_one_doubling_before_the_first() -> None:
    assert AXIS.tolist() == [-1, 0, 1, 2, 3]
    assert log2_steps((0, 1000, 2000)).tolist() == pytest.approx([np.log2(500), np.log2(1000), np.log2(2000)])
    assert log2_steps((0,)).tolist() == [-1]


def test_a_curve_that_wavers_is_first_above_before_it_stays_above() -> None:
    margins = np.array([-1.0, 1, -1, 3, 2])
    first, last = first_passage(AXIS, margins), last_exit(AXIS, margins)
    assert (int(first.step), float(first.log2)) == (1, -0.5)
    assert (int(last.step), float(last.log2)) == (3, 1.25)
    assert to_step(float(last.log2), STEPS) == pytest.approx(2**1.25)


def test_never_and_from_the_first_step_on_are_kept_apart() -> None:
    margins = np.array([[1.0, -1, 1], [1, -1, -1], [1, -1, 1], [1, -1, 1], [1, -1, 0]])
    assert last_exit(AXIS, margins).step.tolist() == [0, -1, -1]
    assert last_exit(AXIS, margins).log2.tolist() == [-np.inf, NEVER, NEVER]
    assert first_passage(AXIS, margins).step.tolist() == [0, -1, 0]
    assert isotonic_onset(AXIS, with_plateau(margins)).log2.tolist()[:2] == [-np.inf, NEVER]
    assert to_step(-np.inf, STEPS) is to_step(NEVER, STEPS) is None


@pytest.mark.parametrize("crossing", [first_passage, last_exit, isotonic_onset])
def test_one_step_is_all_or_nothing(crossing: object) -> None:
    margins = np.array([[0.1, -0.1]])
    margins = with_plateau(margins) if crossing is isotonic_onset else margins
    assert crossing(log2_steps((512,)), margins).log2.tolist() == [-np.inf, NEVER]  # pyright: ignore[reportCallIssue]


@given(margins_of_any_curve)
def test_the_last_exit_is_the_first_step_from_which_on_all_are_above(margins: list[float]) -> None:
    from_here = [i for i in range(5) if all(margin > 0 for margin in margins[i:])]
    onset = last_exit(AXIS, np.array(margins))
    assert int(onset.step) == (from_here[0] if from_here else -1)
    if from_here and from_here[0] > 0:
        assert AXIS[from_here[0] - 1] <= onset.log2 <= AXIS[from_here[0]]


@given(st.lists(margins_of_any_curve, min_size=1, max_size=4))
def test_the_isotonic_onset_is_the_crossing_of_scipys_fit(columns: list[list[float]]) -> None:
    """All curves at once, against one fit after another; the last checkpoint counts at least as the plateau."""
    values = np.array(columns).T
    onsets = isotonic_onset(AXIS, with_plateau(values))
    for j in range(values.shape[1]):
        plateau = float(np.median(values[-2:, j]))
        assert has_crossing(with_plateau(values))[j] == np.isfinite(onsets.log2[j])
        fit = isotonic_regression(np.array([*values[:-1, j], max(values[-1, j], plateau)])).x
        assume(np.abs(fit).min() > 1e-6 and abs(plateau) > 1e-6)
        if plateau < 0:
            assert onsets.log2[j] == NEVER
            continue
        first = int((fit > 0).argmax())
        assert onsets.step[j] == first
        expected = -np.inf if first == 0 else np.interp(0, fit[first - 1 : first + 1], AXIS[first - 1 : first + 1])
        assert onsets.log2[j] == pytest.approx(expected)


@given(margins_of_any_curve)
def test_first_passage_and_last_exit_are_a_bracket(margins: list[float]) -> None:
    """Of the checkpoints around the isotonic crossing; within one interval the interpolation may differ."""
    values = np.array(margins)
    onset = isotonic_onset(AXIS, with_plateau(values))
    if onset.step >= 0:
        assert first_passage(AXIS, values).step <= onset.step
        last = last_exit(AXIS, values)
        assert onset.step <= last.step or last.step < 0


def test_one_dip_of_a_curve_that_has_risen_does_not_move_its_onset_behind_the_dip() -> None:
    risen = np.array([-4.0, -4, 4, 4, 4, 4, 4, 4])
    dips = risen.copy()
    dips[5] = -2
    axis = np.arange(8.0)
    assert isotonic_onset(axis, with_plateau(risen)).step == isotonic_onset(axis, with_plateau(dips)).step == 2
    assert last_exit(axis, dips).step == 6


def test_the_last_checkpoint_alone_does_not_pull_the_end_below_the_level() -> None:
    """Two of the last three are above: the curve has emerged, though the mean of all later margins is below."""
    margins = with_plateau(np.array([-1.0, -1, -1, 0.1, 0.1, -1]))
    assert margins[-1] == pytest.approx(0.1)
    assert isotonic_onset(np.arange(6.0), margins).step == 3


def test_the_two_checkpoints_around_a_crossing() -> None:
    onset = isotonic_onset(AXIS, with_plateau(np.array([-1.0, -1, 1, 1, 1])))
    assert bracket(AXIS, onset) == (0, 1)
    assert bracket(AXIS, Onset(np.array(0), np.array(-np.inf))) is None
    assert bracket(AXIS, Onset(np.array(-1), np.array(NEVER))) is None


def test_an_interval_of_an_onset_is_never_narrower_than_the_grid() -> None:
    same = np.full(100, 1.4)
    assert onset_interval(same, (1, 2)) == (1, 2)
    assert onset_interval(np.array([*same, *[0.5] * 10, *[NEVER] * 10]), (1, 2)) == (0.5, NEVER)
    assert onset_interval(same, None) == (np.inf, np.inf)


def test_why_a_curve_has_no_onset() -> None:
    assert why_no_number(-1, np.array([-1.0, -1, -1])) == "never"
    assert why_no_number(-1, np.array([-1.0, 1, -1])) == "falls"
    assert why_no_number(-1, np.array([-1.0, 1, 1])) == "never"
    assert [why_no_number(step, np.ones(3)) for step in (0, 1)] == ["before", ""]


def test_an_interval_keeps_never_and_ignores_undefined_replicates() -> None:
    replicates = np.array([*np.arange(90.0), *[NEVER] * 10, *[np.nan] * 5])
    assert interval(replicates) == (2, NEVER)
    assert np.isnan(interval(np.full(4, np.nan))).all()


def test_a_band_is_exceeded_anywhere_with_its_probability() -> None:
    """Steps of different spread, neighbours correlated, one that never varies; at the steps or with the plateau."""
    rng = np.random.default_rng(0)
    null = np.cumsum(rng.standard_normal((12, 6000)), 0)
    null[3] = 0.5
    null = with_plateau(null)
    top = band(null[:, :2000], 0.05)
    assert top[3] == 0.5
    exceeds = null[:, 2000:] > top[:, None] + 1e-9
    assert 0.04 < exceeds.any(0).mean() < 0.06
    assert 0 < exceeds[-1].mean() < 0.05


def test_a_level_needs_enough_permutations() -> None:
    with pytest.raises(ValueError, match="needs at least 99 permutations, not 50"):
        upper_quantile(np.zeros(50), 0.01)
