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

from analysis.consistency import TOP, top_sets
from analysis.reading.accuracies import Prompt, StepAccuracies, accuracies, full_accuracy, mean_sd
from analysis.reading.answers import GROUP, groups
from analysis.reading.pairs import contrastive_pairs, is_contrastive
from dynamics.results.places import Place

TOP_CURVE = f"top-{TOP}"
_SCHEMA = {
    **dict.fromkeys(GROUP, pl.String),
    "n_shots": pl.Int64,
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
    """Accuracy under a template and, the components chosen there, under another.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, template, partner, curve), both orders of a pair:
        contrastive, accuracy and sd under `template` (where components are chosen, on the test rows), partner_accuracy
        and partner_sd under `partner`, gap (mean over seeds of |difference|), n_seeds.
    """
    rows: list[dict[str, object]] = []
    named = contrastive_pairs(results)
    for group in groups(results):
        full = full_accuracy(results, group)
        rows += [row for at in accuracies(results, group) for row in _rows(at, full, named)]
    return pl.DataFrame(rows, schema=_SCHEMA)


def _rows(
    at: StepAccuracies, full: dict[tuple[int, Prompt], float], named: Mapping[str, str]
) -> Iterator[dict[str, object]]:
    keys = dict(zip(GROUP, at.group, strict=True))
    best, top = top_sets(at.accuracy, 1), top_sets(at.accuracy)
    whole = np.array([[full.get((at.step, prompt), np.nan)] for prompt in at.prompts])
    templates = sorted({template for template, _ in at.prompts})
    for template, partner in permutations(templates, 2):
        here, there = _shared_seeds(at.prompts, template, partner)
        if not here:
            continue
        curves = {
            "Full": (whole[here, 0], whole[there, 0]),
            "T1": _chosen(at.accuracy, best, here, there),
            TOP_CURVE: _chosen(at.accuracy, top, here, there),
        }
        for curve, (chosen, other) in curves.items():
            accuracy, sd = mean_sd(chosen)
            partner_accuracy, partner_sd = mean_sd(other)
            yield {
                **keys,
                "step": at.step,
                "template": template,
                "partner": partner,
                "contrastive": is_contrastive(named, str(keys["task"]), template, partner),
                "curve": curve,
                "accuracy": accuracy,
                "sd": sd,
                "partner_accuracy": partner_accuracy,
                "partner_sd": partner_sd,
                "gap": mean_sd(np.abs(chosen - other))[0],
                "n_seeds": len(here),
            }


def _shared_seeds(prompts: tuple[Prompt, ...], template: str, partner: str) -> tuple[list[int], list[int]]:
    """Prompts of both templates with the same seed, as indices in the same order."""
    place = {prompt: i for i, prompt in enumerate(prompts)}
    seeds = [seed for name, seed in prompts if name == template and (partner, seed) in place]
    return [place[template, seed] for seed in seeds], [place[partner, seed] for seed in seeds]


def _chosen(accuracy: np.ndarray, sets: np.ndarray, here: list[int], there: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Mean accuracy of each prompt's own set under the prompt and under its partner."""
    size = sets[here].sum(1)
    return (accuracy[here] * sets[here]).sum(1) / size, (accuracy[there] * sets[here]).sum(1) / size
