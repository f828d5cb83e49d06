"""When does each curve emerge: the step from which it stays above a level, with an interval, by four criteria."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.reading.groups import GROUP, Schema
from analysis.statistics.bootstrap import replicate
from analysis.statistics.component_choice import B1
from analysis.statistics.criteria import Criterion, criteria
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import CURVE, CURVE_SCHEMA, Curve, GroupCurves
from analysis.statistics.onset import NEVER, censoring, interval, onset_of, to_step

SCHEMA: Schema = {
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


def rows(curves: GroupCurves) -> Iterator[Row]:
    """Onset of every curve but B1 by every criterion of `analysis.statistics.criteria`.

    Yields:
        One row per (model, dtype, control, task, n_shots, curve, centred, variant, n_labelled,
        criterion): emerges; step (the
        first checkpoint from which on the mean stays above) and tokens_seen there; t (the crossing, interpolated in
        log2 of steps) with its 95 % bootstrap interval low, high, in steps; censored (`never`, or `before` where the
        first checkpoint is already above; empty otherwise); never, before: shares of replicates that are so (low is
        null where the interval reaches before the first checkpoint, high where it reaches never, both where the
        interval of the criterion or curve is not known to cover); resampled: what the bootstrap resamples; level at
        the onset (at the last step where there is none); first, final: the mean at the first and last checkpoint;
        chance; n_prompts; n_prompts_emerged: prompts whose single curve emerges, each against its own level; n_seeds,
        n_examples, first_step, last_step.
    """
    for curve in curves.curves:
        if curve.name != B1:
            yield from (_row(curves, curve, criterion) for criterion in criteria(curves, curve))


ONSETS = CurveTable(rows, SCHEMA, [*GROUP, *CURVE, "criterion"])


def _row(curves: GroupCurves, curve: Curve, criterion: Criterion) -> Row:
    return {
        **curves.keys(curve),
        "selected_on": curve.selected_on,
        "criterion": criterion.name,
        **_onset_columns(curves, curve, criterion),
        "resampled": curves.design.resampled,
        "first": curve.mean[0],
        "final": curve.mean[-1],
        "chance": curves.design.chance,
        "n_prompts": int((~np.isnan(curve.values[0])).sum()),
        "n_seeds": curves.design.n_seeds,
        "n_examples": len(curves.common.example_id),
        "first_step": curves.common.steps[0],
        "last_step": curves.common.steps[-1],
    }


def _onset_columns(curves: GroupCurves, curve: Curve, criterion: Criterion) -> Row:
    axis, steps = curves.axis, curves.common.steps
    onset = onset_of(axis, criterion.margins(curve.mean))
    replicates = replicate(lambda values: onset_of(axis, criterion.margins(values)).log2, curve.bootstrap)
    low, high = interval(replicates) if criterion.has_interval(curve) else (np.inf, np.inf)
    prompts = None if criterion.prompts is None else onset_of(axis, np.nan_to_num(criterion.prompts, nan=-1))
    index = int(onset.step)
    return {
        "emerges": index >= 0,
        "step": steps[index] if index >= 0 else None,
        "tokens_seen": curves.tokens_seen[index] if index >= 0 else None,
        "t": to_step(float(onset.log2), steps),
        "low": to_step(float(low), steps),
        "high": to_step(float(high), steps),
        "censored": censoring(index),
        "never": float((replicates == NEVER).mean()),
        "before": float((replicates == -np.inf).mean()),
        "level": float(criterion.level[index]),
        "n_prompts_emerged": None if prompts is None else int((prompts.step >= 0).sum()),
    }
