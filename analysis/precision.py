"""What does a narrower dtype change? The same cells in bfloat16 or float16 beside float32.

A sweep in another dtype into the same results has units of its own. Where a (model, control, task, n_shots) has both,
every step that both have is compared, over the prompts that both have and on the same test rows:

- differences of accuracy are the dtype's less float32's, so 0 means that nothing is lost or gained;
- agreement is the share of answers (example, or example and component) that are the same, ties included: a tie agrees
  with the same tie only.
"""

import numpy as np
import polars as pl

from analysis.reading.answers import StepAnswers, read_together
from analysis.reading.groups import GROUP_SCHEMA, groups
from dynamics import scores
from dynamics.errors import StoreError
from dynamics.results.places import Place

REFERENCE = "float32"
_SCHEMA = {
    **GROUP_SCHEMA,
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
    present = groups(results)
    rows = []
    for group in present:
        reference = group._replace(dtype=REFERENCE)
        if group != reference and reference in present:
            for narrow, wide in read_together(results, [group, reference]):
                prompts = sorted({*narrow.prompts} & {*wide.prompts})
                if prompts:
                    rows.append(_row(narrow.of_prompts(prompts), wide.of_prompts(prompts)))
    return pl.DataFrame(rows, schema=_SCHEMA)


def _row(narrow: StepAnswers, wide: StepAnswers) -> dict[str, object]:
    """Both have the same prompts."""
    same_rows = narrow.example_id == wide.example_id and np.array_equal(narrow.gold, wide.gold)
    if not same_rows or narrow.components != wide.components:
        raise StoreError(
            f"{narrow.group.keys} at step {narrow.step} has other test rows than {REFERENCE}, so they cannot be "
            "compared; sweep both with the same prompts and n_test"
        )
    accuracy, wide_accuracy = (_accuracy(answers.credit, answers.gold) for answers in (narrow, wide))
    full, wide_full = (_accuracy(answers.full_credit, answers.gold) for answers in (narrow, wide))
    difference = np.abs(accuracy - wide_accuracy)
    return {
        **narrow.group.keys,
        "step": narrow.step,
        "full_difference": float((full - wide_full).mean()),
        "t1_difference": float((accuracy.max(1) - wide_accuracy.max(1)).mean()),
        "component_difference": float(difference.mean()),
        "component_difference_max": float(difference.max()),
        "full_agreement": float((narrow.full_credit == wide.full_credit).all(-1).mean()),
        "component_agreement": float((narrow.credit == wide.credit).all(-1).mean()),
        "n_prompts": len(narrow.prompts),
        "n_examples": len(narrow.gold),
        "n_components": len(narrow.components),
    }


def _accuracy(credit: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Mean credit at the gold label: (prompt, example, ..., label) -> (prompt, ...)."""
    return scores.accuracy(np.moveaxis(credit, 0, 1), gold)
