"""When do components solve a task, and when does the full model? Curves over training with a null band.

T1 is the best component, chosen anew at every step and prompt on the test rows it is scored on; B1 the worst. Both are
optimistic bounds: the best of many guessing components is above chance. The null band says how far: the test labels
are permuted (the same permutations for every component, prompt and step, since components are far from independent)
and the best component is chosen again. Last-T1 follows each prompt's best component at the last step back in time.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from analysis.answers import GROUP, StepAnswers, answers, groups
from analysis.null import null_accuracy, permuted_labels
from dynamics import scores
from dynamics.errors import StoreError

SELECTED_ON = {"T1": "test", "B1": "test", "Last-T1": "test at the last step", "Full": None}


def emergence(results: Path) -> pl.DataFrame:
    """Mean and SD over prompts of T1, Last-T1, B1 and Full at every step, and the null of T1.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, curve): tokens_seen, mean, sd, n_prompts, n_examples,
        chance, selected_on, and on T1 rows null_mean, null_q95, null_q99 of the mean over prompts.
    """
    scored = [list(_scored(results, group)) for group in groups(results)]
    tables = [_group(steps) for steps in scored if steps]
    if not tables:
        raise StoreError(f"{results} holds no predictions of heads and MLPs; sweep units that are decomposed")
    return pl.concat(tables).sort(*GROUP, "curve", "step")


def _scored(results: Path, group: tuple) -> Iterator[tuple[StepAnswers, np.ndarray, np.ndarray, np.ndarray]]:
    """Per step: the answers' frame, component accuracies (prompt, component), full (prompt,), null of mean T1."""
    for at in answers(results, group):
        by_component = np.stack([scores.accuracy(credit, at.gold) for credit in at.credit])
        full = np.array([scores.accuracy(credit, at.gold) for credit in at.full])
        permuted = permuted_labels(tuple(at.gold.tolist()), at.full.shape[-1])
        null = null_accuracy(at.credit, permuted).max(1).mean(0)
        yield at, by_component, full, null


def _group(steps: list[tuple[StepAnswers, np.ndarray, np.ndarray, np.ndarray]]) -> pl.DataFrame:
    last, last_accuracy, *_ = steps[-1]
    winner = dict(zip(last.prompts, last_accuracy.argmax(1), strict=True))
    rows = []
    for at, by_component, full, null in steps:
        traced = [by_component[i, winner[p]] for i, p in enumerate(at.prompts) if p in winner]
        curves = {"T1": by_component.max(1), "Last-T1": np.array(traced), "B1": by_component.min(1), "Full": full}
        for curve, values in curves.items():
            rows.append(
                {
                    **dict(zip(GROUP, at.group, strict=True)),
                    "step": at.step,
                    "tokens_seen": at.tokens_seen,
                    "curve": curve,
                    "mean": values.mean() if len(values) else None,
                    "sd": values.std(ddof=1) if len(values) > 1 else None,
                    "n_prompts": len(values),
                    "n_examples": len(at.gold),
                    "chance": 1 / at.full.shape[-1],
                    "selected_on": SELECTED_ON[curve],
                    "null_mean": null.mean() if curve == "T1" else None,
                    "null_q95": np.quantile(null, 0.95) if curve == "T1" else None,
                    "null_q99": np.quantile(null, 0.99) if curve == "T1" else None,
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)
