"""What heads attend to and write, over training: which heads pass published thresholds, and since when.

Scores are those of the table `mechanisms` (`dynamics.mechanisms` has formulae and sources). Those of repeated random
tokens and of weights are one number per head and checkpoint; those of prompts are means over prompts, whose spread over
demonstration seeds is what an interval contains. All prompts of a task share their test rows.

The onset of a head's score is where the isotonic fit of its curve is half way from its first value to its plateau, as
for accuracies (`analysis.onsets`), rising or falling. Where a threshold is published, `passes` says whether the plateau
is above it.
"""

import numpy as np
import polars as pl

from analysis.reading.accuracies import method_scores
from analysis.reading.groups import GROUP
from analysis.reading.result_tables import valid_rows
from analysis.statistics.onset import bracket, isotonic_onset, log2_steps, onset_interval, to_step
from analysis.statistics.plateau import plateau, with_plateau
from dynamics.mechanisms.measures import DUPLICATE, OF_CHECKPOINTS, PREFIX, PREVIOUS
from dynamics.results.places import Place

THRESHOLDS = {PREVIOUS: 0.3, DUPLICATE: 0.3, PREFIX: 0.3}
"""Mean attention above which a head counts as one of its kind, as in counts of induction heads of Pythia's suites."""
LEAST_CHANGE = 0.05
"""A curve that changes by less than this, in attention or logits, has no onset."""
SCORE = ["model", "dtype", "control", "task", "n_shots", "measure", "component"]
N_REPLICATES = 400
SEED = 0
SCHEMA = {
    **dict.fromkeys(("model", "dtype", "control", "task"), pl.String),
    "n_shots": pl.Int64,
    "measure": pl.String,
    "component": pl.String,
    "first": pl.Float64,
    "plateau": pl.Float64,
    "chance": pl.Float64,
    "threshold": pl.Float64,
    "passes": pl.Boolean,
    "t": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "step_before": pl.Int64,
    "step_after": pl.Int64,
    "reason": pl.String,
    "n_prompts": pl.Int64,
    "n_seeds": pl.Int64,
    "first_step": pl.Int64,
    "last_step": pl.Int64,
}


def mechanisms(results: Place) -> pl.DataFrame:
    """Scores of every head at every step.

    Returns:
        One row per (model, dtype, control, task, n_shots, measure, component, step), task and n_shots empty for scores
        that need no prompts: layer, head, value (mean over prompts), sd (over prompts), chance, threshold, n_prompts;
        full and centred_full, the full model's accuracy as it is and less its label bias, means over the same task's
        prompts, null for scores without prompts. Empty where a plan requested no mechanisms.
    """
    rows = _rows(results).group_by(*SCORE, "layer", "head", "step")
    table = rows.agg(
        pl.col("value").mean(),
        sd=pl.col("value").std(),
        chance=pl.col("chance").first(),
        n_prompts=pl.len().cast(pl.Int64),
    )
    threshold = pl.col("measure").replace_strict(THRESHOLDS, default=None, return_dtype=pl.Float64)
    scores = method_scores(results).filter(pl.col("method").is_in(["full", "centred_full"]))
    means = scores.group_by(*GROUP, "step", "method").agg(pl.col("accuracy").mean()).collect(engine="streaming")
    for method in ("full", "centred_full"):
        of_method = means.filter(method=method).select(*GROUP, "step", pl.col("accuracy").alias(method))
        table = table.join(of_method, on=[*GROUP, "step"], how="left")
    return table.with_columns(threshold=threshold).sort(*SCORE, "step", nulls_last=True)


def mechanism_onsets(results: Place) -> pl.DataFrame:
    """When each head's score appears.

    Returns:
        One row per (model, dtype, control, task, n_shots, measure, component): first and plateau of its curve, chance,
        threshold, passes (null without a threshold); t, in steps, where the isotonic fit is half way between first and
        plateau, with step_before and step_after around it, and a 95 % interval low, high over demonstration seeds,
        never narrower than these two; null for scores without prompts, of which there is one a checkpoint. reason: why
        there is no t. n_prompts, n_seeds, first_step, last_step.
    """
    rows = _rows(results)
    table = rows.group_by(*SCORE, "step", "demo_seed").agg(
        pl.col("value").mean(), pl.col("chance").first(), n_prompts=pl.len()
    )
    onsets = [
        _onset(dict(zip(SCORE, keys, strict=True)), curve)
        for keys, curve in table.sort(*SCORE, "step", nulls_last=True).group_by(SCORE, maintain_order=True)
    ]
    return pl.DataFrame(onsets, SCHEMA)


def _rows(results: Place) -> pl.DataFrame:
    """Rows of `mechanisms` of the prompts that every step has; scores of checkpoints once each, without a task."""
    rows = valid_rows(results, "mechanisms").select(
        *GROUP, "step", "template", "demo_seed", "measure", "component", "layer", "head", "value", "chance"
    )
    table = rows.collect(engine="streaming")
    of_checkpoint = pl.col("measure").is_in(OF_CHECKPOINTS)
    n_steps = pl.col("step").n_unique()
    at_every_step = n_steps.over(*GROUP, "measure", "template", "demo_seed") == n_steps.over(*GROUP, "measure")
    once = table.filter(of_checkpoint).unique(["model", "dtype", "control", "step", "measure", "component"])
    without = once.with_columns(task=pl.lit(""), n_shots=None, template=pl.lit(""), demo_seed=0)
    return pl.concat([table.filter(~of_checkpoint, at_every_step), without.cast(table.schema)])  # pyright: ignore[reportArgumentType]


def _onset(keys: dict[str, object], curve: pl.DataFrame) -> dict[str, object]:
    steps = tuple(curve["step"].unique().sort().to_list())
    by_seed = curve.pivot("demo_seed", index="step", values="value").sort("step").drop("step").to_numpy()
    values, axis = np.nanmean(by_seed, 1), log2_steps(steps)
    threshold = THRESHOLDS.get(str(keys["measure"]))
    last = float(plateau(values))
    row: dict[str, object] = {
        **keys,
        "first": values[0],
        "plateau": last,
        "chance": curve["chance"][0],
        "threshold": threshold,
        "passes": None if threshold is None else last > threshold,
        "n_prompts": int(curve.filter(step=steps[-1])["n_prompts"].sum()),
        "n_seeds": by_seed.shape[1],
        "first_step": steps[0],
        "last_step": steps[-1],
    }
    margins = _half_way(values)
    onset = isotonic_onset(axis, margins)
    around = bracket(axis, onset)
    if around is None or abs(last - values[0]) < LEAST_CHANGE:
        return row | {
            "reason": f"the score changes by less than {LEAST_CHANGE} from the first checkpoint to its plateau"
        }
    index = int(onset.step)
    row |= {"t": to_step(float(onset.log2), steps), "step_before": steps[index - 1], "step_after": steps[index]}
    if by_seed.shape[1] < 2 or keys["task"] == "":
        return row | {"reason": ""}
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(by_seed.shape[1], size=(by_seed.shape[1], N_REPLICATES))
    replicates = isotonic_onset(axis, _half_way(by_seed[:, drawn].mean(1))).log2
    low, high = onset_interval(replicates, around)
    return row | {"low": to_step(low, steps), "high": to_step(high, steps), "reason": ""}


def _half_way(values: np.ndarray) -> np.ndarray:
    """Values (step, ...) and their plateau, above half way from first to plateau, in the direction of the change."""
    ends = with_plateau(values)
    change = ends[-1] - ends[0]
    return (ends - ends[0] - change / 2) * np.sign(change)
