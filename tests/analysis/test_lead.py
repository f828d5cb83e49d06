"""Leads by area and by onsets: of planted curves, without numbers where there are none, and on half grids."""

import numpy as np
import pytest
from scipy import stats

from analysis.leads import over_templates
from analysis.statistics.criteria import HALF
from analysis.statistics.lead import (
    AREA,
    BEFORE,
    EVERY_SECOND,
    NEITHER,
    NOT_EMERGED,
    THE_OTHERS,
    Lead,
    Side,
    area_between,
    is_grid_limited,
    lead,
    lead_alone,
    share_of_rise,
    side,
)
from analysis.statistics.onset import log2_steps
from tests.mean_curves import curve

STEPS = (0, *(2**i for i in range(12)))
AXIS = log2_steps(STEPS)


def rise(at: float, low: float = 0.5, high: float = 0.9) -> np.ndarray:
    """A logistic rise, half way at `at` in log2 of steps."""
    return low + (high - low) / (1 + np.exp(-2 * (AXIS - at)))


def planted(values: np.ndarray, name: str = "the curve", **options: float) -> Side:
    return side(name, curve(STEPS, values, **options))


def full(values: np.ndarray, **options: float) -> Side:
    return planted(values, "the full model", **options)


def halves(name: str, own: Side, other: Side) -> list[Lead]:
    return [lead_alone(name, own.at(some), other.at(some)) for some in (EVERY_SECOND, THE_OTHERS)]


@pytest.mark.parametrize("doublings", [-1.5, 0, 0.3, 2])
def test_the_area_between_shifted_curves_is_their_shift_whatever_their_heights(doublings: float) -> None:
    late, early = rise(5, 0.25, 0.95), rise(5 - doublings, 0.6, 0.8)
    found = lead(AREA, planted(early, floor=0.55), full(late, floor=0.25))
    assert found.value == pytest.approx(doublings, abs=0.01)
    assert (found.low, found.high) == pytest.approx((found.value, found.value))
    assert lead(HALF, planted(early, floor=0.6), full(late, floor=0.25)).value == pytest.approx(doublings, abs=0.1)


def test_a_share_of_rise_goes_from_the_first_checkpoint_to_the_plateau() -> None:
    values = np.array([0.5, 0.4, 0.7, 1.0, 0.9, 0.9, 0.9])
    np.testing.assert_allclose(share_of_rise(values), [0, -0.25, 0.5, 1.25, 1, 1, 1])
    assert np.isnan(share_of_rise(np.full(7, 0.5))).all()


def test_noise_around_both_ends_cancels_in_the_area() -> None:
    """It would not if shares were cut off at 0 and 1: the noisier curve would seem earlier."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, (len(STEPS), 3000))
    noise[0] = 0
    areas = area_between(AXIS, rise(6)[:, None] + noise, rise(6)[:, None])
    cut = np.clip(share_of_rise(rise(6)[:, None] + noise), 0, 1) - np.clip(share_of_rise(rise(6)), 0, 1)[:, None]
    error = areas.std() / np.sqrt(areas.size)
    assert abs(areas.mean()) < 4 * error + 0.01
    assert abs(np.trapezoid(cut, AXIS, axis=0).mean()) > abs(areas.mean()) + 0.02


def test_the_interval_of_the_area_is_that_of_the_replicates() -> None:
    found = lead(AREA, planted(rise(5), sd=0.01), full(rise(6), sd=0.01, seed=1))
    assert found.low < 1 < found.high
    assert 0.05 < found.high - found.low < 1
    assert found.undefined == 0
    alone = lead(AREA, planted(rise(5), sd=0.01, has_interval=False), full(rise(6)))
    assert np.isnan([alone.low, alone.high, alone.undefined]).all()


def test_an_interval_by_onsets_is_never_narrower_than_the_grid() -> None:
    """Without any noise: half way between steps 16 and 32 and between 64 and 128, so the lead may be 1 to 3."""
    found = lead(HALF, planted(rise(4.5)), full(rise(6.5)))
    assert found.value == pytest.approx(2, abs=0.1)
    assert (found.low, found.high) == pytest.approx((1, 3))


@pytest.mark.parametrize("by", [HALF, AREA])
def test_there_is_no_number_before_the_first_checkpoint(by: str) -> None:
    risen = np.full(len(STEPS), 0.9)
    found = lead(by, planted(risen, sd=0.01), full(rise(6)))
    assert np.isnan([found.value, found.low, found.high]).all()
    assert (found.bound, found.reason) == ("undefined", BEFORE.format("the curve"))
    assert lead(by, planted(rise(6)), full(risen)).reason == BEFORE.format("the full model")


def test_a_full_model_that_never_emerges_leaves_a_bound_and_no_area() -> None:
    guesses = np.full(len(STEPS), 0.5)
    found = lead(HALF, planted(rise(6)), full(guesses))
    assert (found.bound, found.value) == ("at least", pytest.approx(11 - 6, abs=0.1))
    assert lead(HALF, planted(guesses), full(rise(6))).bound == "at most"
    assert lead(HALF, planted(guesses), full(guesses)).reason == NEITHER
    assert lead(AREA, planted(rise(6)), full(guesses)).reason == NOT_EMERGED.format("the full model")


def test_a_lead_that_hangs_on_one_checkpoint_is_grid_limited() -> None:
    """A dip at one checkpoint of the rise, as that checkpoint is in one of the half grids alone."""
    dips = rise(4)
    dips[7] = 0.55
    own, other = planted(dips, sd=0.002), full(rise(7), sd=0.002, seed=1)
    whole, smooth = lead(AREA, own, other), lead(AREA, planted(rise(4), sd=0.02), full(rise(7), sd=0.02, seed=1))
    assert abs(np.subtract(*(half.value for half in halves(AREA, own, other)))) > whole.high - whole.low
    assert is_grid_limited(whole, halves(AREA, own, other)) is True
    assert is_grid_limited(smooth, halves(AREA, planted(rise(4)), full(rise(7)))) is False


def test_half_grids_without_a_lead_flag_it_and_no_interval_leaves_it_open() -> None:
    exact, none = Lead(1, low=0, high=2), Lead(np.nan, "undefined", NEITHER)
    assert is_grid_limited(exact, [exact, none]) is True
    assert is_grid_limited(exact, []) is True
    assert is_grid_limited(Lead(1), [exact, exact]) is None
    assert is_grid_limited(Lead(1, "at least", low=0, high=np.inf), [exact, exact]) is None


def test_templates_as_random_have_students_t() -> None:
    row = over_templates([Lead(value) for value in (0.1, 0.5, 0.9)], has_interval=True)
    expected = stats.t.interval(0.95, 2, 0.5, 0.4 / np.sqrt(3))
    assert (row["templates_low"], row["templates_high"]) == pytest.approx(expected)
    assert (row["templates_lead"], row["templates_reason"]) == (pytest.approx(0.5), "")


@pytest.mark.parametrize(
    ("leads", "has_interval", "reason"),
    [
        ([Lead(1), Lead(2)], True, "an interval over templates needs 3; there are 2"),
        ([Lead(1), Lead(2), Lead(3, "at least")], True, "1 of 3 templates have no lead, or only a bound"),
        ([Lead(1), Lead(2), Lead(3)], False, "intervals of this curve or criterion are not known to cover"),
    ],
)
def test_templates_without_an_interval_say_why(leads: list[Lead], has_interval: bool, reason: str) -> None:
    assert over_templates(leads, has_interval=has_interval) == {"templates_reason": reason}
