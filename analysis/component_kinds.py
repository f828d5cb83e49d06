"""How many components are good, bad or label-biased, and from when? (Paper: section 3 and Table 7.)

- `good`: accuracy above what the best of all components reaches on permuted labels, at the family-wise level
  `LEVEL`; `bad`: below what the worst reaches, at the same level. The permutations are those of the emergence curves'
  null. The paper defines only best and worst; the level is what makes "good" a claim.
- `label_biased`: predicts ONE label on the whole test set, as in the paper; `nearly_label_biased`: one label on
  `NEARLY` of the test rows or more (so every label-biased component is also nearly so).
- `unremarkable`: none of the four.

A component that always says the same is exactly at chance on balanced rows, hence neither good nor bad.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.answers import GROUP, StepAnswers, all_answers
from analysis.null import family_thresholds, null_accuracy, permuted_labels
from dynamics import scores
from dynamics.storage import Place

LEVEL = 0.05
NEARLY = 0.95
KINDS = ("good", "bad", "label_biased", "nearly_label_biased", "unremarkable")
SAME = 1e-9
"""Credits of 1/3 do not add up exactly; accuracies and shares differ by far more than this or not at all."""


def component_kinds(results: Place) -> pl.DataFrame:
    """Mean over prompts of the number and share of components of each kind.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, kind): count and share (means over prompts), share_sd,
        n_components, n_prompts, n_examples, chance, good_above and bad_below (mean thresholds on accuracy), level.
    """
    return (
        component_kinds_by_prompt(results)
        .group_by(*GROUP, "step", "kind", maintain_order=True)
        .agg(
            pl.col("count").mean(),
            pl.col("share").mean(),
            share_sd=pl.col("share").std(),
            n_components=pl.col("n_components").first(),
            n_prompts=pl.len(),
            n_examples=pl.col("n_examples").first(),
            chance=pl.col("chance").first(),
            good_above=pl.col("good_above").mean(),
            bad_below=pl.col("bad_below").mean(),
            level=pl.lit(LEVEL),
        )
    )


def component_kinds_by_prompt(results: Place) -> pl.DataFrame:
    """Which components are of each kind, prompt by prompt.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, template, demo_seed, kind): count, share of
        n_components, components (names separated by spaces), n_examples, chance, good_above, bad_below.
    """
    rows = [row for at in all_answers(results) for row in _rows(at)]
    return pl.DataFrame(rows, infer_schema_length=None)


def masks(at: StepAnswers) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Which components are of which kind.

    Returns:
        kind -> (prompt, component) bool, and the thresholds (prompt,) of good and of bad.
    """
    permuted = permuted_labels(tuple(at.gold.tolist()), at.full.shape[-1])
    above, below = family_thresholds(null_accuracy(at.credit, permuted), LEVEL)
    accuracy = np.stack([scores.accuracy(credit, at.gold) for credit in at.credit])
    top_share = at.credit.mean(1).max(-1)
    of = {
        "good": accuracy > above[:, None] + SAME,
        "bad": accuracy < below[:, None] - SAME,
        "label_biased": top_share >= 1 - SAME,
        "nearly_label_biased": top_share >= NEARLY - SAME,
    }
    return {**of, "unremarkable": ~np.any(list(of.values()), axis=0)}, above, below


def _rows(at: StepAnswers) -> Iterator[dict[str, object]]:
    of, above, below = masks(at)
    names = np.array(at.components)
    for i, prompt in enumerate(at.prompts):
        template, seed = prompt.rsplit("/", 1)
        for kind in KINDS:
            mine = of[kind][i]
            yield {
                **dict(zip(GROUP, at.group, strict=True)),
                "step": at.step,
                "template": template,
                "demo_seed": int(seed),
                "kind": kind,
                "count": int(mine.sum()),
                "share": float(mine.mean()),
                "components": " ".join(names[mine]),
                "n_components": len(names),
                "n_examples": len(at.gold),
                "chance": 1 / at.full.shape[-1],
                "good_above": float(above[i]),
                "bad_below": float(below[i]),
            }
