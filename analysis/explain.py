"""What predicts how useful a head is at the last step: its attention, its copying, its answers at earlier steps?

Outcomes at the last step are a head's `centred_accuracy` and its `total_effect` (mean ablation of the head alone, in
logits of the margin; only of heads that a sweep ablated, the best and the worst and some others of each prompt set).
Predictors at every earlier step are the measures of `dynamics.mechanisms` and the head's accuracy, centred accuracy and
AUC, each alone and together (`all mechanisms`, `all answers`, `all`), by ridge regression (`analysis.statistics.ridge`:
penalty fixed, heads standardised within each task). Scored by Spearman's correlation on what is held out:

- `task`: means over prompts; fitted on the other tasks. Does what holds on other tasks hold here?
- `demo_seed`: means over templates; fitted on the other demonstration seeds of all tasks. The heads are the same ones,
  so this asks only whether the order of heads is the same under other demonstrations.

Null: heads are permuted within each task, the same way for all seeds, 1,000 times. `band` holds for all steps at once:
permuted outcomes are above it at any step with probability 1 %, for this predictor. Few heads can show only large
correlations (with 12, one task alone must exceed about .7); no correction is made for the number of predictors.
Accuracies of one head at two steps are of the same test rows, so heads that guess may seem to predict themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.reading.groups import GROUP, GROUP_SCHEMA, Schema
from analysis.reading.head_measures import read_checkpoint_measures
from analysis.reading.result_tables import valid_rows
from analysis.statistics.curves import LEVEL
from analysis.statistics.onset import standardised, upper_quantile
from analysis.statistics.ridge import MIN_COMPONENTS, MIN_FOLDS, Outcome, outcome, scores
from dynamics.results.places import Place

OF_CHECKPOINTS = ("prefix_matching", "previous_token", "duplicate_token", "copying")
OF_PROMPTS = ("label_attention", "gold_attention", "label_copying")
OF_ANSWERS = ("accuracy", "centred_accuracy", "auc")
PREDICTORS = (*OF_CHECKPOINTS, *OF_PROMPTS, *OF_ANSWERS)
ALL, MECHANISMS, ANSWERS = "all", "all mechanisms", "all answers"
TOGETHER = {ALL: PREDICTORS, MECHANISMS: (*OF_CHECKPOINTS, *OF_PROMPTS), ANSWERS: OF_ANSWERS}
OUTCOMES = ("centred_accuracy", "total_effect")
TASK, SEED = HELD_OUT = ("task", "demo_seed")
SETTING = [name for name in GROUP if name != "task"]
PLACE = ["task", "demo_seed", "component"]
SCHEMA: Schema = {
    **{name: GROUP_SCHEMA[name] for name in SETTING},
    **dict.fromkeys(("outcome", "held_out", "predictor"), pl.String),
    **dict.fromkeys(("step", "last_step"), pl.Int64),
    **dict.fromkeys(("correlation", "null_q95", "band"), pl.Float64),
    "since": pl.Int64,
    "lead": pl.Float64,
    "reason": pl.String,
    **dict.fromkeys(("n_predictors", "n_heads", "n_values", "n_tasks", "n_seeds"), pl.Int64),
}


def explain(results: Place) -> pl.DataFrame:
    """How well each predictor at each step predicts the outcomes at the last step.

    Returns:
        One row per (model, dtype, control, n_shots, outcome, held_out, predictor, step): last_step; correlation (mean
        over held-out tasks, or tasks and seeds), null_q95 (of permuted heads, at this step), band (at all steps);
        since (the first step from which the correlation is above its band at all measured steps before the last), lead
        (log2 of last_step / since, doublings); reason (why there is no correlation, or no lead); n_predictors (those
        measured at the step), n_heads, n_values (heads with an outcome, over tasks or tasks and seeds),
        n_tasks, n_seeds.
    """
    measured = _measured(results)
    rows = [
        row
        for setting, frame in measured.partition_by(SETTING, as_dict=True, maintain_order=True).items()
        for row in _rows(dict(zip(SETTING, setting, strict=True)), frame)
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _measured(results: Place) -> pl.DataFrame:
    """Every head's predictors and effects by setting, step, task and demonstration seed, means over templates."""
    keys = [*SETTING, "step", *PLACE]
    answers = valid_rows(results, "component_scores").filter(pl.col("split") == "test", pl.col("kind") == "head")
    table = answers.group_by(keys).agg(pl.col(OF_ANSWERS).mean()).collect(engine="streaming")
    attention = valid_rows(results, "mechanisms").filter(pl.col("measure").is_in(OF_PROMPTS))
    wide = attention.group_by(*keys, "measure").agg(pl.col("value").mean()).collect()
    table = table.join(_pivoted(wide, keys, OF_PROMPTS), on=keys, how="left")
    of_checkpoints = ["model", "dtype", "control", "step", "component"]
    wide = read_checkpoint_measures(results).collect()
    table = table.join(_pivoted(wide, of_checkpoints, OF_CHECKPOINTS), on=of_checkpoints, how="left")
    single = (
        valid_rows(results, "ablations")
        .filter(selection="single", replacement="mean")
        .rename({"components": "component"})
    )
    effects = single.group_by(keys).agg(pl.col("total_effect").mean()).collect()
    return table.join(effects, on=keys, how="left").sort(keys)


def _pivoted(rows: pl.DataFrame, keys: Sequence[str], names: Sequence[str]) -> pl.DataFrame:
    """One column per measure, null where it was not measured."""
    columns = [pl.col("value").filter(measure=name).first().alias(name) for name in names]
    return rows.group_by(keys).agg(columns)


@dataclass(frozen=True)
class Blocks:
    """The heads of a setting as arrays, by what is held out.

    Attributes:
        by_step: step -> predictor -> (block, head), NaN where it was not measured.
        outcome: None where it cannot be ranked.
        n_values, n_tasks, n_seeds: heads with an outcome in all blocks; tasks and seeds with the last step.
    """

    by_step: dict[int, dict[str, np.ndarray]]
    outcome: Outcome | None
    n_values: int
    n_tasks: int
    n_seeds: int


def _blocks(frame: pl.DataFrame, target: str, held_out: str) -> Blocks:
    keys = ["task"] if held_out == TASK else ["task", "demo_seed"]
    last = frame.filter(step=frame["step"].max())
    means = frame.group_by("step", *keys, "component").agg(pl.col(*PREDICTORS, "total_effect").mean())
    blocks = last.select(keys).unique().sort(keys)
    grid = blocks.join(last.select("component").unique().sort("component"), how="cross", maintain_order="left_right")

    def arrays(step: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        at_step = grid.join(means.filter(step=step), on=grid.columns, how="left", maintain_order="left")
        columns = at_step.select(pl.col(names).cast(pl.Float64).fill_null(np.nan))
        return {name: columns[name].to_numpy().reshape(len(blocks), -1) for name in names}

    steps = frame["step"].unique().sort().to_list()
    values = arrays(steps[-1], [target])[target]
    task = blocks["task"].rank("dense").to_numpy()
    return Blocks(
        {step: arrays(step, PREDICTORS) for step in steps[:-1]},
        outcome(values, blocks[held_out].rank("dense").to_numpy(), task),
        int(np.isfinite(values).sum()),
        last["task"].n_unique(),
        last["demo_seed"].n_unique(),
    )


def _rows(setting: dict[str, object], frame: pl.DataFrame) -> Iterator[dict[str, object]]:
    for target in OUTCOMES:
        for held_out in HELD_OUT:
            blocks = _blocks(frame, target, held_out)
            shared = {
                **setting,
                "outcome": target,
                "held_out": held_out,
                "last_step": frame["step"].max(),
                "n_heads": frame["component"].n_unique(),
                "n_values": blocks.n_values,
                "n_tasks": blocks.n_tasks,
                "n_seeds": blocks.n_seeds,
            }
            for predictor in (*PREDICTORS, *TOGETHER):
                yield from ({**shared, **row} for row in _curve(blocks, predictor, shared))


def _curve(blocks: Blocks, predictor: str, shared: dict[str, object]) -> list[dict[str, object]]:
    """The rows of one predictor over steps."""
    names = TOGETHER.get(predictor, (predictor,))
    used = {step: [n for n in names if np.isfinite(values[n]).all()] for step, values in blocks.by_step.items()}
    found: dict[int, np.ndarray] = {}
    if blocks.outcome is not None:
        for step, measured in used.items():
            if measured:
                stacked = np.stack([blocks.by_step[step][name] for name in measured], -1)
                found[step] = scores(stacked, blocks.outcome)
    bands = _bands(found)
    since, lead, why = _lead(found, bands, int(str(shared["last_step"])))
    too_few = (
        f"fewer than {MIN_FOLDS} values of {shared['held_out']} with {MIN_COMPONENTS} heads whose "
        f"{shared['outcome']} differs"
    )
    lacking = too_few if blocks.outcome is None else f"{predictor} was not measured under every prompt of this step"
    return [
        {
            "predictor": predictor,
            "step": step,
            "correlation": float(found[step][0]) if step in found else None,
            "null_q95": float(np.quantile(found[step][1:], 0.95)) if step in found else None,
            "band": bands.get(step),
            "since": since,
            "lead": lead,
            "reason": why if step in found else lacking,
            "n_predictors": len(measured),
        }
        for step, measured in used.items()
    ]


def _bands(found: dict[int, np.ndarray]) -> dict[int, float]:
    """Step -> the band of permuted outcomes, for all steps at once."""
    if not found:
        return {}
    null = np.stack([values[1:] for values in found.values()])
    mean, sd = null.mean(1), null.std(1)
    largest = standardised(null, mean, sd).max(0)
    return dict(zip(found, (mean + sd * upper_quantile(largest, LEVEL)).tolist(), strict=True))


def _lead(
    found: dict[int, np.ndarray], bands: dict[int, float], last: int
) -> tuple[int | None, float | None, str | None]:
    """The first step from which the correlation is above its band for good, doublings before the last, and why none."""
    below = [step for step in found if found[step][0] <= bands[step]]
    above = [step for step in found if not below or step > max(below)]
    if not above:
        return None, None, "not above the band at the step before the last" if found else None
    if not below:
        return above[0], None, "above the band from the first step on"
    return above[0], float(np.log2(last / above[0])), None
