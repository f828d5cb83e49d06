"""Is the grid of checkpoints fine enough? Onsets and leads by area from every 2nd, 3rd, 4th ... checkpoint alone.

The checkpoints at positions `offset, offset + k, offset + 2k, ...` are a grid of its own, with its own first checkpoint
and plateau; k has k offsets. How far t50 and lead move between the offsets of k is what a grid k times as coarse leaves
to chance. What a finer grid would change cannot be measured; but where half of the checkpoints give the same as all of
them, beside the interval, more checkpoints are not what is lacking.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from analysis.reading.groups import GROUP, Schema
from analysis.statistics.component_choice import B1, FULL
from analysis.statistics.criteria import HALF, share_of_plateau
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import CURVE, CURVE_SCHEMA, GroupCurves
from analysis.statistics.lead import AREA, Side, lead_alone
from analysis.statistics.mean_curve import MeanCurve, mean_curve
from analysis.statistics.onset import isotonic_onset, to_step

LEAST_CHECKPOINTS = 4
"""On average over the offsets of a thinned grid: with fewer, the plateau is the last checkpoint alone."""
OVER_OFFSETS = ("min", "median", "max")
SCHEMA: Schema = {
    **CURVE_SCHEMA,
    "every": pl.Int64,
    "n_checkpoints": pl.Int64,
    "doublings_between": pl.Float64,
    "n_offsets": pl.Int64,
    **{f"t50_{name}": pl.Float64 for name in OVER_OFFSETS},
    "t50_range": pl.Float64,
    "n_without_t50": pl.Int64,
    **{f"lead_{name}": pl.Float64 for name in OVER_OFFSETS},
    "lead_range": pl.Float64,
    "n_without_lead": pl.Int64,
}


def rows(curves: GroupCurves) -> Iterator[Row]:
    """t50 of every curve but B1, and its lead by area over Full in the same form, on thinned grids.

    Yields:
        One row per (model, dtype, control, task, n_shots, curve, centred, variant, n_labelled, every): n_checkpoints of
        the smallest grid of every `every`-th checkpoint; doublings_between, the mean distance of its neighbours, in
        doublings of training; n_offsets, the number of such grids (of `every` 1 one, with all checkpoints); over these,
        t50_min, t50_median, t50_max, in steps, and t50_range, in doublings from the least to the largest;
        n_without_t50, the grids on which the curve does not emerge or is half way before the first checkpoint;
        lead_min, lead_median, lead_max, lead_range of the lead by area, in doublings, and n_without_lead, the grids
        without one (all null for Full). Grids without a value are left out of the least, the median and the largest,
        which are null where no grid has one.
    """
    steps = curves.common.steps
    fulls = {curve.centred: mean_curve(curve, steps) for curve in curves.curves if curve.name == FULL}
    for curve in curves.curves:
        if curve.name == B1:
            continue
        mean = mean_curve(curve, steps)
        full = None if curve.name == FULL else fulls[curve.centred]
        for every in thinnings(len(steps)):
            yield {**curves.keys(curve), **thinned(mean, full, every)}


GRID_THINNING = CurveTable(rows, SCHEMA, [*GROUP, *CURVE, "every"])


def thinnings(n_steps: int) -> range:
    """k = 1, 2, ...: as long as grids of every k-th checkpoint have `LEAST_CHECKPOINTS` on average; 1 at least."""
    return range(1, max(1, n_steps // LEAST_CHECKPOINTS) + 1)


def thinned(own: MeanCurve, full: MeanCurve | None, every: int) -> Row:
    """The columns of one curve on all grids of every `every`-th checkpoint.

    Args:
        full: the curve that it leads or trails; None where there is none to compare with.
    """
    grids = [slice(offset, None, every) for offset in range(every)]
    sides = [_side("the curve", own.at(grid)) for grid in grids]
    onsets = np.array([_log2_onset(side) for side in sides])
    columns: Row = {
        "every": every,
        "n_checkpoints": min(len(side.curve.steps) for side in sides),
        "doublings_between": float(np.diff(own.axis[::every]).mean()) if len(own.steps) > every else None,
        "n_offsets": every,
        **_over_offsets("t50", onsets, own.steps),
    }
    if full is not None:
        fulls = [_side("the full model", full.at(grid)) for grid in grids]
        leads = [lead_alone(AREA, side, other).value for side, other in zip(sides, fulls, strict=True)]
        columns |= _over_offsets("lead", np.array(leads), None)
    return columns


def _side(name: str, curve: MeanCurve) -> Side:
    """A curve with the criterion of t50 alone, which a lead by area needs to tell whether the curve emerges."""
    return Side(name, curve, {HALF: share_of_plateau(curve, 0.5)})


def _log2_onset(side: Side) -> float:
    onset = float(isotonic_onset(side.curve.axis, side.criteria[HALF].margins(side.curve.values)).log2)
    return onset if np.isfinite(onset) else np.nan


def _over_offsets(name: str, values: np.ndarray, steps: Sequence[int] | None) -> Row:
    """Least, median and largest of the values that there are, as steps where `steps` is given; how many there are not.

    The range is in doublings either way.
    """
    present = values[~np.isnan(values)]
    columns: Row = {f"n_without_{name}": len(values) - len(present)}
    if len(present):
        found = {"min": present.min(), "median": np.median(present), "max": present.max()}
        columns |= {f"{name}_{key}": to_step(value, steps) if steps else float(value) for key, value in found.items()}
        columns[f"{name}_range"] = float(present.max() - present.min())
    return columns
