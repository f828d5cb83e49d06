"""What luck gives: accuracies on permuted labels, the same permutations for all components, prompts and checkpoints."""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from analysis.reading.answers import StepAnswers, earned, unit_of

N_PERMUTATIONS, NULL_SEED = 1000, 0


def null_accuracy(credit: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """Accuracy of every component on permuted labels, as exact counts.

    Credits are multiples of 1/n_tied; times the least common multiple of all possible n_tied they are integers, whose
    sums float32 holds exactly up to 2^24, so that one matrix product counts without rounding.

    Args:
        credit: (prompt, example, component, label).
        permuted: (example, label, permutation), one-hot permuted labels from `permuted_labels`.

    Returns:
        (prompt, component, permutation).
    """
    n_prompts, n_examples, n_components, n_labels = credit.shape
    unit = math.lcm(*range(1, n_labels + 1))
    dtype = np.float32 if n_examples * unit < 2**24 else np.float64
    shares = np.rint(credit * unit).astype(dtype).transpose(0, 2, 1, 3).reshape(n_prompts * n_components, -1)
    counts = shares @ permuted.reshape(n_examples * n_labels, -1).astype(dtype, copy=False)
    return counts.astype(np.float64).reshape(n_prompts, n_components, -1) / (unit * n_examples)


def null_by_prompt(at: StepAnswers) -> Iterator[np.ndarray]:
    """Every prompt's accuracies on permuted labels, (component, permutation) each, one prompt held at a time."""
    permuted = permuted_labels(tuple(at.gold.tolist()), at.n_labels)
    unit = unit_of(at.tied)
    for prompt in range(len(at.prompts)):
        tied = None if at.tied is None else at.tied[[prompt]]
        yield null_accuracy(earned(at.labels[[prompt]], tied, at.n_labels, unit) / unit, permuted)[0]


@lru_cache(maxsize=2)
def permuted_labels(gold: tuple[int, ...], n_labels: int) -> np.ndarray:
    """The one set of permuted labels, one-hot (example, label, permutation), that all components and steps share."""
    rng = np.random.default_rng(NULL_SEED)
    orders = np.stack([rng.permutation(len(gold)) for _ in range(N_PERMUTATIONS)], 1)
    return np.eye(n_labels, dtype=np.float32)[np.array(gold)[orders]].transpose(0, 2, 1).copy()


def family_thresholds(null: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies beyond which a component is good (above) or bad (below), each at a family-wise level.

    A component is good when `(1 + #{permutations whose best component is as good}) / (1 + #permutations) <= level`,
    which is the same as being above the k-th largest of the permuted maxima, `k = floor(level * (1 + #permutations))`.
    So with labels that mean nothing, the chance that any component of a prompt is called good is at most `level`.

    Args:
        null: (prompt, component, permutation), from `null_accuracy`.
        level: probability of one or more false finds among all components of a prompt.

    Returns:
        (prompt,) upper and (prompt,) lower thresholds: strictly beyond counts.
    """
    k = int(level * (1 + null.shape[-1]) + 1e-9)
    if k < 1:
        raise ValueError(f"level {level} needs at least {math.ceil(1 / level) - 1} permutations, not {null.shape[-1]}")
    return np.sort(null.max(1), -1)[:, -k], np.sort(null.min(1), -1)[:, k - 1]
