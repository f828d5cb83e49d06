"""Do the weights that COMP RW fits on one task help another? They are applied to its stored contributions.

Weights w fitted on a source task at a step give a target's test rows the logits `sum_j w_j g_j`, plus embedding,
attention biases and constant where the variant keeps them. Tasks are paired if they have equally many labels and shots.

- `matched = "task"`: the mean of the source's weights over its prompts, on every prompt of the target; on the diagonal
  the mean over the task's own prompts.
- `matched = "prompt"`: for out-of-distribution tasks that take another task's demonstrations
  (`analysis.reading.pairs.TRANSFERS`), each prompt's weights on the target's prompt of the same template and seed.

Contributions are read once, some rows at a time, so that memory does not grow with them.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.reading.accuracies import method_scores, n_labels
from analysis.reading.answers import GROUP, groups
from analysis.reading.loading import counted
from analysis.reading.pairs import TRANSFERS
from analysis.transfer import SETTING
from dynamics import scores
from dynamics.components import candidate_indices
from dynamics.methods.variants import VARIANTS
from dynamics.results.places import Place

ROWS_AT_ONCE = 512
PROMPT = ["template", "demo_seed"]
FIT = ["variant", "n_labelled"]
VECTOR = ["source", "matched", *FIT, "keeps_remainder", "of_template", "of_seed", "n_source_prompts"]
_MEANS = ("transfer_rw", "own_rw", "full", "gain")
_SCORED = {
    **dict.fromkeys(SETTING, pl.String),
    "n_shots": pl.Int64,
    "step": pl.Int64,
    "source": pl.String,
    "target": pl.String,
    "matched": pl.String,
    "variant": pl.String,
    "n_labelled": pl.Int64,
    "n_source_prompts": pl.Int64,
    "template": pl.String,
    "demo_seed": pl.Int64,
    "transfer_rw": pl.Float64,
}


def transfer_weights(results: Place) -> pl.DataFrame:
    """Accuracy on a target task of the weights fitted on a source task, of the target's own weights, and of the model.

    Returns:
        One row per (model, dtype, control, n_shots, step, source, target, matched, variant, n_labelled): transfer_rw,
        own_rw (each of the target's prompts with its own weights), full and gain (transfer_rw less full), means over
        the target's prompts, each with its _sd; n_prompts, n_source_prompts (whose weights are averaged), chance.
        Empty where results hold no weights.
    """
    labels = n_labels(results)
    frames = [frame for setting in _settings(results, labels) for frame in _setting(results, setting)]
    scored = pl.concat([pl.DataFrame(schema=_SCORED), *frames])
    beside = method_scores(results).select(*SETTING, "step", "task", *PROMPT, "method", *FIT, "accuracy").collect()
    prompt = [*SETTING, "step", "target", *PROMPT]
    beside = beside.rename({"task": "target"})
    full = beside.filter(method="full").select(*prompt, full="accuracy").unique(prompt)
    own = beside.filter(method="comp_rw").select(*prompt, *FIT, own_rw="accuracy").unique([*prompt, *FIT])
    table = scored.join(full, on=prompt, how="left").join(own, on=[*prompt, *FIT], how="left")
    table = table.with_columns(gain=pl.col("transfer_rw") - pl.col("full"))
    means = [value for name in _MEANS for value in (pl.col(name).mean(), pl.col(name).std().alias(f"{name}_sd"))]
    keys = [*SETTING, "step", "source", "target", "matched", *FIT]
    sizes = [pl.len().cast(pl.Int64).alias("n_prompts"), pl.col("n_source_prompts").first()]
    chance = labels.select("model", target="task", chance=1 / pl.col("n_labels"))
    averaged = table.group_by(keys).agg(*means, *sizes).join(chance, on=["model", "target"], how="left")
    return averaged.sort(*SETTING, "matched", "source", "target", *FIT, "step")


def vectors(weights: pl.DataFrame) -> pl.DataFrame:
    """The weight vectors of one step that are applied: each task's mean, and of some tasks every prompt's own.

    Args:
        weights: rows of `reweightings` with the task as `source`, and keeps_remainder.

    Returns:
        One row per vector: `VECTOR`, and a column of weights per component.
    """
    fit = ["source", *FIT, "keeps_remainder"]
    mean = weights.group_by(*fit, "component").agg(pl.col("weight").mean(), n_source_prompts=pl.len().cast(pl.Int64))
    mean = mean.with_columns(
        of_template=pl.lit(None, pl.String), of_seed=pl.lit(None, pl.Int64), matched=pl.lit("task")
    )
    own = weights.filter(pl.col("source").is_in(list(TRANSFERS.values())))
    own = own.rename({"template": "of_template", "demo_seed": "of_seed"})
    own = own.with_columns(n_source_prompts=pl.lit(1, pl.Int64), matched=pl.lit("prompt"))
    columns = [*VECTOR, "component", "weight"]
    both = pl.concat([mean.select(columns), own.select(columns)])
    return both.pivot("component", index=VECTOR, values="weight").sort(VECTOR)


def apply(found: pl.DataFrame, batch: pl.DataFrame) -> np.ndarray:
    """What each vector's answers earn on some rows of `contributions`: (row, vector), ties 1/n_tied.

    Raises:
        ValueError: a component has no weight.
    """
    names = batch["components"][0].split(" ")
    kept = candidate_indices(names)
    rest = sorted(set(range(len(names))) - set(kept))
    parts = batch["contributions"].explode().to_numpy().reshape(len(batch), len(names), -1).astype(float)
    weights = found.select([names[i] for i in kept]).to_numpy()
    if np.isnan(weights).any():
        raise ValueError("some components of the target have no weight; weights and contributions are of other models")
    constant = batch["constant"].explode().to_numpy().reshape(len(batch), -1)
    remainder = parts[:, rest].sum(1) + constant
    logits = weights @ parts[:, kept] + found["keeps_remainder"].to_numpy()[:, None] * remainder[:, None]
    gold = batch["gold"].to_numpy()
    return scores.at_gold(scores.credit(logits), gold)


def _settings(results: Place, labels: pl.DataFrame) -> list[list[tuple]]:
    """Groups that differ in their task only and have equally many labels."""
    there = pl.DataFrame(groups(results), schema=GROUP, orient="row").join(labels, on=["model", "task"], how="left")
    by = there.partition_by(*SETTING, "n_labels", maintain_order=True)
    return [mine.select(GROUP).rows() for mine in by]


def _setting(results: Place, mine: list[tuple]) -> Iterator[pl.DataFrame]:
    """Scores of every vector on every target, step by step."""
    keys = dict(zip(GROUP, mine[0], strict=True))
    tasks = [group[GROUP.index("task")] for group in mine]
    rows = _of_setting(counted(results, "reweightings"), keys).filter(pl.col("task").is_in(tasks))
    contributions = _of_setting(counted(results, "contributions"), keys).filter(pl.col("split") == "test")
    weights = rows.with_columns(keeps_remainder=_keeps_remainder()).filter(pl.col("keeps_remainder").is_not_null())
    for step in weights.select("step").unique().collect(engine="streaming")["step"].sort():
        at = weights.filter(pl.col("step") == step).rename({"task": "source"})
        columns = ["source", *FIT, "keeps_remainder", *PROMPT, "component", "weight"]
        found = vectors(at.select(columns).collect(engine="streaming"))
        for task in tasks:
            on_task = contributions.filter(pl.col("task") == task, pl.col("step") == step)
            scored = _on_target(on_task, _applied_to(task, found))
            if scored is not None:
                fixed = [pl.lit(keys[name]).cast(_SCORED[name]).alias(name) for name in SETTING]
                at_step = pl.lit(step, pl.Int64)
                yield scored.with_columns(*fixed, step=at_step, target=pl.lit(task)).select(*_SCORED)


def _applied_to(task: str, found: pl.DataFrame) -> pl.DataFrame:
    of_target = pl.col("matched") == "task"
    if task in TRANSFERS:
        of_target |= pl.col("source") == TRANSFERS[task]
    return found.filter(of_target)


def _on_target(rows: pl.LazyFrame, found: pl.DataFrame) -> pl.DataFrame | None:
    """Accuracy of every vector on every prompt of a task at a step; None without contributions."""
    columns = [*PROMPT, "gold", "components", "contributions", "constant"]
    earned: dict[tuple, np.ndarray] = {}
    n_rows: dict[tuple, int] = {}
    for batch in rows.select(columns).collect_batches(chunk_size=ROWS_AT_ONCE, engine="streaming"):
        for prompt, mine in batch.partition_by(*PROMPT, as_dict=True).items():
            earned[prompt] = earned.get(prompt, 0) + apply(found, mine).sum(0)
            n_rows[prompt] = n_rows.get(prompt, 0) + len(mine)
    scored = [
        found.select(VECTOR).with_columns(
            template=pl.lit(prompt[0]),
            demo_seed=pl.lit(prompt[1], pl.Int64),
            transfer_rw=earned[prompt] / n_rows[prompt],
        )
        for prompt in sorted(earned)
    ]
    same_prompt = (pl.col("of_template") == pl.col("template")) & (pl.col("of_seed") == pl.col("demo_seed"))
    return pl.concat(scored).filter((pl.col("matched") == "task") | same_prompt) if scored else None


def _of_setting(rows: pl.LazyFrame, keys: dict) -> pl.LazyFrame:
    return rows.filter(*[pl.col(name) == keys[name] for name in SETTING])


def _keeps_remainder() -> pl.Expr:
    """As recorded; where an older file does not say, the built-in variants are known by name."""
    known = {name: variant.reweighting.keep_remainder for name, variant in VARIANTS.items()}
    by_name = pl.col("variant").replace_strict(known, default=None, return_dtype=pl.Boolean)
    return pl.coalesce("keeps_remainder", by_name)
