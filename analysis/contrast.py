"""A small change of wording: does it upset the components as much as the full model? (Paper, Figure 2.)

For two templates of a task and each demonstration seed, the components that are best under one template (`T1`, and the
mean of the five best, `top-5`) are scored under it and, the same components, under the other; `Full` beside them. The
published pairs differ by a space, a line break or the capitals of the label words; they are marked `contrastive`. Other
pairs of templates are there too, for tasks without such a pair.
"""

from collections.abc import Iterator, Mapping
from itertools import permutations

import numpy as np
import polars as pl

from analysis.reading.accuracies import (
    FullAccuracy,
    Prompt,
    StepAccuracies,
    mean_sd,
    read_accuracies,
    read_full_accuracy,
)
from analysis.reading.groups import GROUP_SCHEMA, groups
from analysis.reading.task_facts import contrastive_pairs, is_contrastive
from analysis.statistics.top_components import TOP, top_sets
from dynamics.results.places import Place

TOP_CURVE = f"top-{TOP}"
_SCHEMA = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    "template": pl.String,
    "partner": pl.String,
    "contrastive": pl.Boolean,
    "curve": pl.String,
    "accuracy": pl.Float64,
    "sd": pl.Float64,
    "partner_accuracy": pl.Float64,
    "partner_sd": pl.Float64,
    "gap": pl.Float64,
    "n_seeds": pl.Int64,
}


def contrast(results: Place) -> pl.DataFrame:
    """Accuracy under a template and, of the components chosen there, under another.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, template, partner, curve), both orders of a pair:
        contrastive, accuracy and sd under `template` (where components are chosen, on the test rows), partner_accuracy
        and partner_sd under `partner`, gap (mean over seeds of |difference|), n_seeds.
    """
    rows: list[dict[str, object]] = []
    contrastive = contrastive_pairs(results)
    for group in groups(results):
        full = read_full_accuracy(results, group)
        rows += [row for step in read_accuracies(results, group) for row in _rows(step, full, contrastive)]
    return pl.DataFrame(rows, schema=_SCHEMA)


def _rows(step: StepAccuracies, full: FullAccuracy, contrastive: Mapping[str, str]) -> Iterator[dict[str, object]]:
    best, top = top_sets(step.accuracy, 1), top_sets(step.accuracy)
    full_accuracy = full.at(step.step, step.prompts)
    templates = sorted({template for template, _ in step.prompts})
    for template, partner in permutations(templates, 2):
        own, other = _shared_seeds(step.prompts, template, partner)
        if not own:
            continue
        curves = {
            "Full": (full_accuracy[own], full_accuracy[other]),
            "T1": _of_own_set(step.accuracy, best, own, other),
            TOP_CURVE: _of_own_set(step.accuracy, top, own, other),
        }
        for curve, (accuracy, partner_accuracy) in curves.items():
            mean, sd = mean_sd(accuracy)
            partner_mean, partner_sd = mean_sd(partner_accuracy)
            yield {
                **step.group.keys,
                "step": step.step,
                "template": template,
                "partner": partner,
                "contrastive": is_contrastive(contrastive, step.group.task, template, partner),
                "curve": curve,
                "accuracy": mean,
                "sd": sd,
                "partner_accuracy": partner_mean,
                "partner_sd": partner_sd,
                "gap": mean_sd(np.abs(accuracy - partner_accuracy))[0],
                "n_seeds": len(own),
            }


def _shared_seeds(prompts: tuple[Prompt, ...], template: str, partner: str) -> tuple[list[int], list[int]]:
    """Prompts of both templates with the same seed, as indices in the same order."""
    index = {prompt: i for i, prompt in enumerate(prompts)}
    seeds = [seed for name, seed in prompts if name == template and (partner, seed) in index]
    return [index[template, seed] for seed in seeds], [index[partner, seed] for seed in seeds]


def _of_own_set(
    accuracy: np.ndarray, sets: np.ndarray, own: list[int], other: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean accuracy of each prompt's own set of components under the prompt and under its partner."""
    size = sets[own].sum(1)
    return (accuracy[own] * sets[own]).sum(1) / size, (accuracy[other] * sets[own]).sum(1) / size
