"""How many components are good, bad or label-biased, and from when? (Paper: section 3 and Table 7.)

- `good`: accuracy above the best of all components on permuted labels, at the family-wise level `LEVEL`; `bad`: below
  the worst, at the same level. The permutations are those of the null of the emergence curves. The paper defines only
  best and worst; the level is what makes "good" a claim.
- `label_biased`: predicts ONE label on the whole test set, as in the paper; `nearly_label_biased`: one label on
  `NEARLY` of the test rows or more (so every label-biased component is also nearly so).
- `unremarkable`: none of the four.

A component that always gives the same answer is exactly at chance on balanced rows, hence neither good nor bad.
"""

import numpy as np
import polars as pl

from analysis.cache.step_tables import rows_of_all_steps
from analysis.reading.answers import StepAnswers, split_prompt
from analysis.reading.groups import GROUP
from analysis.statistics.confusion import accuracy, confusion, shares
from analysis.statistics.null import family_thresholds, permuted_extremes
from analysis.statistics.onset import TOLERANCE
from dynamics.results.places import Place

LEVEL = 0.05
NEARLY = 0.95
KINDS = ("good", "bad", "label_biased", "nearly_label_biased", "unremarkable")


def component_kinds(results: Place) -> pl.DataFrame:
    """Mean over prompts of the number and share of components of each kind.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, kind): count and share (means over prompts), share_sd,
        n_components, n_prompts, n_examples, chance, good_above and bad_below (mean thresholds on accuracy), level.
    """
    return (
        rows_of_all_steps(results, step_counts)
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
    return rows_of_all_steps(results, step_kinds)


def masks(answers: StepAnswers) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Which components are of which kind.

    Returns:
        kind -> (prompt, component) bool, and the thresholds (prompt,) of good and of bad.
    """
    thresholds = [family_thresholds(best, worst, LEVEL) for best, worst in permuted_extremes(answers)]
    good_above, bad_below = np.array(thresholds).T
    counts = confusion(answers)
    right, top_share = accuracy(counts), shares(counts).max(-1)
    by_kind = {
        "good": right > good_above[:, None] + TOLERANCE,
        "bad": right < bad_below[:, None] - TOLERANCE,
        "label_biased": top_share >= 1 - TOLERANCE,
        "nearly_label_biased": top_share >= NEARLY - TOLERANCE,
    }
    return {**by_kind, "unremarkable": ~np.any(list(by_kind.values()), axis=0)}, good_above, bad_below


def step_counts(answers: StepAnswers) -> pl.DataFrame:
    """One step's rows of `component_kinds_by_prompt`, without the components' names."""
    return step_kinds(answers).drop("components")


def step_kinds(answers: StepAnswers) -> pl.DataFrame:
    """One step's rows of `component_kinds_by_prompt`."""
    by_kind, good_above, bad_below = masks(answers)
    names = np.array(answers.components)
    rows = [
        {
            **answers.group.keys,
            "step": answers.step,
            "template": template,
            "demo_seed": seed,
            "kind": kind,
            "count": int(by_kind[kind][i].sum()),
            "share": float(by_kind[kind][i].mean()),
            "components": " ".join(names[by_kind[kind][i]]),
            "n_components": len(names),
            "n_examples": len(answers.gold),
            "chance": 1 / answers.n_labels,
            "good_above": float(good_above[i]),
            "bad_below": float(bad_below[i]),
        }
        for i, (template, seed) in enumerate(map(split_prompt, answers.prompts))
        for kind in KINDS
    ]
    return pl.DataFrame(rows)
