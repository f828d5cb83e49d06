"""When does each curve emerge: the step from which it stays above a level, with an interval, by four criteria."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.reading.answers import CURVE_SCHEMA, GROUP
from analysis.statistics.choosing import B1, NO_INTERVAL, SELECTED_ON
from analysis.statistics.criteria import COVERED, Criterion, criteria
from analysis.statistics.curves import Curve, GroupCurves
from analysis.statistics.one_pass import rows_of
from analysis.statistics.onset import NEVER, interval, onset_of, to_step
from analysis.statistics.resampling import again
from dynamics.results.places import Place

SCHEMA = {
    **CURVE_SCHEMA,
    "selected_on": pl.String,
    "criterion": pl.String,
    "emerges": pl.Boolean,
    "step": pl.Int64,
    "tokens_seen": pl.Int64,
    "t": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "censored": pl.String,
    "never": pl.Float64,
    "before": pl.Float64,
    "resampled": pl.String,
    "level": pl.Float64,
    "first": pl.Float64,
    "final": pl.Float64,
    "chance": pl.Float64,
    "n_prompts": pl.Int64,
    "n_prompts_emerged": pl.Int64,
    "n_seeds": pl.Int64,
    "n_examples": pl.Int64,
    "first_step": pl.Int64,
    "last_step": pl.Int64,
}


def onsets(results: Place) -> pl.DataFrame:
    """Onset of every curve but B1 by every criterion of `analysis.statistics.criteria`.

    Returns:
        One row per (model, dtype, control, task, n_shots, curve, variant, n_labelled, criterion): emerges; step (the
        first checkpoint from which on the mean stays above) and tokens_seen there; t (the crossing, interpolated in
        log2 of steps) with its 95 % interval low, high, in steps; censored (`never`, or `before` where the first
        checkpoint is already above; empty otherwise); never, before: shares of replicates of which that is so (low is
        null where the interval reaches before the first checkpoint, high where it reaches never, both for a criterion
        or curve whose interval is not known to cover); resampled: what is
        drawn again in the replicates; level at the onset (at the last step where there is none); first, final: the
        mean at the first and last checkpoint; chance; n_prompts; n_prompts_emerged: prompts that emerge on their own,
        each against its own level; n_seeds, n_examples, first_step, last_step.
    """
    return pl.DataFrame(rows_of("onsets", results), schema=SCHEMA).sort(
        *GROUP, "curve", "variant", "n_labelled", "criterion"
    )


def rows(curves: GroupCurves) -> Iterator[dict[str, object]]:
    """One group's rows."""
    return (row for curve in curves.curves if curve.name != B1 for row in _rows(curves, curve))


def _rows(curves: GroupCurves, curve: Curve) -> Iterator[dict[str, object]]:
    steps = curves.asked.steps
    for criterion in criteria(curves, curve):
        yield {
            **dict(zip(GROUP, curves.asked.group, strict=True)),
            "curve": curve.name,
            "variant": curve.variant,
            "n_labelled": curve.n_labelled,
            "selected_on": SELECTED_ON[curve.name],
            "criterion": criterion.name,
            **_when(curves, curve, criterion),
            "resampled": curves.design.resampled,
            "first": curve.mean[0],
            "final": curve.mean[-1],
            "chance": 1 / curves.design.n_labels,
            "n_prompts": int((~np.isnan(curve.values[0])).sum()),
            "n_seeds": int(curves.design.seed_of.max()) + 1,
            "n_examples": len(curves.asked.example_id),
            "first_step": steps[0],
            "last_step": steps[-1],
        }


def _when(curves: GroupCurves, curve: Curve, criterion: Criterion) -> dict[str, object]:
    """The columns that say when, of one criterion."""
    axis, steps = curves.axis, curves.asked.steps
    found = onset_of(axis, criterion.margins(curve.mean))
    replicates = again(lambda values: onset_of(axis, criterion.margins(values)).log2, curve.drawn)
    index = int(found.step)
    claimed = criterion.name in COVERED and curve.name not in NO_INTERVAL
    low, high = interval(replicates) if claimed else (np.inf, np.inf)
    prompts = None if criterion.prompts is None else onset_of(axis, np.nan_to_num(criterion.prompts, nan=-1))
    return {
        "emerges": index >= 0,
        "step": steps[index] if index >= 0 else None,
        "tokens_seen": curves.tokens_seen[index] if index >= 0 else None,
        "t": to_step(float(found.log2), steps),
        "low": to_step(float(low), steps),
        "high": to_step(float(high), steps),
        "censored": "never" if index < 0 else "before" if index == 0 else "",
        "never": float((replicates == NEVER).mean()),
        "before": float((replicates == -np.inf).mean()),
        "level": float(criterion.level[index]),
        "n_prompts_emerged": None if prompts is None else int((prompts.step >= 0).sum()),
    }
