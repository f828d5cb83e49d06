"""Held-out accuracy of the variants on problems made like the real ones; prints JSON.

Each problem has heavy-tailed component scales, noise shared between components, label-biased components, and some
components that read one noisy evidence for the label, a quarter of them with the wrong sign.

`OPENBLAS_NUM_THREADS=1 python -m pytest tests/benchmarks/bench_reweighting_variants.py -m benchmark -s`
"""

import json
from itertools import product

import numpy as np
import pytest

from dynamics import scores
from dynamics.methods.reweighting import fit
from dynamics.methods.variants import VARIANTS

N_TEST = 400
CASES = list(product((27, 156, 1056), (2, 4), (12, 24), (1, 5, 15, 30), (0.3, 0.6), (1.0, 3.0, 8.0)))
NOTHING = list(product((27, 156, 1056), (2, 4), (12, 24), (0, 0), (0.0,), (0.0,)))


def problem(seed: int, n_components: int, n_labels: int, n_train: int, n_good: int, vague: float, strength: float):
    """Contributions (example, component, label), remainder, gold: `n_train` rows, then `N_TEST`."""
    rng = np.random.default_rng([seed, n_components, n_labels, n_train, n_good])
    n_rows = n_train + N_TEST
    gold = np.arange(n_rows) % n_labels
    scale = np.exp(rng.normal(size=n_components))
    scale /= np.linalg.norm(scale)
    parts = 0.5 * _shared_noise(rng, n_rows, n_components, n_labels)
    biased = np.where(rng.random(n_components) < rng.uniform(0.2, 0.7), rng.uniform(0.5, 2), 0.2)
    parts += rng.normal(size=(n_components, n_labels)) * biased[:, None]
    good = rng.permutation(n_components)[:n_good]
    evidence = np.eye(n_labels)[gold] - 1 / n_labels + vague * rng.normal(size=(n_rows, n_labels))
    sign = np.where(rng.random(len(good)) < 0.25, -1, 1)
    parts[:, good] += (sign * np.abs(rng.normal(size=len(good))) * strength)[:, None] * evidence[:, None]
    remainder = rng.normal(0, 0.2, n_labels) + rng.normal(0, 0.1, (n_rows, n_labels))
    size = np.exp(rng.normal(0.7, 0.7))
    return size * parts * scale[:, None], size * remainder, gold


def _shared_noise(rng: np.random.Generator, n_rows: int, n_components: int, n_labels: int) -> np.ndarray:
    """Unit noise, a random share of it common to many components."""
    n_factors = max(3, n_components // 30)
    loadings = rng.normal(size=(n_components, n_factors)) / np.sqrt(n_factors)
    common = np.einsum("jf,efy->ejy", loadings, rng.normal(size=(n_rows, n_factors, n_labels)))
    share = rng.uniform(0.2, 0.8)
    return np.sqrt(share) * common + np.sqrt(1 - share) * rng.normal(size=(n_rows, n_components, n_labels))


def accuracies(seed: int, case: tuple) -> dict[str, float]:
    """Test accuracy of the full model (weights of one) and of each variant."""
    contributions, remainder, gold = problem(seed, *case)
    n_train = case[2]
    logits = {"full": contributions.sum(1) + remainder}
    for name, variant in VARIANTS.items():
        fitted = fit(contributions[:n_train], gold[:n_train], variant.reweighting, remainder[:n_train])
        logits[name] = fitted(contributions, remainder)
    return {name: float(scores.accuracy(scores.credit(z[n_train:]), gold[n_train:])) for name, z in logits.items()}


def summary(table: list[dict[str, float]]) -> dict:
    """Per method: mean accuracy, and how often it is more than 1 and 5 points below the full model."""
    full = np.array([row["full"] for row in table])
    report: dict = {"problems": len(table)}
    for name in table[0]:
        loss = full - np.array([row[name] for row in table])
        report[name] = {
            "accuracy": round(float((full - loss).mean()), 3),
            "below_full_by_1": round(float((loss > 0.01).mean()), 2),
            "below_full_by_5": round(float((loss > 0.05).mean()), 2),
        }
    return report


@pytest.mark.benchmark
def test_default_against_the_other_variants() -> None:
    table = [accuracies(800_000 + i, case) for i, case in enumerate(CASES)]
    nothing = [accuracies(900_000 + i, case) for i, case in enumerate(NOTHING)]
    groups = {
        "all": table,
        "full_above_75": [row for row in table if row["full"] > 0.75],
        "full_at_most_75": [row for row in table if row["full"] <= 0.75],
        "nothing_to_find": nothing,
    }
    print(json.dumps({name: summary(rows) for name, rows in groups.items()}, indent=1))
