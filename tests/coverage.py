"""Coverage of 95 % intervals: sweeps are simulated from known learning curves and analysed as usual.

The truth of a curve is its mean over all simulated sweeps, since the expectation of T1 or held-out T1 on so many rows
has no formula; that of an onset or lead is computed from the true curves, and that of a mean over templates is its mean
over all sweeps. Intervals are those of the tables, and, as `bare`, the bootstrap's before the grid widens them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from analysis.leads import over_templates
from analysis.statistics.bootstrap import replicate
from analysis.statistics.component_choice import FULL
from analysis.statistics.criteria import HALF, above, above_share
from analysis.statistics.curve_accuracies import design_of
from analysis.statistics.curves import component_curves
from analysis.statistics.lead import AREA, Side, area_between, lead, lead_names, side
from analysis.statistics.mean_curve import mean_curve
from analysis.statistics.onset import bracket, interval, isotonic_onset, log2_steps, onset_interval
from analysis.statistics.plateau import with_plateau
from tests.learning import STEPS, Design, reader, simulate

MEAN = "mean"
RISEN = 0.05
"""The mean of a curve counts where it is this far above chance."""
Ends = tuple[np.ndarray, np.ndarray]
TEMPLATE_LEADS = (HALF, AREA)


def coverage(
    design: Design, curves: Sequence[str], n_sweeps: int, n_replicates: int, *, templates: bool = False
) -> dict[tuple[str, str], float]:
    """(curve, quantity) -> share of simulated sweeps whose 95 % interval contains the truth.

    `quantity` is `mean` (averaged over the steps where the curve has risen), `onset` or `lead` and a criterion,
    `bare onset` and a criterion, or with `templates` `templates` and a criterion: the mean lead over them.
    """
    means: dict[str, list[np.ndarray]] = defaultdict(list)
    floors: dict[str, list[np.ndarray]] = defaultdict(list)
    levels: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    ends: dict[tuple[str, str], list[Ends]] = defaultdict(list)
    centres: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in range(n_sweeps):
        answers = simulate(design, seed)
        group = component_curves(reader(answers), design.common, design_of(answers[STEPS[0]], n=n_replicates))
        by_name = {curve.name: curve for curve in group.curves}
        sides = {name: side(name, mean_curve(by_name[name], STEPS)) for name in {FULL, *curves}}
        for name, one in sides.items():
            means[name].append(one.curve.values)
            floors[name].append(one.curve.floor)
            for criterion in one.criteria.values():
                level = with_plateau(one.curve.values) - criterion.margins(one.curve.values)
                levels[name, criterion.name].append(level)
        for name in curves:
            for quantity, pair in _intervals(sides[name], sides[FULL]).items():
                ends[name, quantity].append(pair)
            if templates and name != FULL:
                of_templates = [
                    [side(key, mean_curve(by_name[key], STEPS, prompts)) for key in (name, FULL)]
                    for prompts in group.design.templates
                ]
                for by in TEMPLATE_LEADS:
                    row = over_templates([lead(by, *pair) for pair in of_templates], has_interval=True)
                    ends[name, f"templates {by}"].append((row["templates_low"], row["templates_high"]))
                    centres[name, f"templates {by}"].append(row["templates_lead"])
    truth = _truth(
        {name: np.mean(values, 0) for name, values in means.items()},
        {name: np.mean(values, 0) for name, values in floors.items()},
        {key: np.mean(values, 0) for key, values in levels.items()},
        1 / design.n_labels,
    )
    truth |= {key: np.array(np.mean(values)) for key, values in centres.items()}
    return {key: _coverage(pairs, truth[key]) for key, pairs in ends.items()}


def _intervals(own: Side, full: Side) -> dict[str, Ends]:
    axis, of_mean = own.curve.axis, own.curve.bootstrap
    intervals = {MEAN: interval(replicate(lambda values: values, of_mean))}
    for name, criterion in own.criteria.items():
        margins = criterion.margins
        replicates = replicate(lambda values, margins=margins: isotonic_onset(axis, margins(values)).log2, of_mean)
        around = bracket(axis, isotonic_onset(axis, margins(own.curve.values)))
        intervals[f"bare onset {name}"] = interval(replicates)
        intervals[f"onset {name}"] = _arrays(onset_interval(replicates, around))
    if own is not full:
        for name in lead_names(own, full):
            if own.curve.has_interval and (name == AREA or own.criteria[name].has_interval(own.curve)):
                found = lead(name, own, full)
                intervals[f"lead {name}"] = _arrays((found.low, found.high))
    return intervals


def _arrays(ends: tuple[float, float]) -> Ends:
    return np.array(ends[0]), np.array(ends[1])


def _truth(
    means: Mapping[str, np.ndarray],
    floors: Mapping[str, np.ndarray],
    levels: Mapping[tuple[str, str], np.ndarray],
    chance: float,
) -> dict[tuple[str, str], np.ndarray]:
    axis, truth = log2_steps(STEPS), {}
    for name, mean in means.items():
        truth[name, MEAN] = np.where(mean > chance + RISEN, mean, np.nan)
        truth[name, f"lead {AREA}"] = area_between(axis, mean, means[FULL])
    for (name, criterion), level in levels.items():
        margins = above_share(0.5, floors[name], np.zeros(())) if criterion == HALF else above(level)
        onset = isotonic_onset(axis, margins(means[name])).log2
        truth[name, f"onset {criterion}"] = truth[name, f"bare onset {criterion}"] = onset
    for name, criterion in levels:
        truth[name, f"lead {criterion}"] = truth[FULL, f"onset {criterion}"] - truth[name, f"onset {criterion}"]
    return truth


def _coverage(pairs: Sequence[Ends], truth: np.ndarray) -> float:
    """Share of intervals that contain the truth, among the entries where it is known."""
    low, high = (np.stack(ends) for ends in zip(*pairs, strict=True))
    contains = (low <= truth) & (truth <= high)
    return float(contains[..., ~np.isnan(truth)].mean())
