"""Which label each component answers on the rows of each gold label; accuracy, shares and recalls follow."""

import numpy as np

from analysis.reading.answers import StepAnswers, earned, unit_of


def confusion(at: StepAnswers) -> np.ndarray:
    """Number of test rows by answer and gold label, one prompt held at a time.

    Returns:
        (prompt, component, answered, gold); ties count 1/n_tied.
    """
    unit = unit_of(at.tied)
    return np.stack([_of_prompt(at, prompt, unit) for prompt in range(len(at.prompts))]) / unit


def accuracy(counts: np.ndarray) -> np.ndarray:
    """(..., answered, gold) -> (...), the share of rows answered right."""
    return np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1))


def shares(counts: np.ndarray) -> np.ndarray:
    """(..., answered, gold) -> (..., answered), how often each label is answered."""
    return counts.sum(-1) / counts.sum((-2, -1))[..., None]


def recalls(counts: np.ndarray) -> np.ndarray:
    """(..., answered, gold) -> (..., label), accuracy on each label's own rows; NaN for a label without rows."""
    rows = counts.sum(-2)
    return np.diagonal(counts, axis1=-2, axis2=-1) / np.where(rows > 0, rows, np.nan)


def _of_prompt(at: StepAnswers, prompt: int, unit: int) -> np.ndarray:
    """(component, answered, gold), `unit` times the counts."""
    tied = None if at.tied is None else at.tied[prompt]
    mine = earned(at.labels[prompt], tied, at.n_labels, unit)
    return np.stack([mine[at.gold == label].sum(0, dtype=np.int32) for label in range(at.n_labels)], -1)
