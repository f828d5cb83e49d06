"""The null of the best and the worst component: their accuracy on permuted labels, and thresholds from it."""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from analysis.reading.answers import RowGroups, StepAnswers
from analysis.statistics.replicates import Permuted, halves_of, permuted


def permuted_extremes(answers: StepAnswers) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Accuracy of the best and of the worst component under every permutation, (permutation,) each, by prompt.

    The permutations are those of the null of the curves (`analysis.statistics.curves`).
    """
    permutations = _permuted(tuple(answers.gold.tolist()), answers.example_id, answers.n_labels, answers.row_groups)
    unit = answers.credit_unit
    for prompt in range(len(answers.prompts)):
        blocks = permutations.blocks([prompt], [answers.credit_counts(prompt, unit)])
        extremes = [_extremes(block) for block in blocks]
        best, worst = np.concatenate(extremes, 1)[:, 1:] / (unit * len(answers.gold))
        yield best, worst


def _extremes(counts: np.ndarray) -> np.ndarray:
    """(half, 1, replicate, component) -> (2, replicate), the largest and the smallest of both halves together."""
    total = counts[0, 0] + counts[1, 0]
    return np.stack([total.max(1), total.min(1)])


@lru_cache(maxsize=2)
def _permuted(gold: tuple[int, ...], example_id: tuple[str, ...], n_labels: int, groups: RowGroups) -> Permuted:
    labels = np.array(gold)
    return permuted(labels, halves_of(labels, example_id, groups), n_labels, groups=groups)


def family_thresholds(best: np.ndarray, worst: np.ndarray, level: float) -> tuple[float, float]:
    """Accuracies beyond which a component is good (above) or bad (below), each at a family-wise level.

    A component is good when `(1 + #{permutations whose best component is as good}) / (1 + #permutations) <= level`,
    which is the same as being above the k-th largest of the permuted maxima, `k = floor(level * (1 + #permutations))`.
    So with labels that mean nothing, the chance that any component of a prompt is called good is at most `level`.

    Args:
        best, worst: (permutation,) of one prompt, from `permuted_extremes`.
        level: probability of one or more false discoveries among all components of a prompt.

    Returns:
        Upper and lower threshold; a component must lie strictly beyond.
    """
    k = int(level * (1 + len(best)) + 1e-9)
    if k < 1:
        raise ValueError(f"level {level} needs at least {math.ceil(1 / level) - 1} permutations, not {len(best)}")
    return float(np.sort(best)[-k]), float(np.sort(worst)[k - 1])
