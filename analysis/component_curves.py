"""How accurate, and how biased, is each component over training, under each template? Beside it, the full model.

Means over prompts of what `component_scores` and `prompt_scores` store, under one template and, where `template` is
empty, under all of them. Of all tables this one has the most rows: it is what the page's explorer shows.
"""

import polars as pl

from analysis.reading.accuracies import method_scores
from analysis.reading.groups import GROUP
from analysis.reading.result_tables import split_by_step, valid_rows
from dynamics.results.places import Place

FULL = "Full"
"""The full model, which has the same columns as a component."""
KEYS = [*GROUP, "template", "step", "component", "kind", "layer", "head"]
PROMPT = [*GROUP, "step", "template", "demo_seed"]


def component_curves(results: Place) -> pl.DataFrame:
    """Accuracy and label bias of every component and of the full model, means over prompts.

    Returns:
        One row per (model, dtype, control, task, n_shots, template, step, component), `template` empty for the mean
        over the prompts of all templates, component and kind `Full` for the full model: kind, layer, head; accuracy and
        centred_accuracy (`component_scores` in `dynamics.results.schema`; null where a prompt lacks it); share, the
        share of test rows on which the second of two labels is answered, null with more labels; top_share, the share of
        the label that is answered most (1: the same answer to every row); n_prompts that the step has, n_examples per
        prompt, n_labels.
    """
    full = _full(results)
    rows = valid_rows(results, "component_scores").filter(pl.col("split") == "test")
    tables = [
        _means(pl.concat([_columns(of_step), full.filter(pl.col("step") == step)]))
        for step, of_step in split_by_step(rows)
    ]
    return pl.concat(tables).sort(*GROUP, "template", "step", "layer", "kind", "head", nulls_last=False)


def _columns(rows: pl.LazyFrame) -> pl.LazyFrame:
    shares = pl.col("label_share")
    return rows.select(
        *PROMPT,
        *("component", "kind", "layer", "head", "accuracy", "centred_accuracy"),
        share=pl.when(shares.list.len() == 2).then(shares.list.get(1, null_on_oob=True)),
        top_share=shares.list.max(),
        n_examples="n_examples",
        n_labels=shares.list.len().cast(pl.Int64),
    )


def _full(results: Place) -> pl.LazyFrame:
    """The full model's rows of `prompt_scores`, with the columns of a component."""
    scores = method_scores(results)
    centred = scores.filter(pl.col("method") == "centred_full").select(*PROMPT, centred_accuracy="accuracy")
    none = pl.lit(None, pl.Int32)
    rows = scores.filter(pl.col("method") == "full").join(centred, on=PROMPT, how="left")
    return _columns(rows.with_columns(component=pl.lit(FULL), kind=pl.lit(FULL), layer=none, head=none))


def _means(rows: pl.LazyFrame) -> pl.DataFrame:
    """One step's means, under each template and under all of them."""
    by_template = rows.collect(engine="streaming")
    both = pl.concat([by_template.with_columns(template=pl.lit("")), by_template])
    means = [_mean_or_null(name).alias(name) for name in ("accuracy", "centred_accuracy", "share", "top_share")]
    sizes = [pl.len().cast(pl.Int64).alias("n_prompts"), *(pl.col(name).max() for name in ("n_examples", "n_labels"))]
    return both.group_by(KEYS).agg(*means, *sizes)


def _mean_or_null(name: str) -> pl.Expr:
    """The mean over prompts, null where one of them has no value: a mean over fewer would be another curve."""
    return pl.when(pl.col(name).null_count() == 0).then(pl.col(name).mean())
