"""Where in the model, and when: the test accuracy of every component at every step, averaged over prompts."""

import polars as pl

from analysis.reading.groups import GROUP
from analysis.reading.result_tables import split_by_step, valid_rows
from dynamics.results.places import Place


def component_heatmap(results: Place) -> pl.DataFrame:
    """Mean and SD over prompts of each component's test accuracy.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, component): layer, head, kind, accuracy (mean over
        prompts), sd, n_prompts, n_examples per prompt, chance.
    """
    rows = valid_rows(results, "component_scores").filter(pl.col("split") == "test")
    table = pl.concat([_means(of_step).collect(engine="streaming") for _, of_step in split_by_step(rows)])
    return table.sort(*GROUP, "step", "layer", "kind", "head", nulls_last=False)


def _means(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.group_by(*GROUP, "step", "component", "kind", "layer", "head").agg(
        accuracy=pl.col("accuracy").mean(),
        sd=pl.col("accuracy").std(),
        n_prompts=pl.len(),
        n_examples=pl.col("n_examples").first(),
        chance=1 / pl.col("label_share").list.len().first(),
    )
