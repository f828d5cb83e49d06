"""When do components solve a task, and when does the full model? Curves over training with a null band.

T1 is the best component, chosen anew at every step and prompt on the test rows it is scored on; B1 the worst. Both are
optimistic bounds: the best of many guessing components is above chance. The null band says how far: the test labels
are permuted (the same permutations for every component, prompt and step, since components are far from independent)
and the best component is chosen again. Last-T1 follows each prompt's best component at the last step back in time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.answers import GROUP, StepAnswers, answers, groups
from analysis.null import null_accuracy, permuted_labels
from dynamics import scores
from dynamics.errors import StoreError
from dynamics.storage import Place

SELECTED_ON = {"T1": "test", "B1": "test", "Last-T1": "test at the last step", "Full": None}


SCHEMA = {
    "model": pl.String,
    "dtype": pl.String,
    "control": pl.String,
    "task": pl.String,
    "n_shots": pl.Int64,
    "step": pl.Int64,
    "tokens_seen": pl.Int64,
    "curve": pl.String,
    "mean": pl.Float64,
    "sd": pl.Float64,
    "n_prompts": pl.Int64,
    "n_prompts_at_step": pl.Int64,
    "n_examples": pl.Int64,
    "chance": pl.Float64,
    "selected_on": pl.String,
    "null_mean": pl.Float64,
    "null_q95": pl.Float64,
    "null_q99": pl.Float64,
}


def emergence(results: Place) -> pl.DataFrame:
    """Mean and SD over prompts of T1, Last-T1, B1 and Full at every step, and the null of T1.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, curve): tokens_seen, mean, sd, n_prompts (those that
        every step has), n_prompts_at_step (those that this step has), n_examples, chance, selected_on, and on T1 rows
        null_mean, null_q95, null_q99 of the mean over prompts.
    """
    scored = [list(_scored(results, group)) for group in groups(results)]
    rows = [row for steps in scored if steps for row in _group(steps)]
    if not rows:
        raise StoreError(f"{results} holds no predictions of heads and MLPs that every step has; resume the sweep")
    return pl.DataFrame(rows, schema=SCHEMA).sort(*GROUP, "curve", "step")


@dataclass(frozen=True)
class _Step:
    """Accuracies at one step: (prompt, component), (prompt,), and the null of T1 (prompt, permutation)."""

    at: StepAnswers
    by_component: np.ndarray
    full: np.ndarray
    null: np.ndarray

    def only(self, prompts: Sequence[str]) -> "_Step":
        """Some of the prompts, in the order given."""
        keep = [self.at.prompts.index(prompt) for prompt in prompts]
        return _Step(self.at, self.by_component[keep], self.full[keep], self.null[keep])


def _scored(results: Place, group: tuple) -> Iterator[_Step]:
    for at in answers(results, group):
        permuted = permuted_labels(tuple(at.gold.tolist()), at.full.shape[-1])
        yield _Step(
            at,
            by_component=np.stack([scores.accuracy(credit, at.gold) for credit in at.credit]),
            full=np.array([scores.accuracy(credit, at.gold) for credit in at.full]),
            null=null_accuracy(at.credit, permuted).max(1),
        )


def _group(steps: Sequence[_Step]) -> list[dict[str, object]]:
    """The curves of one group, over the prompts that every step has: a curve must not change what it averages."""
    common = sorted(set.intersection(*(set(step.at.prompts) for step in steps)))
    if not common:
        return []
    kept = [step.only(common) for step in steps]
    winner = kept[-1].by_component.argmax(1)
    rows = []
    for step in kept:
        traced = np.take_along_axis(step.by_component, winner[:, None], 1)[:, 0]
        best, worst = step.by_component.max(1), step.by_component.min(1)
        for curve, values in (("T1", best), ("Last-T1", traced), ("B1", worst), ("Full", step.full)):
            rows.append(_row(step, curve, values))
    return rows


def _row(step: _Step, curve: str, values: np.ndarray) -> dict[str, object]:
    at, null = step.at, step.null.mean(0)
    return {
        **dict(zip(GROUP, at.group, strict=True)),
        "step": at.step,
        "tokens_seen": at.tokens_seen,
        "curve": curve,
        "mean": values.mean(),
        "sd": values.std(ddof=1) if len(values) > 1 else None,
        "n_prompts": len(values),
        "n_prompts_at_step": len(at.prompts),
        "n_examples": len(at.gold),
        "chance": 1 / at.full.shape[-1],
        "selected_on": SELECTED_ON[curve],
        "null_mean": null.mean() if curve == "T1" else None,
        "null_q95": np.quantile(null, 0.95) if curve == "T1" else None,
        "null_q99": np.quantile(null, 0.99) if curve == "T1" else None,
    }
