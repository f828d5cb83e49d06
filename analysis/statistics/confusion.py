"""Confusion counts of every component, by answer and gold label; accuracy, label shares and recalls from them."""

import numpy as np

from analysis.reading.answers import StepAnswers


def confusion(answers: StepAnswers) -> np.ndarray:
    """Number of test rows by answer and gold label; memory holds one prompt's credit at a time.

    Returns:
        (prompt, component, answered, gold); ties count 1/n_tied.
    """
    unit = answers.credit_unit
    return np.stack([_of_prompt(answers, prompt, unit) for prompt in range(len(answers.prompts))]) / unit


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


def _of_prompt(answers: StepAnswers, prompt: int, unit: int) -> np.ndarray:
    """(component, answered, gold), `unit` times the counts."""
    credit = answers.credit_counts(prompt, unit)
    by_gold = [credit[answers.gold == label].sum(0, dtype=np.int32) for label in range(answers.n_labels)]
    return np.stack(by_gold, -1)
