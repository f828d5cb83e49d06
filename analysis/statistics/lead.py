"""Leads: how many doublings of training one curve is ahead of another, by a criterion's onsets or by the area between.

By a criterion, `log2(onset of the later) - log2(onset of the earlier)`: positive where the first curve is earlier.

By area, without a threshold: with each curve's share of its own rise, `(values - first) / (plateau - first)`, first its
value at the first checkpoint, the integral over log2 of steps of one share less the other (trapezoids between
checkpoints). For two curves of one shape, d doublings apart, it is d. Shares are not clipped to [0, 1]: noise below 0
and above 1 cancels on average, as it would not with one side cut off; a peak above the plateau adds to the area.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.statistics.bootstrap import Statistic, Unscaled, difference, unscaled
from analysis.statistics.criteria import HALF, Criterion, criteria
from analysis.statistics.mean_curve import MeanCurve
from analysis.statistics.onset import NEVER, TOLERANCE, bracket, has_crossing, interval, isotonic_onset
from analysis.statistics.plateau import plateau

AREA = "area"
EVERY_SECOND, THE_OTHERS = slice(0, None, 2), slice(1, None, 2)
"""The two half grids."""
NEITHER = "neither emerges"
BEFORE = "{} is above its level before the first checkpoint"
NOT_EMERGED = "{} does not emerge"
NOT_ABOVE_FIRST = "the plateau of {} is not above its first checkpoint"
Criteria = dict[str, Criterion]


@dataclass(frozen=True)
class Side:
    """One of the two curves of a lead, with its criteria, and what messages call it.

    `by_examples` holds what its leads over all other curves have in common, by criterion, once that is computed.
    """

    name: str
    curve: MeanCurve
    criteria: Criteria
    by_examples: dict[str, Unscaled] = field(default_factory=dict, compare=False, repr=False)

    def at(self, some: slice) -> "Side":
        """The same at some of the steps, as if there were no others."""
        return side(self.name, self.curve.at(some))


def side(name: str, curve: MeanCurve) -> Side:
    """A curve and all of its criteria."""
    return Side(name, curve, {criterion.name: criterion for criterion in criteria(curve)})


@dataclass(frozen=True)
class Lead:
    """A lead in doublings.

    Attributes:
        value: NaN where there is none; `reason` says why.
        bound: empty; `at least` or `at most` where one of the onsets is after the last checkpoint, to which the lead is
            then counted; `undefined` where there is none.
        reason: empty where there is a value.
        low, high: 95 % interval, both curves from the same replicates; infinite where it has no end, NaN without one.
        undefined: share of replicates without a lead, left out of the interval; NaN without an interval.
    """

    value: float
    bound: str = ""
    reason: str = ""
    low: float = np.nan
    high: float = np.nan
    undefined: float = np.nan

    @property
    def is_exact(self) -> bool:
        """Whether there is a value, and it is no bound."""
        return not self.bound


def lead_names(own: Side, other: Side) -> list[str]:
    """What a lead of the two can be measured by."""
    return [*(name for name in own.criteria if name in other.criteria), AREA]


def lead(name: str, own: Side, other: Side) -> Lead:
    """The lead of `own` over `other` by a criterion or by area, with its interval."""
    return _area_lead(own, other) if name == AREA else _onset_lead(name, own, other)


def lead_alone(name: str, own: Side, other: Side) -> Lead:
    """The same without an interval; `undefined` where the grid has no such criterion."""
    if name == AREA:
        return _area(own, other)
    both = name in own.criteria and name in other.criteria
    return _between_onsets(name, own, other) if both else _no_lead("no such level on this grid")


def is_grid_limited(whole: Lead, halves: Sequence[Lead]) -> bool | None:
    """Whether the leads of the half grids are further apart than the interval is wide, or one of them has none.

    None where the lead itself has no value or no interval, or is a bound. A single step has no half grids.
    """
    if not whole.is_exact or np.isnan(whole.low):
        return None
    if len(halves) < 2 or not all(half.is_exact for half in halves):
        return True
    return abs(halves[0].value - halves[1].value) > whole.high - whole.low


def share_of_rise(values: np.ndarray) -> np.ndarray:
    """`(values - first) / (plateau - first)`: (step, ...); NaN where the plateau is not above the first checkpoint."""
    rise = plateau(values) - values[0]
    return (values - values[0]) / np.where(rise > TOLERANCE, rise, np.nan)


def area_between(axis: np.ndarray, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The area between the shares of rise of two curves (step, ...), in doublings: (...)."""
    return np.trapezoid(share_of_rise(own) - share_of_rise(other), axis, axis=0)


def _area_lead(own: Side, other: Side) -> Lead:
    found = _area(own, other)
    if not own.curve.has_interval:
        return found
    return _with_interval(found, _replicates(AREA, _area_of, own, other))


def _area_of(side: Side) -> Statistic:
    """The area under each curve's share of its rise, in doublings; NaN for one that has no onset by `half`."""
    margins = side.criteria[HALF].margins

    def statistic(values: np.ndarray) -> np.ndarray:
        area = np.trapezoid(share_of_rise(values), side.curve.axis, axis=0)
        return np.where(has_crossing(margins(values)), area, np.nan)

    return statistic


def _replicates(name: str, statistic_of: Callable[[Side], Statistic], one: Side, other: Side) -> np.ndarray:
    """Replicates of a statistic of one side less that of the other."""
    sides = (one, other)
    statistics = (statistic_of(one), statistic_of(other))
    for side, statistic in zip(sides, statistics, strict=True):
        if name not in side.by_examples:
            side.by_examples[name] = unscaled(statistic, side.curve.bootstrap)
    first, second = (side.by_examples[name] for side in sides)
    return difference(statistics, (one.curve.bootstrap, other.curve.bootstrap), (first, second))


def _area(own: Side, other: Side) -> Lead:
    axis = own.curve.axis
    for side in (own, other):
        onset = isotonic_onset(axis, side.criteria[HALF].margins(side.curve.values)).log2
        if np.isinf(onset):
            return _no_lead((NOT_EMERGED if onset == NEVER else BEFORE).format(side.name))
        if np.isnan(share_of_rise(side.curve.values)).any():
            return _no_lead(NOT_ABOVE_FIRST.format(side.name))
    return Lead(float(area_between(axis, own.curve.values, other.curve.values)))


def _onset_lead(name: str, own: Side, other: Side) -> Lead:
    found = _between_onsets(name, own, other)
    if not own.criteria[name].has_interval(own.curve):
        return found

    def log2_onset(side: Side) -> Statistic:
        return lambda values: isotonic_onset(side.curve.axis, side.criteria[name].margins(values)).log2

    replicates = _replicates(name, log2_onset, other, own)
    return _with_interval(found, replicates, _grid(name, own, other))


def _between_onsets(name: str, own: Side, other: Side) -> Lead:
    axis = own.curve.axis
    own_onset, other_onset = (
        float(isotonic_onset(axis, side.criteria[name].margins(side.curve.values)).log2) for side in (own, other)
    )
    for side, onset in ((own, own_onset), (other, other_onset)):
        if onset == -np.inf:
            return _no_lead(BEFORE.format(side.name))
    if own_onset == other_onset == NEVER:
        return _no_lead(NEITHER)
    bound = "at least" if other_onset == NEVER else "at most" if own_onset == NEVER else ""
    return Lead(float(min(other_onset, axis[-1]) - min(own_onset, axis[-1])), bound)


def _grid(name: str, own: Side, other: Side) -> tuple[float, float] | None:
    """The smallest and largest lead with each onset between its two checkpoints; None where one has no such two."""
    axis = own.curve.axis
    own_bracket, other_bracket = (
        bracket(axis, isotonic_onset(axis, side.criteria[name].margins(side.curve.values))) for side in (own, other)
    )
    return (
        None
        if own_bracket is None or other_bracket is None
        else (other_bracket[0] - own_bracket[1], other_bracket[1] - own_bracket[0])
    )


def _with_interval(found: Lead, replicates: np.ndarray, grid: tuple[float, float] | None = None) -> Lead:
    """The lead with the interval of its replicates, never narrower than the grid allows."""
    undefined = float(np.isnan(replicates).mean())
    if np.isnan(found.value):
        return Lead(np.nan, found.bound, found.reason, undefined=undefined)
    low, high = (float(end) for end in interval(replicates))
    if grid is not None:
        low, high = min(low, grid[0]), max(high, grid[1])
    return Lead(found.value, found.bound, "", low, high, undefined)


def _no_lead(reason: str) -> Lead:
    return Lead(np.nan, "undefined", reason)
