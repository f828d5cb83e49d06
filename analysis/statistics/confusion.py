"""Which label each component answers on the rows of each gold label; accuracy, shares and recalls follow."""

import numpy as np

from analysis.reading.answers import StepAnswers, earned, unit_of


def confusion(at: StepAnswers) -> np.ndarray:
    """Number of test rows by answer and gold label, one prompt held at a time.

    Returns:
        (prompt, component, answered, gold); ties count 1/n_tied.
    """
    gold = np.eye(at.n_labels, dtype=np.float32)[at.gold]
    unit = unit_of(at.tied)
    counts = [_of_prompt(at, prompt, gold, unit) for prompt in range(len(at.prompts))]
    return np.stack(counts) / unit


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


def _of_prompt(at: StepAnswers, prompt: int, gold: np.ndarray, unit: int) -> np.ndarray:
    """(component, answered, gold), `unit` times the counts: whole numbers, exact in float32 up to 2^24 and beyond it
    in float64."""
    tied = None if at.tied is None else at.tied[prompt]
    dtype = np.float32 if len(gold) * unit < 2**24 else np.float64
    answers = earned(at.labels[prompt], tied, at.n_labels, unit).astype(dtype)
    n_examples, n_components, n_labels = answers.shape
    product = answers.reshape(n_examples, -1).T @ gold.astype(dtype)
    return product.reshape(n_components, n_labels, -1).astype(float)
