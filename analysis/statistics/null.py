"""What luck gives: the best and the worst of all components on permuted labels, with the permutations of the curves."""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from analysis.reading.answers import StepAnswers, earned, unit_of
from analysis.statistics.relabelling import Permuted, halves_of, permuted


def lucky_and_unlucky(at: StepAnswers) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Accuracy of the best and of the worst component under every permutation, (permutation,) each, by prompt."""
    ways = _permuted(tuple(at.gold.tolist()), at.example_id, at.n_labels)
    unit = unit_of(at.tied)
    for prompt in range(len(at.prompts)):
        tied = None if at.tied is None else at.tied[prompt]
        mine = earned(at.labels[prompt], tied, at.n_labels, unit)
        extremes = [_extremes(block) for block in ways.blocks([prompt], [mine])]
        best, worst = np.concatenate(extremes, 1)[:, 1:] / (unit * len(at.gold))
        yield best, worst


def _extremes(counts: np.ndarray) -> np.ndarray:
    """(half, 1, replicate, component) -> (2, replicate), the most and the least on both halves."""
    whole = counts[0, 0] + counts[1, 0]
    return np.stack([whole.max(1), whole.min(1)])


@lru_cache(maxsize=2)
def _permuted(gold: tuple[int, ...], example_id: tuple[str, ...], n_labels: int) -> Permuted:
    labels = np.array(gold)
    return permuted(labels, halves_of(labels, example_id), n_labels)


def family_thresholds(best: np.ndarray, worst: np.ndarray, level: float) -> tuple[float, float]:
    """Accuracies beyond which a component is good (above) or bad (below), each at a family-wise level.

    A component is good when `(1 + #{permutations whose best component is as good}) / (1 + #permutations) <= level`,
    which is the same as being above the k-th largest of the permuted maxima, `k = floor(level * (1 + #permutations))`.
    So with labels that mean nothing, the chance that any component of a prompt is called good is at most `level`.

    Args:
        best, worst: (permutation,) of one prompt, from `lucky_and_unlucky`.
        level: probability of one or more false finds among all components of a prompt.

    Returns:
        Upper and lower threshold: strictly beyond counts.
    """
    k = int(level * (1 + len(best)) + 1e-9)
    if k < 1:
        raise ValueError(f"level {level} needs at least {math.ceil(1 / level) - 1} permutations, not {len(best)}")
    return float(np.sort(best)[-k]), float(np.sort(worst)[k - 1])
