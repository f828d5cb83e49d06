"""Test accuracies of heads and MLPs as one (prompt, component) matrix per step, from `component_scores`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from analysis.reading.groups import Group
from analysis.reading.result_tables import valid_rows
from dynamics.results.places import Place

Prompt = tuple[str, int]
"""(template, demo_seed)."""

_COLUMNS = ("step", "template", "demo_seed", "layer", "kind", "head", "component", "accuracy", "mean_gap")


@dataclass(frozen=True)
class StepAccuracies:
    """Accuracies at one step of one group.

    Attributes:
        group: whose.
        step: optimiser steps.
        prompts: (prompt,) as (template, demo_seed), sorted.
        components: (component,) names of the candidates, heads before the MLP in each layer.
        accuracy: (prompt, component) on the test rows.
        gaps: (prompt, component) mean gap of the two largest logits, by which ties go; None where results lack it.
    """

    group: Group
    step: int
    prompts: tuple[Prompt, ...]
    components: tuple[str, ...]
    accuracy: np.ndarray
    gaps: np.ndarray | None = None

    def of_prompts(self, prompts: Sequence[Prompt]) -> "StepAccuracies":
        """The accuracies of some prompts."""
        index = [self.prompts.index(prompt) for prompt in prompts]
        gaps = None if self.gaps is None else self.gaps[index]
        return replace(self, prompts=tuple(prompts), accuracy=self.accuracy[index], gaps=gaps)


def read_accuracies(results: Place, group: Group) -> Iterator[StepAccuracies]:
    """The group's matrices, steps ascending."""
    rows = valid_rows(results, "component_scores").filter(
        group.matches, pl.col("split") == "test", pl.col("kind").is_in(["head", "mlp"])
    )
    by_step = rows.select(_COLUMNS).collect(engine="streaming").partition_by("step", as_dict=True)
    for (step,), of_step in sorted(by_step.items()):
        of_step = of_step.sort("template", "demo_seed", "layer", "kind", "head")
        prompts = of_step.select("template", "demo_seed").unique(maintain_order=True).rows()
        accuracy = of_step["accuracy"].to_numpy().reshape(len(prompts), -1)
        components = tuple(of_step["component"][: accuracy.shape[1]])
        has_gaps = of_step["mean_gap"].null_count() == 0
        gaps = of_step["mean_gap"].to_numpy().reshape(accuracy.shape) if has_gaps else None
        yield StepAccuracies(group, int(step), tuple(prompts), components, accuracy, gaps)


def read_at_common_prompts(results: Place, group: Group) -> list[StepAccuracies]:
    """The group's matrices of the prompts that every step has, so that a curve does not change what it averages."""
    steps = list(read_accuracies(results, group))
    common: set[Prompt] = set.intersection(*(set(step.prompts) for step in steps)) if steps else set()
    return [step.of_prompts(sorted(common)) for step in steps] if common else []


def method_scores(results: Place) -> pl.LazyFrame:
    """Test rows of `prompt_scores`."""
    return valid_rows(results, "prompt_scores").filter(pl.col("split") == "test")


@dataclass(frozen=True)
class FullAccuracy:
    """The full model's test accuracy by (step, prompt)."""

    by_prompt: Mapping[tuple[int, Prompt], float]

    def at(self, step: int, prompts: Sequence[Prompt]) -> np.ndarray:
        """Accuracies at one step (prompt,), NaN for a prompt that has none."""
        return np.array([self.by_prompt.get((step, prompt), np.nan) for prompt in prompts])


def read_full_accuracy(results: Place, group: Group) -> FullAccuracy:
    """The full model's test accuracies of a group."""
    rows = method_scores(results).filter(group.matches, pl.col("method") == "full")
    columns = rows.select("step", "template", "demo_seed", "accuracy").collect(engine="streaming")
    return FullAccuracy({(step, (template, seed)): value for step, template, seed, value in columns.iter_rows()})


def mean_sd(values: Sequence[float] | np.ndarray) -> tuple[float | None, float | None]:
    """Mean and SD of the values that are numbers; None where there are too few."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None, float(values.std(ddof=1)) if len(values) > 1 else None


def mean_sd_columns(**values: Sequence[float] | np.ndarray) -> dict[str, float | None]:
    """Mean and SD of each, as the columns NAME and NAME_sd of a row."""
    columns: dict[str, float | None] = {}
    for name, numbers in values.items():
        columns[name], columns[f"{name}_sd"] = mean_sd(numbers)
    return columns
