"""What does a narrower dtype change? The same cells in bfloat16 or float16 beside float32.

A sweep in another dtype into the same results has units of its own. Where a (model, control, task, n_shots) has both,
every step that both have is compared, over the prompts that both have and on the same test rows:

- differences of accuracy are the dtype's less float32's, so 0 means that nothing is lost or won;
- agreement is the share of answers (example, or example and component) that are the same, ties included: a tie agrees
  with the same tie only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from analysis.reading.answers import GROUP, StepAnswers, answers, groups
from dynamics import scores
from dynamics.errors import StoreError
from dynamics.results.places import Place

REFERENCE = "float32"
_SCHEMA = {
    **dict.fromkeys(GROUP, pl.String),
    "n_shots": pl.Int64,
    "step": pl.Int64,
    "full_difference": pl.Float64,
    "t1_difference": pl.Float64,
    "component_difference": pl.Float64,
    "component_difference_max": pl.Float64,
    "full_agreement": pl.Float64,
    "component_agreement": pl.Float64,
    "n_prompts": pl.Int64,
    "n_examples": pl.Int64,
    "n_components": pl.Int64,
}


def precision(results: Place) -> pl.DataFrame:
    """Accuracy and answers of every dtype against float32.

    Returns:
        One row per (model, dtype, control, task, n_shots, step) that float32 has too: full_difference, t1_difference
        (means over prompts), component_difference (mean over prompts and components of the absolute difference),
        component_difference_max, full_agreement, component_agreement, n_prompts, n_examples, n_components. Empty where
        results hold one dtype only.

    Raises:
        StoreError: the two have different test rows.
    """
    there = groups(results)
    pairs = [(group, as_reference(group)) for group in there if as_reference(group) in there]
    rows = [row for group, reference in pairs if group != reference for row in _steps(results, group, reference)]
    return pl.DataFrame(rows, schema=_SCHEMA)


def as_reference(group: tuple) -> tuple:
    """The same group in float32."""
    return tuple(REFERENCE if name == "dtype" else value for name, value in zip(GROUP, group, strict=True))


def _steps(results: Place, group: tuple, reference: tuple) -> Iterator[dict[str, object]]:
    """A row for each step of both; both come in ascending order, so one of each is held at a time."""
    ours, wide = answers(results, group), answers(results, reference)
    mine, other = next(ours, None), next(wide, None)
    while mine is not None and other is not None:
        if mine.step == other.step:
            prompts = sorted({*mine.prompts} & {*other.prompts})
            if prompts:
                yield _row(_only(mine, prompts), _only(other, prompts))
        earlier = min(mine.step, other.step)
        mine = next(ours, None) if mine.step == earlier else mine
        other = next(wide, None) if other.step == earlier else other


def _only(at: StepAnswers, prompts: Sequence[str]) -> StepAnswers:
    """The answers to these prompts."""
    rows = [at.prompts.index(prompt) for prompt in prompts]
    return replace(
        at,
        prompts=tuple(prompts),
        labels=at.labels[rows],
        tied=None if at.tied is None else at.tied[rows],
        full_labels=at.full_labels[rows],
        full_tied=None if at.full_tied is None else at.full_tied[rows],
    )


def _row(mine: StepAnswers, wide: StepAnswers) -> dict[str, object]:
    """Both have the same prompts."""
    if (
        mine.example_id != wide.example_id
        or not np.array_equal(mine.gold, wide.gold)
        or mine.components != wide.components
    ):
        raise StoreError(
            f"{dict(zip(GROUP, mine.group, strict=True))} at step {mine.step} has other test rows than {REFERENCE}, so "
            "they cannot be compared; sweep both with the same prompts and n_test"
        )
    accuracy, accuracy_wide = (_accuracy(at.credit, at.gold) for at in (mine, wide))
    moved = np.abs(accuracy - accuracy_wide)
    return {
        **dict(zip(GROUP, mine.group, strict=True)),
        "step": mine.step,
        "full_difference": float((_accuracy(mine.full, mine.gold) - _accuracy(wide.full, wide.gold)).mean()),
        "t1_difference": float((accuracy.max(1) - accuracy_wide.max(1)).mean()),
        "component_difference": float(moved.mean()),
        "component_difference_max": float(moved.max()),
        "full_agreement": float((mine.full == wide.full).all(-1).mean()),
        "component_agreement": float((mine.credit == wide.credit).all(-1).mean()),
        "n_prompts": len(mine.prompts),
        "n_examples": len(mine.gold),
        "n_components": len(mine.components),
    }


def _accuracy(credit: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Mean credit at the gold label: (prompt, example, ..., label) -> (prompt, ...)."""
    return scores.accuracy(np.moveaxis(credit, 0, 1), gold)
