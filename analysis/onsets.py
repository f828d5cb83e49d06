"""When does each curve emerge: the crossing of a level by its isotonic fit, with an interval, by four criteria."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.reading.groups import GROUP, Schema
from analysis.statistics.bootstrap import replicate
from analysis.statistics.component_choice import B1
from analysis.statistics.criteria import HALF, NULL, Criterion, criteria, prompt_margins, share_of_plateau
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import CURVE, CURVE_SCHEMA, Curve, GroupCurves
from analysis.statistics.mean_curve import MeanCurve, mean_curve
from analysis.statistics.onset import (
    NEVER,
    TOLERANCE,
    bracket,
    first_passage,
    isotonic_onset,
    last_exit,
    onset_interval,
    to_step,
    why_no_number,
)
from analysis.statistics.plateau import doublings_above, late_noise, n_plateau, plateau

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
    "step_before": pl.Int64,
    "step_after": pl.Int64,
    "first_passage": pl.Float64,
    "last_exit": pl.Float64,
    "t40": pl.Float64,
    "t60": pl.Float64,
    "censored": pl.String,
    "never": pl.Float64,
    "before": pl.Float64,
    "doublings_above": pl.Float64,
    "resampled": pl.String,
    "level": pl.Float64,
    "floor": pl.Float64,
    "first": pl.Float64,
    "plateau": pl.Float64,
    "n_plateau": pl.Int64,
    "final": pl.Float64,
    "peak": pl.Float64,
    "peak_step": pl.Int64,
    "drop": pl.Float64,
    "late_noise": pl.Float64,
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
        One row per (model, dtype, control, task, n_shots, curve, centred, variant, n_labelled, criterion): emerges,
        whether the plateau is above the level; step, the first checkpoint at which the isotonic fit of the mean is
        above, and tokens_seen there; t, the fit's crossing, interpolated in log2 of steps, with its 95 % bootstrap
        interval low, high, in steps, never narrower than from step_before to step_after, the two checkpoints around the
        crossing; first_passage and last_exit, where the mean itself is first above, and from where on it is never
        below; t40 and t60: t at 40 and 60 % of the way to the plateau, in rows of `half`. censored: `never`; `falls`
        where the mean is above at some step but its plateau is not (of `half`: above the null band); `before` where the
        fit is above from the first checkpoint on, so that there is no number; else empty. never, before: shares of
        replicates that are so (low is null where the interval reaches before the first checkpoint, high where it
        reaches never, both where there is no crossing and where the interval of the criterion or curve is not known to
        cover). doublings_above: how long the mean is above the level, in doublings; resampled: what the bootstrap
        resamples; level and floor (mean of the null) at the onset, at the last step where there is none; first, final:
        the mean at the first and last checkpoint; plateau, over the last n_plateau checkpoints; peak, the largest mean,
        at peak_step, and drop, from there to the plateau; late_noise: SD between neighbours among the last five
        checkpoints; chance; n_prompts; n_prompts_emerged: prompts whose single curve emerges, each against its own
        level; n_seeds, n_examples, first_step, last_step. Where `half` has no level, what needs one is null.
    """
    for curve in curves.curves:
        if curve.name == B1:
            continue
        mean, prompts = mean_curve(curve, curves.common.steps), prompt_margins(curve)
        by_name = {criterion.name: criterion for criterion in criteria(mean)}
        null_margins = by_name[NULL].margins(mean.values)
        for criterion in by_name.values():
            of_prompts = prompts.get(criterion.name)
            yield {
                **curves.keys(curve),
                "selected_on": curve.selected_on,
                "criterion": criterion.name,
                **_onset_columns(curves, mean, criterion, null_margins),
                **_shape_columns(mean),
                "n_prompts_emerged": None if of_prompts is None else int((of_prompts[-1] > TOLERANCE).sum()),
                **_size_columns(curves, curve),
            }


ONSETS = CurveTable(rows, SCHEMA, [*GROUP, *CURVE, "criterion"])


def _onset_columns(curves: GroupCurves, mean: MeanCurve, criterion: Criterion, null_margins: np.ndarray) -> Row:
    axis, steps = curves.axis, curves.common.steps
    margins = criterion.margins(mean.values)
    onset = isotonic_onset(axis, margins)
    index, around = int(onset.step), bracket(axis, onset)
    replicates = replicate(lambda values: isotonic_onset(axis, criterion.margins(values)).log2, mean.bootstrap)
    low, high = onset_interval(replicates, around) if criterion.has_interval(mean) else (np.inf, np.inf)
    has_level = index >= 0 or criterion.name != HALF
    crosses = index > 0
    return {
        "emerges": index >= 0,
        "step": steps[index] if crosses else None,
        "tokens_seen": curves.tokens_seen[index] if crosses else None,
        "t": to_step(float(onset.log2), steps),
        "low": to_step(low, steps),
        "high": to_step(high, steps),
        "step_before": steps[index - 1] if crosses else None,
        "step_after": steps[index] if crosses else None,
        **(_passages(axis, margins[:-1], steps) if has_level else {}),
        **(_other_shares(mean) if criterion.name == HALF and index >= 0 else {}),
        "censored": why_no_number(index, null_margins if criterion.name == HALF else margins),
        "never": float((replicates == NEVER).mean()),
        "before": float((replicates == -np.inf).mean()),
        "doublings_above": doublings_above(axis, margins[:-1]) if has_level else None,
        "level": float(criterion.level[index]) if has_level else None,
        "floor": float(mean.floor[index]),
    }


def _passages(axis: np.ndarray, margins: np.ndarray, steps: tuple[int, ...]) -> Row:
    return {
        "first_passage": to_step(float(first_passage(axis, margins).log2), steps),
        "last_exit": to_step(float(last_exit(axis, margins).log2), steps),
    }


def _other_shares(mean: MeanCurve) -> Row:
    margins = {f"t{share}": share_of_plateau(mean, share / 100).margins(mean.values) for share in (40, 60)}
    return {name: to_step(float(isotonic_onset(mean.axis, above).log2), mean.steps) for name, above in margins.items()}


def _shape_columns(mean: MeanCurve) -> Row:
    noise, last = late_noise(mean.values), float(plateau(mean.values))
    peak = int(mean.values.argmax())
    return {
        "first": mean.values[0],
        "plateau": last,
        "n_plateau": n_plateau(len(mean.steps)),
        "final": mean.values[-1],
        "peak": mean.values[peak],
        "peak_step": mean.steps[peak],
        "drop": mean.values[peak] - last,
        "late_noise": None if np.isnan(noise) else noise,
    }


def _size_columns(curves: GroupCurves, curve: Curve) -> Row:
    return {
        "resampled": curves.design.resampled,
        "chance": curves.design.chance,
        "n_prompts": int((~np.isnan(curve.values[0])).sum()),
        "n_seeds": curves.design.n_seeds,
        "n_examples": len(curves.common.example_id),
        "first_step": curves.common.steps[0],
        "last_step": curves.common.steps[-1],
    }
