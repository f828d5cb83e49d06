"""Do the same components do well under another prompt? (Paper: Pearson r and IoU of top 5; section 4.)

Two prompts of a task at one step are compared in two ways: Pearson's r between their vectors of component accuracies,
and the Jaccard index (IoU) `|A & B| / |A | B|` of their sets of the `TOP` most accurate components. Pairs of prompts:

- `demonstrations`: same template, different demonstration seeds;
- `templates`: same seed, different templates (the contrastive template left out);
- `contrast`: same seed, the task's contrastive pair.

A tie for the last place among the top is broken at random, for each prompt on its own: components that all answer at
chance must not count as agreement because they stand in the same order everywhere.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import comb

import numpy as np
import polars as pl

from analysis.reading.accuracies import Prompt, StepAccuracies, accuracies, mean_sd
from analysis.reading.answers import GROUP, groups
from analysis.reading.pairs import CONTRAST, contrastive_pairs, is_contrastive
from dynamics.results.places import Place

TOP = 5
TIE_SEED = 0
_SCHEMA = {
    **dict.fromkeys(GROUP, pl.String),
    "n_shots": pl.Int64,
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
    named = contrastive_pairs(results)
    rows = [row for group in groups(results) for at in accuracies(results, group) for row in _rows(at, named)]
    return pl.DataFrame(rows, schema=_SCHEMA)


def pearson(accuracy: np.ndarray) -> np.ndarray:
    """Pearson's r between all rows of (prompt, component): (prompt, prompt), NaN where a row is constant."""
    centred = accuracy - accuracy.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1)
    norm = np.where(norm > 1e-9, norm, np.nan)
    return np.clip(centred @ centred.T / np.outer(norm, norm), -1, 1)


def top_sets(accuracy: np.ndarray, top: int = TOP, *, seed: int = TIE_SEED) -> np.ndarray:
    """Which components are among the `top` most accurate: (prompt, component) -> bool; ties at random, per prompt."""
    tie = np.random.default_rng(seed).random(accuracy.shape)
    order = np.lexsort((tie, -np.round(accuracy, 9)), axis=1)
    sets = np.zeros(accuracy.shape, bool)
    np.put_along_axis(sets, order[:, :top], True, axis=1)
    return sets


def iou(sets: np.ndarray) -> np.ndarray:
    """Jaccard index between all rows of (prompt, component) bool: (prompt, prompt)."""
    both = sets.astype(float) @ sets.T.astype(float)
    size = sets.sum(1)
    return both / (size[:, None] + size[None] - both)


def iou_by_luck(n_components: int, top: int = TOP) -> float:
    """Expected IoU of two random sets of `top` among n: `sum_k P(k shared) k / (2 top - k)`, k hypergeometric."""
    top = min(top, n_components)
    shared = range(max(0, 2 * top - n_components), top + 1)
    ways = comb(n_components, top)
    return sum(comb(top, k) * comb(n_components - top, top - k) / ways * k / (2 * top - k) for k in shared)


def pairs_of(prompts: tuple[Prompt, ...], task: str, named: Mapping[str, str]) -> dict[str, list[tuple[int, int]]]:
    """The pairs of prompts, by what they differ in, as indices; `named` from `contrastive_pairs`; no empty kinds."""
    found: dict[str, list[tuple[int, int]]] = {}
    for i, j in combinations(range(len(prompts)), 2):
        (template, seed), (other, other_seed) = prompts[i], prompts[j]
        if template == other:
            found.setdefault("demonstrations", []).append((i, j))
        elif seed == other_seed and is_contrastive(named, task, template, other):
            found.setdefault("contrast", []).append((i, j))
        elif seed == other_seed and CONTRAST not in (template, other):
            found.setdefault("templates", []).append((i, j))
    return found


def _rows(at: StepAccuracies, named: Mapping[str, str]) -> Iterator[dict[str, object]]:
    r, overlap = pearson(at.accuracy), iou(top_sets(at.accuracy))
    keys = dict(zip(GROUP, at.group, strict=True))
    for across, pairs in sorted(pairs_of(at.prompts, str(keys["task"]), named).items()):
        i, j = np.array(pairs).T
        r_mean, r_sd = mean_sd(r[i, j])
        iou_mean, iou_sd = mean_sd(overlap[i, j])
        yield {
            **keys,
            "step": at.step,
            "across": across,
            "r": r_mean,
            "r_sd": r_sd,
            "iou": iou_mean,
            "iou_sd": iou_sd,
            "n_pairs": len(pairs),
            "n_without_r": int(np.isnan(r[i, j]).sum()),
            "top": min(TOP, len(at.components)),
            "iou_by_luck": iou_by_luck(len(at.components)),
        }
