"""The arithmetic of onsets: by hand, at the ends, and the level of a band over steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics.onset import NEVER, band, interval, log2_steps, onset_of, to_step, upper_quantile

STEPS = (0, 1, 2, 4, 8)
AXIS = log2_steps(STEPS)


def test_step_zero_is_one_doubling_before_the_first() -> None:
    assert AXIS.tolist() == [-1, 0, 1, 2, 3]
    assert log2_steps((0, 1000, 2000)).tolist() == pytest.approx([np.log2(500), np.log2(1000), np.log2(2000)])
    assert log2_steps((0,)).tolist() == [-1]


def test_the_crossing_lies_between_the_last_step_below_and_the_first_above() -> None:
    onset = onset_of(AXIS, np.array([-1.0, 1, -1, 3, 2]))
    assert (int(onset.step), float(onset.log2)) == (3, 1.25)
    assert to_step(float(onset.log2), STEPS) == pytest.approx(2**1.25)


def test_never_and_from_the_first_step_on_are_kept_apart() -> None:
    onset = onset_of(AXIS, np.array([[1.0, -1], [1, 1], [1, 1], [1, 1], [1, 0]]))
    assert onset.step.tolist() == [0, -1]
    assert onset.log2.tolist() == [-np.inf, NEVER]
    assert to_step(-np.inf, STEPS) is to_step(NEVER, STEPS) is None


def test_one_step_is_all_or_nothing() -> None:
    assert onset_of(log2_steps((512,)), np.array([[0.1, -0.1]])).log2.tolist() == [-np.inf, NEVER]


@given(st.lists(st.floats(-1, 1).filter(lambda x: abs(x) > 1e-6), min_size=5, max_size=5))
def test_the_onset_is_the_first_step_from_which_on_all_are_above(margins: list[float]) -> None:
    from_here = [i for i in range(5) if all(margin > 0 for margin in margins[i:])]
    onset = onset_of(AXIS, np.array(margins))
    assert int(onset.step) == (from_here[0] if from_here else -1)
    if from_here and from_here[0] > 0:
        assert AXIS[from_here[0] - 1] <= onset.log2 <= AXIS[from_here[0]]


def test_an_interval_keeps_never_and_ignores_undefined_replicates() -> None:
    replicates = np.array([*np.arange(90.0), *[NEVER] * 10, *[np.nan] * 5])
    assert interval(replicates) == (2, NEVER)
    assert np.isnan(interval(np.full(4, np.nan))).all()


def test_a_band_is_exceeded_anywhere_with_its_probability() -> None:
    """Steps of different spread, neighbours correlated, one that never varies."""
    rng = np.random.default_rng(0)
    null = np.cumsum(rng.standard_normal((12, 6000)), 0)
    null[3] = 0.5
    top = band(null[:, :2000], 0.05)
    assert top[3] == 0.5
    share = (null[:, 2000:] > top[:, None] + 1e-9).any(0).mean()
    assert 0.04 < share < 0.06


def test_a_level_needs_enough_permutations() -> None:
    with pytest.raises(ValueError, match="needs at least 99 permutations, not 50"):
        upper_quantile(np.zeros(50), 0.01)
