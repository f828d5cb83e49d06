"""Do the weights that COMP RW fits on one task help another? They are applied to its stored contributions.

Weights w fitted on a source task at a step give a target's test rows the logits `sum_j w_j g_j`, plus embedding,
attention biases and constant where the variant keeps them. Tasks are paired if they have equally many labels and shots.

- `matched = "task"`: the mean of the source's weights over its prompts, on every prompt of the target; on the diagonal
  the mean over the task's own prompts.
- `matched = "prompt"`: for out-of-distribution tasks that take another task's demonstrations (`demonstrations_of` in
  `units`), each prompt's weights on the target's prompt of the same template and seed.

Contributions are read once, some rows at a time, so that memory does not grow with them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from analysis.reading.accuracies import method_scores
from analysis.reading.groups import GROUP_SCHEMA, Group, constant_columns
from analysis.reading.result_tables import valid_rows
from analysis.reading.task_facts import SETTING, comparable_groups, n_labels, transfer_sources
from dynamics import scores
from dynamics.components import candidate_indices
from dynamics.results.contributions import contribution_arrays
from dynamics.results.places import Place

ROWS_AT_ONCE = 512
PROMPT = ["template", "demo_seed"]
FIT = ["variant", "n_labelled"]
VECTOR = ["source", "matched", *FIT, "keeps_remainder", "of_template", "of_seed", "n_source_prompts"]
"""What identifies a vector of weights; of_template and of_seed are null for the mean over a task's prompts."""
_MEANS = ("transfer_rw", "own_rw", "full", "gain")
_SCORED = {
    **{name: GROUP_SCHEMA[name] for name in SETTING},
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
    sources = transfer_sources(results)
    scored = [frame for tasks in comparable_groups(results) for frame in _scored(results, tasks, sources)]
    table = _beside_own_and_full(pl.concat([pl.DataFrame(schema=_SCORED), *scored]), results)
    means = [value for name in _MEANS for value in (pl.col(name).mean(), pl.col(name).std().alias(f"{name}_sd"))]
    sizes = [pl.len().cast(pl.Int64).alias("n_prompts"), pl.col("n_source_prompts").first()]
    averaged = table.group_by(*SETTING, "step", "source", "target", "matched", *FIT).agg(*means, *sizes)
    chance = n_labels(results).select("model", target="task", chance=1 / pl.col("n_labels"))
    averaged = averaged.join(chance, on=["model", "target"], how="left")
    return averaged.sort(*SETTING, "matched", "source", "target", *FIT, "step")


def weight_vectors(weights: pl.DataFrame, lenders: Iterable[str]) -> pl.DataFrame:
    """The weight vectors of one step that are applied: each task's mean, and of some tasks every prompt's own.

    Args:
        weights: rows of `reweightings` with the task as `source`.
        lenders: the tasks whose demonstrations others take.

    Returns:
        One row per vector: `VECTOR`, and a column of weights per component.
    """
    fit = ["source", *FIT, "keeps_remainder"]
    mean = weights.group_by(*fit, "component").agg(pl.col("weight").mean(), n_source_prompts=pl.len().cast(pl.Int64))
    mean = mean.with_columns(
        of_template=pl.lit(None, pl.String), of_seed=pl.lit(None, pl.Int64), matched=pl.lit("task")
    )
    by_prompt = weights.filter(pl.col("source").is_in(list(lenders)))
    by_prompt = by_prompt.rename({"template": "of_template", "demo_seed": "of_seed"})
    by_prompt = by_prompt.with_columns(n_source_prompts=pl.lit(1, pl.Int64), matched=pl.lit("prompt"))
    columns = [*VECTOR, "component", "weight"]
    both = pl.concat([mean.select(columns), by_prompt.select(columns)])
    return both.pivot("component", index=VECTOR, values="weight").sort(VECTOR)


def credit_of_weights(vectors: pl.DataFrame, rows: pl.DataFrame) -> np.ndarray:
    """Credit at the gold label of each vector's answers on rows of `contributions`: (row, vector), ties 1/n_tied.

    Raises:
        ValueError: a component has no weight.
    """
    arrays = contribution_arrays(rows)
    candidates = candidate_indices(arrays.components)
    others = sorted(set(range(len(arrays.components))) - set(candidates))
    parts = arrays.contributions.astype(float)
    weights = vectors.select([arrays.components[i] for i in candidates]).to_numpy()
    if np.isnan(weights).any():
        raise ValueError("some components of the target have no weight; weights and contributions are of other models")
    remainder = parts[:, others].sum(1) + arrays.constant
    logits = weights @ parts[:, candidates] + vectors["keeps_remainder"].to_numpy()[:, None] * remainder[:, None]
    return scores.at_gold(scores.credit(logits), rows["gold"].to_numpy())


def _beside_own_and_full(scored: pl.DataFrame, results: Place) -> pl.DataFrame:
    """Each prompt's score beside that of its own weights and of the full model."""
    prompt = [*SETTING, "step", "target", *PROMPT]
    stored = method_scores(results).select(*SETTING, "step", "task", *PROMPT, "method", *FIT, "accuracy").collect()
    stored = stored.rename({"task": "target"})
    full = stored.filter(method="full").select(*prompt, full="accuracy").unique(prompt)
    own = stored.filter(method="comp_rw").select(*prompt, *FIT, own_rw="accuracy").unique([*prompt, *FIT])
    table = scored.join(full, on=prompt, how="left").join(own, on=[*prompt, *FIT], how="left")
    return table.with_columns(gain=pl.col("transfer_rw") - pl.col("full"))


def _scored(results: Place, tasks: Sequence[Group], sources: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """Scores of every vector on every target among groups that differ in their task only, step by step."""
    setting = {name: value for name, value in tasks[0].keys.items() if name in SETTING}
    same_setting = [pl.col(name) == value for name, value in setting.items()]
    in_tasks = pl.col("task").is_in([group.task for group in tasks])
    fitted = valid_rows(results, "reweightings").filter(*same_setting, in_tasks)
    contributions = valid_rows(results, "contributions").filter(*same_setting, pl.col("split") == "test")
    for step in fitted.select("step").unique().collect(engine="streaming")["step"].sort():
        weights = fitted.filter(pl.col("step") == step).rename({"task": "source"})
        columns = ["source", *FIT, "keeps_remainder", *PROMPT, "component", "weight"]
        vectors = weight_vectors(weights.select(columns).collect(engine="streaming"), sources.values())
        for group in tasks:
            rows = contributions.filter(pl.col("task") == group.task, pl.col("step") == step)
            applicable = (pl.col("matched") == "task") | (pl.col("source") == sources.get(group.task, ""))
            scored = _on_target(rows, vectors.filter(applicable))
            if scored is not None:
                keys = {**setting, "step": step, "target": group.task}
                yield scored.with_columns(constant_columns(keys)).select(*_SCORED)


def _on_target(rows: pl.LazyFrame, vectors: pl.DataFrame) -> pl.DataFrame | None:
    """Accuracy of every vector on every prompt of a task at a step; None without contributions."""
    columns = [*PROMPT, "gold", "components", "contributions", "constant", "full"]
    credit: dict[tuple, np.ndarray | int] = defaultdict(int)
    n_rows: dict[tuple, int] = defaultdict(int)
    for batch in rows.select(columns).collect_batches(chunk_size=ROWS_AT_ONCE, engine="streaming"):
        for prompt, of_prompt in batch.partition_by(*PROMPT, as_dict=True).items():
            credit[prompt] += credit_of_weights(vectors, of_prompt).sum(0)
            n_rows[prompt] += len(of_prompt)
    scored = [
        vectors.select(VECTOR).with_columns(
            template=pl.lit(prompt[0]),
            demo_seed=pl.lit(prompt[1], pl.Int64),
            transfer_rw=credit[prompt] / n_rows[prompt],
        )
        for prompt in sorted(credit)
    ]
    same_prompt = (pl.col("of_template") == pl.col("template")) & (pl.col("of_seed") == pl.col("demo_seed"))
    return pl.concat(scored).filter((pl.col("matched") == "task") | same_prompt) if scored else None
