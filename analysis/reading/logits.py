"""Stored contributions of a group, step by step, and the label logits of COMP RW from its stored weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.reading.answers import PROMPT, CommonPrompts, read_steps
from analysis.reading.groups import Group
from analysis.reading.result_tables import valid_rows
from dynamics.components import candidate_indices
from dynamics.results.contributions import contribution_arrays
from dynamics.results.places import Place

FitKey = tuple[str, int]
"""(variant, K)."""


@dataclass(frozen=True)
class StepLogits:
    """Logits at one step of one group, on the prompts and examples that every step has.

    Attributes:
        step: optimiser steps.
        components: (component,) names of heads and MLPs.
        contributions: (prompt, example, component, label) float32, of these.
        full: (prompt, example, label) float32, the full model's.
        reweighted: (variant, K) -> (prompt, example, label), of COMP RW; NaN for a prompt without the fit.
    """

    step: int
    components: tuple[str, ...]
    contributions: np.ndarray
    full: np.ndarray
    reweighted: Mapping[FitKey, np.ndarray]


def has_contributions(results: Place, common: CommonPrompts) -> bool:
    """Whether the contributions of all the group's common prompts and examples are stored."""
    counts = _contributions(results, common).group_by("step").len().collect(engine="streaming")
    n_rows = len(common.prompts) * len(common.example_id)
    return len(counts) == len(common.steps) and bool((counts["len"] == n_rows).all())


def read_logits(results: Place, common: CommonPrompts) -> Iterator[StepLogits]:
    """The group's logits, steps ascending; one step is held at a time, and the rows of as many as memory allows."""
    weights = _weights(results, common.group)
    columns = ("step", PROMPT, "example_id", "components", "contributions", "constant", "full")
    for step, rows in read_steps(_contributions(results, common).select(columns), common.steps):
        yield _step_logits(step, rows.sort("prompt", "example_id"), common, weights.filter(step=step))


def _contributions(results: Place, common: CommonPrompts) -> pl.LazyFrame:
    return valid_rows(results, "contributions").filter(
        common.group.matches,
        pl.col("split") == "test",
        PROMPT.is_in(common.prompts),
        pl.col("example_id").is_in(common.example_id),
    )


def _weights(results: Place, group: Group) -> pl.DataFrame:
    columns = ("step", PROMPT, "variant", "n_labelled", "component", "weight", "keeps_remainder")
    return valid_rows(results, "reweightings").filter(group.matches).select(columns).collect(engine="streaming")


def _step_logits(step: int, rows: pl.DataFrame, common: CommonPrompts, weights: pl.DataFrame) -> StepLogits:
    arrays = contribution_arrays(rows)
    shape = (len(common.prompts), len(common.example_id))
    candidates = candidate_indices(arrays.components)
    names = tuple(arrays.components[i] for i in candidates)
    contributions = arrays.contributions.reshape(*shape, *arrays.contributions.shape[1:])[:, :, candidates]
    full = arrays.full.reshape(*shape, -1)
    remainder = full - contributions.sum(2, dtype=np.float64)
    fits: dict[FitKey, np.ndarray] = {}
    for (variant, n_labelled), fit in weights.partition_by("variant", "n_labelled", as_dict=True).items():
        wide = {name: dict(of.select("component", "weight").iter_rows()) for (name,), of in _by_prompt(fit).items()}
        matrix = np.array([[wide.get(p, {}).get(name, np.nan) for name in names] for p in common.prompts])
        reweighted = np.einsum("pejy,pj->pey", contributions, matrix)
        fits[variant, n_labelled] = reweighted + remainder if fit["keeps_remainder"][0] else reweighted
    return StepLogits(step, names, contributions, full, dict(sorted(fits.items())))


def _by_prompt(fit: pl.DataFrame) -> dict[tuple[object, ...], pl.DataFrame]:
    return fit.partition_by("prompt", as_dict=True)
