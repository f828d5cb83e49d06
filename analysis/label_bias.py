"""How biased are the full model and its components towards some labels, and does the bias wander while they learn?

The bias of a prompt set is each label's mean logit over the test rows less the mean of these over labels, `b` (label,):
gold labels are not used, and the rows are balanced. On logits it splits exactly over components, `b = sum_j b_j` (with
the constant of the unembedding), so each component has a part in the full model's bias:

    part_j = sum over prompts of b_j . b / sum over prompts of b . b,   sum_j part_j = 1 - part of the constant

A part can be negative, where a component works against the bias of the others, or above 1.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.reading.accuracies import mean_sd_columns, method_scores
from analysis.reading.groups import GROUP_SCHEMA, Group, Schema, groups
from analysis.reading.result_tables import split_by_step, valid_rows
from dynamics.results.places import Place

PROMPT = ["template", "demo_seed"]
STORED = ("accuracy", "centred_accuracy", "auc")
MEASURES = ("label_share_max", "gap", "similarity_to_final", "similarity_to_previous", *STORED)
SCHEMA: Schema = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    "tokens_seen": pl.Int64,
    **{f"{measure}{suffix}": pl.Float64 for measure in MEASURES for suffix in ("", "_sd")},
    "component_label_share_max": pl.Float64,
    "component_gap": pl.Float64,
    "component_auc": pl.Float64,
    "n_prompts": pl.Int64,
    "chance": pl.Float64,
}
COMPONENT_SCHEMA: Schema = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    **dict.fromkeys(("component", "kind"), pl.String),
    **dict.fromkeys(("layer", "head"), pl.Int64),
    "part": pl.Float64,
    **dict.fromkeys(("gap", "label_share_max", "accuracy", "centred_accuracy", "auc"), pl.Float64),
    "n_prompts": pl.Int64,
}


def label_bias(results: Place) -> pl.DataFrame:
    """The full model's label bias at every step, beside what it ranks correctly.

    Returns:
        One row per (model, dtype, control, task, n_shots, step), means over prompts with their _sd: label_share_max
        (share of test rows on which the commonest label is predicted), gap (largest less smallest mean logit of the
        labels), similarity_to_final and similarity_to_previous (cosine of the bias with that of the last and of the
        previous step, same prompt), accuracy, centred_accuracy, auc (`component_scores` in
        `dynamics.results.schema`); component_label_share_max, component_gap, component_auc: means over heads and MLPs
        and prompts; n_prompts, chance. Prompts are those that every step has. No rows for results whose label means
        are not stored: `pythia-emergence derive` adds them.
    """
    rows = [row for group in groups(results) for row in _rows(results, group)]
    return pl.DataFrame(rows, schema=SCHEMA)


def label_bias_by_component(results: Place) -> pl.DataFrame:
    """Each component's part in the full model's label bias at every step.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, component), means over prompts: kind, layer, head; part
        (null where the full model has no bias); gap (largest less smallest mean contribution of the labels, in logits),
        label_share_max, accuracy, centred_accuracy, auc; n_prompts.
    """
    rows = [row for group in groups(results) for row in _component_rows(results, group)]
    return pl.DataFrame(rows, schema=COMPONENT_SCHEMA)


def _full(results: Place, group: Group) -> pl.DataFrame:
    """The full model's rows, of the prompts that every step has, with the centred accuracy; by step and prompt."""
    scores = method_scores(results).filter(group.matches)
    keys = ["step", *PROMPT]
    centred = scores.filter(method="centred_full").select(*keys, centred_accuracy="accuracy")
    columns = (*keys, "tokens_seen", "label_means", "label_share", "accuracy", "auc")
    raw = scores.filter(pl.col("label_means").is_not_null(), method="full").select(columns)
    full = raw.join(centred, on=keys).collect(engine="streaming")
    every_step = pl.col("step").n_unique().over(PROMPT) == full["step"].n_unique()
    return full.filter(every_step).sort(keys)


def _rows(results: Place, group: Group) -> Iterator[dict[str, object]]:
    full = _full(results, group)
    if full.is_empty():
        return
    by_step = {step: rows for (step,), rows in full.partition_by("step", as_dict=True, maintain_order=True).items()}
    bias = {step: _bias(rows["label_means"]) for step, rows in by_step.items()}
    components = _component_means(results, group)
    final, previous = bias[max(bias)], None
    for step, rows in sorted(by_step.items()):
        share = _matrix(rows["label_share"])
        yield {
            **group.keys,
            "step": step,
            "tokens_seen": rows["tokens_seen"][0],
            **mean_sd_columns(
                label_share_max=share.max(1),
                gap=_gap(bias[step]),
                similarity_to_final=_cosine(bias[step], final),
                similarity_to_previous=np.full(len(rows), np.nan)
                if previous is None
                else _cosine(bias[step], previous),
                **{name: rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in MEASURES[4:]},
            ),
            **components.get(step, {}),
            "n_prompts": len(rows),
            "chance": 1 / share.shape[1],
        }
        previous = bias[step]


def _component_means(results: Place, group: Group) -> dict[int, dict[str, float]]:
    """step -> means over heads, MLPs and prompts."""
    rows = _component_scores(results, group).filter(pl.col("kind").is_in(["head", "mlp"]))
    gap = pl.col("label_means").list.max() - pl.col("label_means").list.min()
    means = rows.group_by("step").agg(
        component_label_share_max=pl.col("label_share_max").mean(),
        component_gap=gap.mean().cast(pl.Float64),
        component_auc=pl.col("auc").mean(),
    )
    return {row.pop("step"): row for row in means.collect(engine="streaming").iter_rows(named=True)}


def _component_scores(results: Place, group: Group) -> pl.LazyFrame:
    return valid_rows(results, "component_scores").filter(group.matches, pl.col("split") == "test")


def _component_rows(results: Place, group: Group) -> Iterator[dict[str, object]]:
    full = _full(results, group)
    prompts = full.select("step", *PROMPT, full_means="label_means").lazy()
    rows = _component_scores(results, group).join(prompts, on=["step", *PROMPT]).sort("step", *PROMPT)
    for step, of_step in split_by_step(rows):
        frame = of_step.collect(engine="streaming")
        whole, own = _bias(frame["full_means"]), _bias(frame["label_means"])
        frame = frame.with_columns(own=(own * whole).sum(1), whole=(whole * whole).sum(1), gap=_gap(own))
        means = frame.group_by("component", "kind", "layer", "head", maintain_order=True).agg(
            part=pl.when(pl.col("whole").sum() > 0).then(pl.col("own").sum() / pl.col("whole").sum()),
            **{name: pl.col(name).mean() for name in ("gap", "label_share_max", *STORED)},
            n_prompts=pl.len().cast(pl.Int64),
        )
        means = means.sort("layer", "kind", "head")
        yield from ({**group.keys, "step": step, **row} for row in means.iter_rows(named=True))


def _matrix(lists: pl.Series) -> np.ndarray:
    return lists.explode().to_numpy().astype(np.float64).reshape(len(lists), -1)


def _bias(label_means: pl.Series) -> np.ndarray:
    """(row, label), less the mean over labels."""
    means = _matrix(label_means)
    return means - means.mean(1, keepdims=True)


def _gap(bias: np.ndarray) -> np.ndarray:
    return bias.max(1) - bias.min(1)


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row; NaN where one is 0."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.where(lengths > 0, (a * b).sum(1) / np.where(lengths > 0, lengths, 1), np.nan)
