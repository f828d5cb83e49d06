"""How many components are good, bad or label-biased, and from when? (Paper: section 3 and Table 7.)

- `good`: accuracy above what the best of all components reaches on permuted labels, at the family-wise level
  `LEVEL`; `bad`: below what the worst reaches, at the same level. The permutations are those of the emergence curves'
  null. The paper defines only best and worst; the level is what makes "good" a claim.
- `label_biased`: predicts ONE label on the whole test set, as in the paper; `nearly_label_biased`: one label on
  `NEARLY` of the test rows or more (so every label-biased component is also nearly so).
- `unremarkable`: none of the four.

A component that always says the same is exactly at chance on balanced rows, hence neither good nor bad.
"""

import numpy as np
import polars as pl

from analysis.reading.answers import GROUP, StepAnswers, all_answers
from analysis.statistics.confusion import accuracy, confusion, shares
from analysis.statistics.null import family_thresholds, lucky_and_unlucky
from dynamics.results.places import Place

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
        pl.concat([_table(at).drop("components") for at in all_answers(results)])
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
    return pl.concat([_table(at) for at in all_answers(results)])


def masks(at: StepAnswers) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Which components are of which kind.

    Returns:
        kind -> (prompt, component) bool, and the thresholds (prompt,) of good and of bad.
    """
    above, below = _thresholds(at)
    counts = confusion(at)
    right, top_share = accuracy(counts), shares(counts).max(-1)
    of = {
        "good": right > above[:, None] + SAME,
        "bad": right < below[:, None] - SAME,
        "label_biased": top_share >= 1 - SAME,
        "nearly_label_biased": top_share >= NEARLY - SAME,
    }
    return {**of, "unremarkable": ~np.any(list(of.values()), axis=0)}, above, below


def _thresholds(at: StepAnswers) -> tuple[np.ndarray, np.ndarray]:
    """Of good and of bad, (prompt,) each."""
    both = np.array([family_thresholds(best, worst, LEVEL) for best, worst in lucky_and_unlucky(at)])
    return both[:, 0], both[:, 1]


def _table(at: StepAnswers) -> pl.DataFrame:
    """One step's rows of `component_kinds_by_prompt`."""
    of, above, below = masks(at)
    names = np.array(at.components)
    prompts = [prompt.rsplit("/", 1) for prompt in at.prompts]
    rows = [
        {
            "template": template,
            "demo_seed": int(seed),
            "kind": kind,
            "count": int(of[kind][i].sum()),
            "share": float(of[kind][i].mean()),
            "components": " ".join(names[of[kind][i]]),
            "n_components": len(names),
            "n_examples": len(at.gold),
            "chance": 1 / at.n_labels,
            "good_above": float(above[i]),
            "bad_below": float(below[i]),
        }
        for i, (template, seed) in enumerate(prompts)
        for kind in KINDS
    ]
    keys = {**dict(zip(GROUP, at.group, strict=True)), "step": at.step}
    return pl.DataFrame([{**keys, **row} for row in rows])
