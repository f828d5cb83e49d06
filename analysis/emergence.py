"""When do components solve a task, and when does the full model? Curves over training, their null and their intervals.

T1 is the best component, chosen anew at every step and prompt on the test rows it is scored on; B1 the worst. Both are
optimistic bounds: the best of many guessing components is above chance. So every curve has a null in which its choice
is repeated on permuted labels (`analysis.statistics.replicates`), and beside T1 are curves chosen on other rows:

- `Last-T1`, `First-T1`: T1 of each prompt's last step, and of its first step above its null, followed through training;
- `Held-out T1`: chosen on each half of the test rows, scored on the other;
- `Cross-seed T1`: chosen on the other half under the other demonstration seeds, same template. Where every seed draws
  its own label words, a component that separates the classes points either way by chance, and this curve shows what
  remains;
- `Labelled T1`, `COMP RW`, `Calib+`: chosen or fitted on K labelled training rows.

Every curve but Calib+ is there twice: from logits as they are, and `centred`, with each label's mean logit over the
test rows taken off before the answer, which needs no gold label (`dynamics.label_bias`). Components are chosen again
among the centred answers. Where only a raw curve is late, what it lacks is not knowledge but a corrected label bias.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.reading.groups import GROUP, GROUP_SCHEMA, Schema
from analysis.statistics.bootstrap import replicate
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import CURVE, LEVEL, Curve, GroupCurves
from analysis.statistics.onset import band, interval
from analysis.statistics.plateau import with_plateau

SCHEMA: Schema = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    "tokens_seen": pl.Int64,
    "curve": pl.String,
    "centred": pl.Boolean,
    "variant": pl.String,
    "n_labelled": pl.Int64,
    "mean": pl.Float64,
    "sd": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "resampled": pl.String,
    "n_prompts": pl.Int64,
    "n_prompts_at_step": pl.Int64,
    "n_seeds": pl.Int64,
    "n_examples": pl.Int64,
    "chance": pl.Float64,
    "selected_on": pl.String,
    "null_mean": pl.Float64,
    "null_q95": pl.Float64,
    "null_q99": pl.Float64,
    "band": pl.Float64,
    "swapped_mean": pl.Float64,
    "swapped_q99": pl.Float64,
    "swapped_band": pl.Float64,
}


def rows(curves: GroupCurves) -> Iterator[Row]:
    """Accuracy of every curve at every step.

    Yields:
        One row per (model, dtype, control, task, n_shots, step, curve, centred, variant, n_labelled): tokens_seen; mean
        and sd over prompts; low, high: 95 % bootstrap interval of the mean over what `resampled` names (null where it
        is not known to cover); n_prompts (those that every step has, and the curve), n_prompts_at_step (those that this
        step has), n_seeds, n_examples, chance, selected_on; null_mean, null_q95, null_q99 of the mean with permuted
        labels, and `band`, which permuted curves exceed at ANY step with probability 1 %; swapped_mean, swapped_q99,
        swapped_band: the same with the label words of each seed swapped, where seeds draw their words.
    """
    return (row for curve in curves.curves for row in _curve_rows(curves, curve))


EMERGENCE = CurveTable(rows, SCHEMA, [*GROUP, *CURVE, "step"])


def _curve_rows(curves: GroupCurves, curve: Curve) -> Iterator[Row]:
    shared = {
        **curves.keys(curve),
        "selected_on": curve.selected_on,
        "n_seeds": curves.design.n_seeds,
        "n_examples": len(curves.common.example_id),
        "chance": curves.design.chance,
        "resampled": curves.design.resampled,
    }
    columns = {**_interval_columns(curve), **_null_columns(curve), **_swapped_columns(curve)}
    for i, step in enumerate(curves.common.steps):
        values = curve.values[i][~np.isnan(curve.values[i])]
        yield {
            **shared,
            "step": step,
            "tokens_seen": curves.tokens_seen[i],
            "mean": values.mean() if len(values) else None,
            "sd": values.std(ddof=1) if len(values) > 1 else None,
            "n_prompts": len(values),
            "n_prompts_at_step": curves.common.n_prompts_at[step],
            **{name: None if np.isnan(column[i]) else column[i] for name, column in columns.items()},
        }


def _interval_columns(curve: Curve) -> dict[str, np.ndarray]:
    if not curve.has_interval:
        return {}
    low, high = interval(replicate(lambda values: values, curve.bootstrap))
    return {"low": np.clip(low, 0, 1), "high": np.clip(high, 0, 1)}


def _null_columns(curve: Curve) -> dict[str, np.ndarray]:
    null = curve.mean_null
    q95, q99 = (np.quantile(null, level, axis=1) for level in (0.95, 0.99))
    return {"null_mean": null.mean(1), "null_q95": q95, "null_q99": q99, "band": _band(null)}


def _swapped_columns(curve: Curve) -> dict[str, np.ndarray]:
    swapped = curve.mean_swapped
    if swapped is None:
        return {}
    q99 = np.quantile(swapped, 0.99, axis=1)
    return {"swapped_mean": swapped.mean(1), "swapped_q99": q99, "swapped_band": _band(swapped)}


def _band(null: np.ndarray) -> np.ndarray:
    """(step,), the band that holds for all steps and the plateau."""
    return band(with_plateau(null), LEVEL)[:-1]
