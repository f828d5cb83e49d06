"""Do the same components do well under another prompt? (Paper: Pearson r and IoU of top 5; section 4.)

Two prompts of a task at one step are compared in two ways: Pearson's r between their vectors of component accuracies,
and the Jaccard index (IoU) `|A & B| / |A | B|` of their sets of the `TOP` most accurate components. Pairs of prompts:

- `demonstrations`: same template, different demonstration seeds;
- `templates`: same seed, different templates (the contrastive template left out);
- `contrast`: same seed, the task's contrastive pair.

Ties for the last place among the top are broken at random (`analysis.statistics.top_components`).
"""

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import polars as pl

from analysis.reading.accuracies import Prompt, StepAccuracies, mean_sd_columns, read_accuracies
from analysis.reading.groups import GROUP_SCHEMA, groups
from analysis.reading.task_facts import CONTRAST, contrastive_pairs, is_contrastive
from analysis.statistics.top_components import TOP, iou_by_chance, top_sets
from dynamics.results.places import Place

_SCHEMA = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    "across": pl.String,
    "r": pl.Float64,
    "r_sd": pl.Float64,
    "iou": pl.Float64,
    "iou_sd": pl.Float64,
    "n_pairs": pl.Int64,
    "n_without_r": pl.Int64,
    "top": pl.Int64,
    "iou_by_luck": pl.Float64,
}


def consistency(results: Place) -> pl.DataFrame:
    """Mean and SD over pairs of prompts of r and IoU.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, across): r, r_sd, iou, iou_sd, n_pairs, n_without_r
        (pairs of which one prompt's components are all equally accurate: r is not defined, they are not in its mean),
        top (size of the sets), iou_by_luck (expected IoU of two random sets).
    """
    contrastive = contrastive_pairs(results)
    steps = (step for group in groups(results) for step in read_accuracies(results, group))
    return pl.DataFrame([row for step in steps for row in _rows(step, contrastive)], schema=_SCHEMA)


def pearson(accuracy: np.ndarray) -> np.ndarray:
    """Pearson's r between all rows of (prompt, component): (prompt, prompt), NaN where a row is constant."""
    centred = accuracy - accuracy.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1)
    norm = np.where(norm > 1e-9, norm, np.nan)
    return np.clip(centred @ centred.T / np.outer(norm, norm), -1, 1)


def iou(sets: np.ndarray) -> np.ndarray:
    """Jaccard index between all rows of (prompt, component) bool: (prompt, prompt)."""
    both = sets.astype(float) @ sets.T.astype(float)
    size = sets.sum(1)
    return both / (size[:, None] + size[None] - both)


def prompt_pairs(
    prompts: tuple[Prompt, ...], task: str, contrastive: Mapping[str, str]
) -> dict[str, list[tuple[int, int]]]:
    """The pairs of prompts, by what they differ in, as indices; kinds without a pair are left out.

    Args:
        contrastive: from `contrastive_pairs`.
    """
    pairs: dict[str, list[tuple[int, int]]] = {}
    for i, j in combinations(range(len(prompts)), 2):
        (template, seed), (other, other_seed) = prompts[i], prompts[j]
        if template == other:
            pairs.setdefault("demonstrations", []).append((i, j))
        elif seed == other_seed and is_contrastive(contrastive, task, template, other):
            pairs.setdefault("contrast", []).append((i, j))
        elif seed == other_seed and CONTRAST not in (template, other):
            pairs.setdefault("templates", []).append((i, j))
    return pairs


def _rows(step: StepAccuracies, contrastive: Mapping[str, str]) -> Iterator[dict[str, object]]:
    r, overlap = pearson(step.accuracy), iou(top_sets(step.accuracy))
    for across, pairs in sorted(prompt_pairs(step.prompts, step.group.task, contrastive).items()):
        i, j = np.array(pairs).T
        yield {
            **step.group.keys,
            "step": step.step,
            "across": across,
            **mean_sd_columns(r=r[i, j], iou=overlap[i, j]),
            "n_pairs": len(pairs),
            "n_without_r": int(np.isnan(r[i, j]).sum()),
            "top": min(TOP, len(step.components)),
            "iou_by_luck": iou_by_chance(len(step.components)),
        }
