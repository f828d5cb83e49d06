"""How often do 95 % intervals hold the truth? Sweeps are simulated from known learning curves and analysed as usual.

The truth of a curve is its mean over all simulated sweeps, since what T1 or held-out T1 is on so many rows has no
formula; that of an onset or lead is what is read off the true curves.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from analysis.statistics.choosing import FULL
from analysis.statistics.criteria import HALF, Criterion, above, above_half, criteria
from analysis.statistics.curves import Curve, GroupCurves, curves_of
from analysis.statistics.onset import interval, log2_steps, onset_of
from analysis.statistics.resampling import again
from analysis.statistics.tally import design_of
from tests.learning import STEPS, Design, draw, reading

MEAN = "mean"
RISEN = 0.05
"""A curve's mean is looked at where it is this far above chance."""
Ends = tuple[np.ndarray, np.ndarray]


def coverage(design: Design, curves: Sequence[str], n_sweeps: int, n_replicates: int) -> dict[tuple[str, str], float]:
    """(curve, what) -> share of simulated sweeps whose 95 % interval holds the truth.

    `what` is `mean` (averaged over the steps where the curve has risen), or `onset` or `lead` and a criterion.
    """
    means: dict[str, list[np.ndarray]] = defaultdict(list)
    levels: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    ends: dict[tuple[str, str], list[Ends]] = defaultdict(list)
    for seed in range(n_sweeps):
        found = draw(design, seed)
        group = curves_of(reading(found), design.asked, design_of(found[STEPS[0]], n=n_replicates))
        by_name = {curve.name: curve for curve in group.curves}
        for name in {FULL, *curves}:
            means[name].append(by_name[name].mean)
            for criterion in criteria(group, by_name[name]):
                levels[name, criterion.name].append(criterion.level)
        for name in curves:
            for what, pair in _intervals(group, by_name[name], by_name[FULL]).items():
                ends[name, what].append(pair)
    truth = _truth(
        {name: np.mean(values, 0) for name, values in means.items()},
        {key: np.mean(values, 0) for key, values in levels.items()},
        1 / design.n_labels,
    )
    return {key: _held(pairs, truth[key]) for key, pairs in ends.items()}


def _intervals(group: GroupCurves, curve: Curve, full: Curve) -> dict[str, Ends]:
    found = {MEAN: interval(again(lambda values: values, curve.drawn))}
    of_full = {criterion.name: criterion for criterion in criteria(group, full)}
    for criterion in criteria(group, curve):
        found[f"onset {criterion.name}"] = interval(again(_onset(group.axis, criterion), curve.drawn))
        if curve is not full:
            own, other = _onset(group.axis, criterion), _onset(group.axis, of_full[criterion.name])
            with np.errstate(invalid="ignore"):
                lead = again(lambda a, b, own=own, other=other: other(b) - own(a), curve.drawn, full.drawn)
            found[f"lead {criterion.name}"] = interval(lead)
    return found


def _onset(axis: np.ndarray, criterion: Criterion):
    return lambda values: onset_of(axis, criterion.margins(values)).log2


def _truth(
    means: Mapping[str, np.ndarray], levels: Mapping[tuple[str, str], np.ndarray], chance: float
) -> dict[tuple[str, str], np.ndarray]:
    truth: dict[tuple[str, str], np.ndarray] = {}
    for name, mean in means.items():
        truth[name, MEAN] = np.where(mean > chance + RISEN, mean, np.nan)
    for (name, criterion), level in levels.items():
        half = criterion == HALF
        margins = above_half(means[name].copy(), chance, 0) if half else above(level)(means[name])
        truth[name, f"onset {criterion}"] = onset_of(log2_steps(STEPS), margins).log2
    for name, criterion in levels:
        truth[name, f"lead {criterion}"] = truth[FULL, f"onset {criterion}"] - truth[name, f"onset {criterion}"]
    return truth


def _held(pairs: Sequence[Ends], truth: np.ndarray) -> float:
    """Share of intervals that hold the truth, among the entries where it is known."""
    low, high = (np.stack(ends) for ends in zip(*pairs, strict=True))
    held = (low <= truth) & (truth <= high)
    return float(held[..., ~np.isnan(truth)].mean())
