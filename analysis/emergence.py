"""When do components solve a task, and when does the full model? Curves over training, their null and their intervals.

T1 is the best component, chosen anew at every step and prompt on the test rows it is scored on; B1 the worst. Both are
optimistic bounds: the best of many guessing components is above chance. So every curve has a null in which its choice
is made again on permuted labels (`analysis.statistics.relabelling`), and T1 is followed by curves chosen elsewhere:

- `Last-T1`, `First-T1`: T1 of each prompt's last step, and of its first step above its null, followed through training;
- `Held-out T1`: chosen on each half of the test rows, scored on the other;
- `Cross-seed T1`: chosen on the other half under the other demonstration seeds, same template: what is left where label
  words are drawn anew for every seed, so that a component which separates the classes points either way by luck;
- `Labelled T1`, `COMP RW`, `Calib+`: chosen or fitted on K labelled training rows.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.reading.answers import GROUP
from analysis.statistics.choosing import NO_INTERVAL, SELECTED_ON
from analysis.statistics.curves import LEVEL, Curve, GroupCurves
from analysis.statistics.one_pass import rows_of
from analysis.statistics.onset import band, interval
from analysis.statistics.resampling import again
from dynamics.results.places import Place

SCHEMA = {
    "model": pl.String,
    "dtype": pl.String,
    "control": pl.String,
    "task": pl.String,
    "n_shots": pl.Int64,
    "step": pl.Int64,
    "tokens_seen": pl.Int64,
    "curve": pl.String,
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


def emergence(results: Place) -> pl.DataFrame:
    """Accuracy of every curve at every step.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, curve, variant, n_labelled): tokens_seen; mean and sd
        over prompts; low, high: 95 % interval of the mean with what `resampled` names drawn again (null where it is
        not known to cover); n_prompts (those that every step has, and the curve), n_prompts_at_step (those that this
        step has), n_seeds, n_examples, chance, selected_on; null_mean, null_q95, null_q99 of the mean with permuted
        labels, and `band`, which permuted curves exceed at ANY step with probability 1 %; swapped_mean, swapped_q99,
        swapped_band: the same with the label words of each seed swapped, where seeds draw their words.
    """
    return pl.DataFrame(rows_of("emergence", results), schema=SCHEMA).sort(
        *GROUP, "curve", "variant", "n_labelled", "step"
    )


def rows(curves: GroupCurves) -> Iterator[dict[str, object]]:
    """One group's rows."""
    return (row for curve in curves.curves for row in _rows(curves, curve))


def _rows(curves: GroupCurves, curve: Curve) -> Iterator[dict[str, object]]:
    shared = {
        **dict(zip(GROUP, curves.asked.group, strict=True)),
        "curve": curve.name,
        "variant": curve.variant,
        "n_labelled": curve.n_labelled,
        "selected_on": SELECTED_ON[curve.name],
        "n_seeds": int(curves.design.seed_of.max()) + 1,
        "n_examples": len(curves.asked.example_id),
        "chance": 1 / curves.design.n_labels,
        "resampled": curves.design.resampled if curve.moves is not None else None,
    }
    columns = {"low": None, "high": None, **_of_null("null", curve.mean_null), **_of_null("swapped", curve.swapped)}
    if curve.moves is not None and curve.name not in NO_INTERVAL:
        columns["low"], columns["high"] = (np.clip(end, 0, 1) for end in interval(again(lambda v: v, curve.drawn)))
    for i, step in enumerate(curves.asked.steps):
        values = curve.values[i][~np.isnan(curve.values[i])]
        yield {
            **shared,
            "step": step,
            "tokens_seen": curves.tokens_seen[i],
            "mean": values.mean() if len(values) else None,
            "sd": values.std(ddof=1) if len(values) > 1 else None,
            "n_prompts": len(values),
            "n_prompts_at_step": curves.asked.prompts_at[step],
            **{name: None if column is None or np.isnan(column[i]) else column[i] for name, column in columns.items()},
        }


def _of_null(name: str, null: np.ndarray | None) -> dict[str, np.ndarray | None]:
    """Columns of a null (step, replicate)."""
    columns: dict[str, np.ndarray | None] = dict.fromkeys(
        [f"{name}_mean", f"{name}_q99", "band" if name == "null" else f"{name}_band"]
    )
    if name == "null":
        columns["null_q95"] = None
    if null is None:
        return columns
    levels = {f"{name}_q95": 0.95, f"{name}_q99": 0.99}
    found = {key: np.quantile(null, level, axis=1) for key, level in levels.items() if key in columns}
    found |= {f"{name}_mean": null.mean(1), "band" if name == "null" else f"{name}_band": band(null, LEVEL)}
    return {**columns, **found}
