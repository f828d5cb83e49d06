"""The `predictions` table as arrays: what every component and the full model answered, step by step."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.loading import counted
from dynamics import scores
from dynamics.components import candidate_indices
from dynamics.errors import StoreError
from dynamics.storage import Place

GROUP = ["model", "dtype", "control", "task", "n_shots"]
"""What one curve is drawn for; prompts (template, demo_seed) are what it is averaged over."""


@dataclass(frozen=True)
class StepAnswers:
    """Answers at one step of one group.

    Attributes:
        group: the values of `GROUP`.
        step, tokens_seen: when.
        prompts: (prompt,) names, `template/seed`, sorted.
        components: (component,) names of the candidates: heads and MLPs.
        gold: (example,), the same for all prompts; examples that every prompt was asked.
        credit: (prompt, example, component, label), 1/n_tied at every label a component predicts.
        full: (prompt, example, label), the same for the full model.
    """

    group: tuple
    step: int
    tokens_seen: int | None
    prompts: tuple[str, ...]
    components: tuple[str, ...]
    gold: np.ndarray
    credit: np.ndarray
    full: np.ndarray


def groups(results: Place) -> list[tuple]:
    """The groups there are, sorted."""
    return counted(results, "units").select(GROUP).unique().sort(GROUP).collect().rows()


def all_answers(results: Place) -> Iterator[StepAnswers]:
    """Every group's answers at every step.

    Raises:
        StoreError: no finished unit has predictions of components.
    """
    found = False
    for group in groups(results):
        for at in answers(results, group):
            found = True
            yield at
    if not found:
        raise StoreError(f"{results} holds no predictions of heads and MLPs; sweep units that are decomposed")


def answers(results: Place, group: tuple) -> Iterator[StepAnswers]:
    """The group's test answers, one step at a time in ascending order, so that memory holds one step only.

    An example that some prompt of the step could not be asked (too long for the context) is left out of all of them,
    so that every prompt is scored on the same rows; a step without a row left is left out.
    """
    mine = pl.all_horizontal(pl.col(name) == value for name, value in zip(GROUP, group, strict=True))
    rows = counted(results, "predictions").filter(mine, pl.col("split") == "test", pl.col("predictions").is_not_null())
    steps = rows.select("step", "tokens_seen").unique().sort("step").collect(engine="streaming")
    for step, tokens_seen in steps.iter_rows():
        asked = _asked_everywhere(rows.filter(pl.col("step") == step).collect(engine="streaming"))
        if len(asked):
            yield _step(asked, group, step, tokens_seen)


def _asked_everywhere(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the examples that every prompt has."""
    n_prompts = rows.select("template", "demo_seed").n_unique()
    return rows.filter(pl.len().over("example_id") == n_prompts)


def _step(rows: pl.DataFrame, group: tuple, step: int, tokens_seen: int | None) -> StepAnswers:
    rows = rows.with_columns(prompt=pl.format("{}/{}", "template", "demo_seed")).sort("prompt", "example_id")
    prompts = tuple(rows["prompt"].unique().sort())
    names = rows["components"][0].split(" ")
    keep = candidate_indices(names)
    shape = (len(prompts), len(rows) // len(prompts))
    gold = rows["gold"].to_numpy().reshape(shape)
    if (gold != gold[0]).any() or rows["example_id"].n_unique() != shape[1]:
        raise StoreError(
            f"prompts of {dict(zip(GROUP, group, strict=True))} at step {step} have different test rows, so no curve "
            "is their mean; sweep them with one n_test into one folder"
        )
    n_labels = int(rows["n_labels"][0])
    labels = _matrix(rows["predictions"], len(names)).reshape(*shape, -1)[..., keep]
    tied = _matrix(rows["tied"].fill_null([0] * len(names)), len(names)).reshape(*shape, -1)[..., keep]
    full = rows["full"].to_numpy().reshape(shape)
    full_tied = rows["full_tied"].fill_null(0).to_numpy().reshape(shape)
    return StepAnswers(
        group=group,
        step=step,
        tokens_seen=tokens_seen,
        prompts=prompts,
        components=tuple(names[i] for i in keep),
        gold=gold[0],
        credit=scores.decode(labels, tied, n_labels),
        full=scores.decode(full, full_tied, n_labels),
    )


def _matrix(lists: pl.Series, width: int) -> np.ndarray:
    """A list column of equal lengths as (row, width)."""
    return lists.explode().to_numpy().reshape(-1, width)
