"""Test accuracies of heads and MLPs as one (prompt, component) matrix per step, from `component_scores`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.reading.answers import GROUP
from analysis.reading.loading import counted
from dynamics.results.places import Place

Prompt = tuple[str, int]
"""(template, demo_seed)."""

_COLUMNS = ("step", "template", "demo_seed", "layer", "kind", "head", "component", "accuracy")


@dataclass(frozen=True)
class StepAccuracies:
    """Accuracies at one step of one group.

    Attributes:
        group: the values of `GROUP`.
        step: optimiser steps.
        prompts: (prompt,) as (template, demo_seed), sorted.
        components: (component,) names of the candidates, heads before the MLP in each layer.
        accuracy: (prompt, component) on the test rows.
    """

    group: tuple
    step: int
    prompts: tuple[Prompt, ...]
    components: tuple[str, ...]
    accuracy: np.ndarray


def accuracies(results: Place, group: tuple) -> Iterator[StepAccuracies]:
    """The group's matrices, steps ascending."""
    rows = candidates(results).filter(*of_group(group)).select(_COLUMNS).collect(engine="streaming")
    for (step,), at in sorted(rows.partition_by("step", as_dict=True).items()):
        at = at.sort("template", "demo_seed", "layer", "kind", "head")
        prompts = at.select("template", "demo_seed").unique(maintain_order=True).rows()
        values = at["accuracy"].to_numpy().reshape(len(prompts), -1)
        components = tuple(at["component"][: values.shape[1]])
        yield StepAccuracies(group, int(step), tuple(prompts), components, values)


def candidates(results: Place) -> pl.LazyFrame:
    """Rows of `component_scores` for heads and MLPs on the test split."""
    scores = counted(results, "component_scores")
    return scores.filter(pl.col("split") == "test", pl.col("kind").is_in(["head", "mlp"]))


def method_scores(results: Place) -> pl.LazyFrame:
    """Test rows of `prompt_scores`."""
    return counted(results, "prompt_scores").filter(pl.col("split") == "test")


def of_group(group: tuple) -> list[pl.Expr]:
    """Filters for one group's rows."""
    return [pl.col(name) == value for name, value in zip(GROUP, group, strict=True)]


def n_labels(results: Place) -> pl.DataFrame:
    """Number of label words of every task of every model: model, task, n_labels."""
    units = counted(results, "units")
    count = pl.col("label_words").str.split(" ").list.len().max().cast(pl.Int64)
    return units.group_by("model", "task").agg(n_labels=count).collect()


def full_accuracy(results: Place, group: tuple) -> dict[tuple[int, Prompt], float]:
    """The full model's test accuracy of every (step, prompt) of a group."""
    rows = counted(results, "prompt_scores").filter(
        *of_group(group), pl.col("split") == "test", pl.col("method") == "full"
    )
    columns = rows.select("step", "template", "demo_seed", "accuracy").collect(engine="streaming")
    return {(step, (template, seed)): accuracy for step, template, seed, accuracy in columns.iter_rows()}


def mean_sd(values: Sequence[float] | np.ndarray) -> tuple[float | None, float | None]:
    """Mean and SD of the values that are numbers; None where there are too few."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None, float(values.std(ddof=1)) if len(values) > 1 else None
