"""Sources of the variance of accuracy between prompts: template, demonstrations, rest and test rows.

Test accuracy under template t and demonstration set s is taken as `a_ts = mu + T_t + S_s + R_ts + E_ts`: independent
effects of the template, of the demonstrations and of their combination (`rest`), and the error of a finite test set.

*Variances between prompts* are Henderson's third method: sums of squares of least-squares fits with and without an
effect, set equal to their expectations. It is unbiased for any pattern of missing prompts and equals the two-way
analysis of variance where none is missing.

*Test rows*: all prompts are scored on the same rows, so the errors E_ts are correlated and inflate all three sources,
each by `tr(Q C)`, where the estimate is `a' Q a` and C is the covariance of the prompts' errors, from the covariance of
their hits over test rows. This is subtracted from each source, and its sum is the fourth source, `test_rows`. It is
smaller than the binomial `p (1 - p) / n`, most of which is common to all prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SOURCES = ("template", "demonstrations", "rest", "test_rows")


@dataclass(frozen=True)
class VarianceSplit:
    """Estimates of the sources at one step, one entry per subject.

    Attributes:
        accuracy: (subject,) mean over prompts.
        estimates: source -> (subject,), in squared accuracy; None where the prompts cannot identify the source.
    """

    accuracy: np.ndarray
    estimates: Mapping[str, np.ndarray | None]


def quadratic_forms(prompts: Sequence[tuple[str, int]]) -> dict[str, np.ndarray | None]:
    """The matrices Q of the estimates `a' Q a` of the variances of template, demonstrations and rest.

    With P the projections on the effects and M = 1 - P, `rest = a' M_TS a / df` and
    `template = (a' (P_TS - P_S) a - (rank_TS - rank_S) rest) / tr(Z_T' M_S Z_T)`.

    Args:
        prompts: (template, demo_seed), each once.

    Returns:
        source -> (prompt, prompt), None where the source cannot be separated from the others.
    """
    n = len(prompts)
    z_template, z_seed = (_indicators([prompt[i] for prompt in prompts]) for i in (0, 1))
    both = _projection(np.hstack([z_template, z_seed]))
    df = n - round(np.trace(both))
    others = {"template": (z_template, _projection(z_seed)), "demonstrations": (z_seed, _projection(z_template))}
    scales = {name: np.trace(z.T @ (np.eye(n) - other) @ z) for name, (z, other) in others.items()}
    if df < 1 or min(scales.values()) < 1e-9:
        centred = np.eye(n) - 1 / n
        return {"template": None, "demonstrations": None, "rest": centred / (n - 1) if n > 1 else None}
    rest = (np.eye(n) - both) / df
    forms: dict[str, np.ndarray | None] = {"rest": rest}
    for name, (_, other) in others.items():
        n_effects = round(np.trace(both) - np.trace(other))
        forms[name] = (both - other - n_effects * rest) / scales[name]
    return forms


def sampling_covariance(hits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Covariance of prompts' accuracies due to the choice of test rows, drawn within gold labels.

    `sum_y n_y^2 / n^2 * cov(hits of rows with label y) / n_y`; labels with a single row are taken together.

    Args:
        hits: (prompt, example, subject), 1 where right; ties 1/n_tied.
        gold: (example,).

    Returns:
        (subject, prompt, prompt).
    """
    counts = np.bincount(gold)
    strata = np.where(counts[gold] > 1, gold, -1)
    total = np.zeros((hits.shape[2], hits.shape[0], hits.shape[0]))
    for label in np.unique(strata):
        of_label = hits[:, strata == label].transpose(2, 0, 1).astype(float)
        n = of_label.shape[2]
        centred = of_label - of_label.mean(2, keepdims=True)
        if n > 1:
            total += centred @ centred.transpose(0, 2, 1) * (n / (n - 1))
    return total / len(gold) ** 2


def split_variance(prompts: Sequence[tuple[str, int]], hits: np.ndarray, gold: np.ndarray) -> VarianceSplit:
    """The four variances of every subject.

    Args:
        prompts: (template, demo_seed).
        hits: (prompt, example, subject).
        gold: (example,).
    """
    forms = quadratic_forms(prompts)
    accuracy, error = hits.mean(1, dtype=float), sampling_covariance(hits, gold)
    estimates: dict[str, np.ndarray | None] = dict.fromkeys(SOURCES)
    for source, form in forms.items():
        if form is not None:
            by_test_rows = np.einsum("pq,spq->s", form, error)
            estimates[source] = _exact_zero(((form @ accuracy) * accuracy).sum(0) - by_test_rows)
            total = estimates["test_rows"]
            estimates["test_rows"] = by_test_rows if total is None else total + by_test_rows
    return VarianceSplit(accuracy.mean(0), estimates)


def _exact_zero(values: np.ndarray) -> np.ndarray:
    """0 where only rounding keeps a number from it: its sign would say that an estimate was negative."""
    return np.where(np.abs(values) < 1e-12, 0.0, values)


def _projection(columns: np.ndarray) -> np.ndarray:
    return columns @ np.linalg.pinv(columns)


def _indicators(values: Sequence[object]) -> np.ndarray:
    """(prompt, level) of a factor, with at least one column."""
    levels = sorted(set(values), key=str)
    return np.array([[float(value == level) for level in levels] for value in values])
