"""Coverage of 95 % intervals: sweeps are simulated from known learning curves and analysed as usual.

The truth of a curve is its mean over all simulated sweeps, since the expectation of T1 or held-out T1 on so many rows
has no formula; so is that of a difference of curves and of a mean over templates. That of an onset or lead is computed
from the true curves. Intervals are those of the tables, made in the same way for curves that have none there
(`NO_INTERVAL`); and, as `bare`, the bootstrap's before the grid widens them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from analysis import bias_or_knowledge
from analysis.leads import over_templates
from analysis.statistics.bootstrap import replicate
from analysis.statistics.component_choice import FULL, NO_INTERVAL
from analysis.statistics.criteria import HALF, above, above_share
from analysis.statistics.curve_accuracies import design_of
from analysis.statistics.curve_table import Row
from analysis.statistics.curves import GroupCurves, component_curves
from analysis.statistics.lead import AREA, Side, area_between, lead, lead_names, side
from analysis.statistics.mean_curve import mean_curve
from analysis.statistics.onset import TOLERANCE, bracket, interval, isotonic_onset, log2_steps, onset_interval
from analysis.statistics.plateau import with_plateau
from tests.learning import STEPS, Design, reader, simulate_both

MEAN = "mean"
RISEN = 0.05
"""The mean of a curve counts where it is this far above its null."""
Ends = tuple[np.ndarray, np.ndarray]
Key = tuple[str, str]
"""A curve and a quantity."""
TEMPLATE_LEADS = (HALF, AREA)
DIFFERENCES = ("gap", "bias", "remaining", "own_bias")
CENTRED = "centred "
"""Before the name of a curve whose label bias is taken off."""


@dataclass
class Tally:
    """What simulated sweeps give, by curve and quantity: means, levels, and the ends of intervals."""

    means: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    floors: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    levels: dict[Key, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[Key, list[Ends]] = field(default_factory=lambda: defaultdict(list))
    centres: dict[Key, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))


def coverage(
    design: Design, curves: Sequence[str], n_sweeps: int, n_replicates: int, *, templates: bool = False
) -> dict[Key, float]:
    """(curve, quantity) -> share of simulated sweeps whose 95 % interval contains the truth.

    `quantity` is `mean` (averaged over the steps where the curve has risen), `onset` or `lead` and a criterion, `bare
    onset` and a criterion, with `templates` `templates` and a criterion: the mean lead over them; and where the design
    has a label bias, `gap`, `bias`, `remaining` and `own_bias` (averaged over steps), and the same with `band`: the
    share of sweeps whose band contains the truth at every step.
    """
    tally = Tally()
    for seed in range(n_sweeps):
        raw, less_bias = simulated_curves(design, seed, n_replicates)
        for before, group in (("", raw), (CENTRED, less_bias)) if design.bias else (("", raw),):
            _add_curves(tally, before, group, curves, templates=templates)
        if design.bias:
            _add_differences(tally, raw, less_bias, curves)
    truth = _truth(tally) | {key: np.mean(values, 0) for key, values in tally.centres.items()}
    return {key: _coverage(pairs, truth[key], band="band" in key[1]) for key, pairs in tally.ends.items()}


def simulated_curves(design: Design, seed: int, n_replicates: int) -> tuple[GroupCurves, GroupCurves]:
    """The curves of one simulated sweep, as they are and less the label bias; the same where there is none."""
    answers, less_bias = simulate_both(design, seed)
    of_sweep = design_of(answers[STEPS[0]], n=n_replicates)
    raw = component_curves(reader(answers), design.common, of_sweep)
    if not design.bias:
        return raw, raw
    return raw, component_curves(reader(less_bias), design.common, of_sweep, centred=True)


def _add_curves(tally: Tally, before: str, group: GroupCurves, curves: Sequence[str], *, templates: bool) -> None:
    by_name = {curve.name: curve for curve in group.curves}
    named = [name for name in dict.fromkeys([FULL, *curves]) if name in by_name]
    whole = {name: replace(mean_curve(by_name[name], STEPS), has_interval=True) for name in named}
    sides = {name: side(name, curve) for name, curve in whole.items()}
    for name, one in sides.items():
        tally.means[before + name].append(one.curve.values)
        tally.floors[before + name].append(one.curve.floor)
        for criterion in one.criteria.values():
            level = with_plateau(one.curve.values) - criterion.margins(one.curve.values)
            tally.levels[before + name, criterion.name].append(level)
        for quantity, pair in _intervals(one, sides[FULL]).items() if name in curves else ():
            tally.ends[before + name, quantity].append(pair)
        if templates and name in curves and name != FULL:
            of_templates = [
                [side(key, mean_curve(by_name[key], STEPS, prompts)) for key in (name, FULL)]
                for prompts in group.design.templates
            ]
            for by in TEMPLATE_LEADS:
                row = over_templates([lead(by, *pair) for pair in of_templates], has_interval=True)
                key = (before + name, f"templates {by}")
                tally.ends[key].append((row["templates_low"], row["templates_high"]))
                tally.centres[key].append(np.array(row["templates_lead"]))


def _add_differences(tally: Tally, raw: GroupCurves, less_bias: GroupCurves, curves: Sequence[str]) -> None:
    for (name, part), values in differences(raw, less_bias, curves).items():
        value, low, high, band_low, band_high = values
        tally.centres[name, part].append(value)
        tally.centres[name, f"{part} band"].append(value)
        tally.ends[name, part].append((low, high))
        tally.ends[name, f"{part} band"].append((band_low, band_high))


def differences(raw: GroupCurves, less_bias: GroupCurves, curves: Sequence[str]) -> dict[Key, np.ndarray]:
    """(curve, part) -> (value and ends of interval and band, step): those of `analysis.bias_or_knowledge`."""
    named = {FULL, *curves} - set(NO_INTERVAL)
    chosen = tuple(curve for curve in raw.curves + less_bias.curves if curve.name in named)
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in bias_or_knowledge.rows(replace(raw, curves=chosen)):
        rows[str(row["curve"])].append(row)
    ends = ("", "_low", "_high", "_band_low", "_band_high")
    return {
        (name, part): np.array([[row.get(part + end, np.nan) for row in of_curve] for end in ends], np.float64)
        for name, of_curve in rows.items()
        for part in DIFFERENCES
    }


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
            if name == AREA or own.criteria[name].has_interval(own.curve):
                found = lead(name, own, full)
                intervals[f"lead {name}"] = _arrays((found.low, found.high))
    return intervals


def _arrays(ends: tuple[float, float]) -> Ends:
    return np.array(ends[0]), np.array(ends[1])


def _truth(tally: Tally) -> dict[Key, np.ndarray]:
    axis, truth = log2_steps(STEPS), {}
    means = {name: np.mean(values, 0) for name, values in tally.means.items()}
    floors = {name: np.mean(values, 0) for name, values in tally.floors.items()}
    for name, mean in means.items():
        full = CENTRED + FULL if name.startswith(CENTRED) else FULL
        truth[name, MEAN] = np.where(mean > floors[name] + RISEN, mean, np.nan)
        truth[name, f"lead {AREA}"] = area_between(axis, mean, means[full])
    for (name, criterion), levels in tally.levels.items():
        margins = above_share(0.5, floors[name], np.zeros(())) if criterion == HALF else above(np.mean(levels, 0))
        onset = isotonic_onset(axis, margins(means[name])).log2
        truth[name, f"onset {criterion}"] = truth[name, f"bare onset {criterion}"] = onset
    for name, criterion in tally.levels:
        full = CENTRED + FULL if name.startswith(CENTRED) else FULL
        truth[name, f"lead {criterion}"] = truth[full, f"onset {criterion}"] - truth[name, f"onset {criterion}"]
    return truth


def _coverage(pairs: Sequence[Ends], truth: np.ndarray, *, band: bool = False) -> float:
    """Share of intervals that contain the truth, among the entries where it is known; a band's at all of them."""
    low, high = (np.stack(ends) for ends in zip(*pairs, strict=True))
    contains = ((low - TOLERANCE <= truth) & (truth <= high + TOLERANCE))[..., ~np.isnan(truth)]
    return float(contains.all(-1).mean() if band else contains.mean())
