"""The `mechanisms` table as arrays: what was measured on the heads of a checkpoint, or of one under every prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.reading.accuracies import Prompt
from analysis.reading.groups import Group
from analysis.reading.result_tables import valid_rows
from dynamics.components import parse_component
from dynamics.results.places import Place

OF_CHECKPOINTS = ("previous_token", "duplicate_token", "prefix_matching", "copying")
"""Measures that need no prompts: one value a head, stored with one unit of the checkpoint."""


@dataclass(frozen=True)
class PromptMeasure:
    """One measure under every prompt of a step.

    Attributes:
        value: (prompt, component), NaN for a component that is no head.
        row_sd: (prompt, component), its standard deviation by sampling test rows.
    """

    value: np.ndarray
    row_sd: np.ndarray


def read_prompt_measures(
    results: Place, group: Group, step: int, prompts: Sequence[Prompt], components: Sequence[str], names: Sequence[str]
) -> dict[str, PromptMeasure] | None:
    """Measures by name; None where a prompt or a head lacks one of them."""
    wanted = pl.DataFrame([*prompts], schema={"template": pl.String, "demo_seed": pl.Int64}, orient="row")
    rows = valid_rows(results, "mechanisms").filter(
        group.matches, pl.col("step") == step, pl.col("measure").is_in(list(names)), pl.col("value").is_not_null()
    )
    columns = rows.select("template", "demo_seed", "measure", "component", "value", "sd", "n").collect()
    columns = columns.unique(["template", "demo_seed", "measure", "component"], maintain_order=True)
    columns = columns.join(wanted, on=["template", "demo_seed"], how="semi")
    heads = [name for name in components if parse_component(name).kind == "head"]
    if len(columns) != len(names) * len(prompts) * len(heads):
        return None
    place = {prompt: i for i, prompt in enumerate(prompts)}
    column = {name: i for i, name in enumerate(components)}
    found = {}
    for name in names:
        value = np.full((2, len(prompts), len(components)), np.nan)
        for template, seed, _, component, mean, sd, n in columns.filter(measure=name).iter_rows():
            value[:, place[template, seed], column[component]] = mean, (sd or 0.0) / np.sqrt(n)
        found[name] = PromptMeasure(*value)
    return found


def read_checkpoint_measures(results: Place) -> pl.LazyFrame:
    """Measures of heads that need no prompts: model, dtype, control, step, component, measure, value."""
    rows = valid_rows(results, "mechanisms").filter(pl.col("measure").is_in(OF_CHECKPOINTS))
    return rows.group_by("model", "dtype", "control", "step", "component", "measure").agg(pl.col("value").mean())
