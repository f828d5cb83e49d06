"""Coverage of 95 % intervals: sweeps are simulated from known learning curves and analysed as usual.

The truth of a curve is its mean over all simulated sweeps, since the expectation of T1 or held-out T1 on so many rows
has no formula; that of an onset or lead is computed from the true curves.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from analysis.statistics.bootstrap import Statistic, replicate
from analysis.statistics.component_choice import FULL
from analysis.statistics.criteria import HALF, Criterion, above, above_half, criteria
from analysis.statistics.curve_accuracies import design_of
from analysis.statistics.curves import Curve, GroupCurves, component_curves
from analysis.statistics.onset import interval, log2_steps, onset_of
from tests.learning import STEPS, Design, reader, simulate

MEAN = "mean"
RISEN = 0.05
"""The mean of a curve counts where it is this far above chance."""
Ends = tuple[np.ndarray, np.ndarray]


def coverage(design: Design, curves: Sequence[str], n_sweeps: int, n_replicates: int) -> dict[tuple[str, str], float]:
    """(curve, quantity) -> share of simulated sweeps whose 95 % interval contains the truth.

    `quantity` is `mean` (averaged over the steps where the curve has risen), or `onset` or `lead` and a criterion.
    """
    means: dict[str, list[np.ndarray]] = defaultdict(list)
    levels: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    ends: dict[tuple[str, str], list[Ends]] = defaultdict(list)
    for seed in range(n_sweeps):
        answers = simulate(design, seed)
        group = component_curves(reader(answers), design.common, design_of(answers[STEPS[0]], n=n_replicates))
        by_name = {curve.name: curve for curve in group.curves}
        for name in {FULL, *curves}:
            means[name].append(by_name[name].mean)
            for criterion in criteria(group, by_name[name]):
                levels[name, criterion.name].append(criterion.level)
        for name in curves:
            for quantity, pair in _intervals(group, by_name[name], by_name[FULL]).items():
                ends[name, quantity].append(pair)
    truth = _truth(
        {name: np.mean(values, 0) for name, values in means.items()},
        {key: np.mean(values, 0) for key, values in levels.items()},
        1 / design.n_labels,
    )
    return {key: _coverage(pairs, truth[key]) for key, pairs in ends.items()}


def _intervals(group: GroupCurves, curve: Curve, full: Curve) -> dict[str, Ends]:
    intervals = {MEAN: interval(replicate(lambda values: values, curve.bootstrap))}
    full_criteria = {criterion.name: criterion for criterion in criteria(group, full)}
    for criterion in criteria(group, curve):
        onset, full_onset = _onset(group.axis, criterion), _onset(group.axis, full_criteria[criterion.name])
        intervals[f"onset {criterion.name}"] = interval(replicate(onset, curve.bootstrap))
        if curve is not full:
            lead = partial(_lead, onset, full_onset)
            with np.errstate(invalid="ignore"):  # never less never is NaN: not defined
                replicates = replicate(lead, curve.bootstrap, full.bootstrap)
            intervals[f"lead {criterion.name}"] = interval(replicates)
    return intervals


def _lead(onset: Statistic, full_onset: Statistic, values: np.ndarray, full_values: np.ndarray) -> np.ndarray:
    return full_onset(full_values) - onset(values)


def _onset(axis: np.ndarray, criterion: Criterion) -> Statistic:
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


def _coverage(pairs: Sequence[Ends], truth: np.ndarray) -> float:
    """Share of intervals that contain the truth, among the entries where it is known."""
    low, high = (np.stack(ends) for ends in zip(*pairs, strict=True))
    contains = (low <= truth) & (truth <= high)
    return float(contains[..., ~np.isnan(truth)].mean())
