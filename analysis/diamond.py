"""Accuracy against label bias, component by component, as in the paper's Figure 1; the axes are our choice.

With two labels in equal number, x = share of test rows on which a component predicts label 1 and y = its accuracy lie
in a diamond, `|y - 1/2| <= min(x, 1 - x)`: good components at the top, bad ones at the bottom, label-biased ones left
and right. Accuracy and share are sum and difference of the two recalls: `y = (r0 + r1) / 2`, `x = (1 - r0 + r1) / 2`.

With more labels there is no such x; `top_share`, the share of the label predicted most, takes its place, and accuracy
lies within `max(0, top_share - 1 + 1/k) <= y <= 1 + 1/k - top_share` for k labels in equal number.
"""

import polars as pl

from analysis.cache.step_tables import rows_of_all_steps
from analysis.reading.answers import StepAnswers
from analysis.reading.groups import constant_columns
from analysis.statistics.confusion import accuracy, confusion, recalls, shares
from dynamics.components import parse_component
from dynamics.results.places import Place


def diamond(results: Place) -> pl.DataFrame:
    """Accuracy, label shares and recalls of every component, means over prompts.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, component, label): kind, layer, head, share (of test
        rows on which the label is predicted), recall (accuracy on the label's rows), accuracy, top_share (mean over
        prompts of the largest share of any label), n_prompts, n_examples, n_labels. Ties count 1/n_tied.
    """
    return rows_of_all_steps(results, step_table)


def step_table(answers: StepAnswers) -> pl.DataFrame:
    """One step's rows."""
    counts = confusion(answers)
    share = shares(counts)
    components = [parse_component(name) for name in answers.components]
    by_component = pl.DataFrame(
        {
            "component": answers.components,
            "kind": [component.kind for component in components],
            "layer": [component.layer for component in components],
            "head": [component.head for component in components],
            "label": [list(range(answers.n_labels))] * len(components),
            "share": share.mean(0).tolist(),
            "recall": recalls(counts).mean(0).tolist(),
            "accuracy": accuracy(counts).mean(0),
            "top_share": share.max(-1).mean(0),
        }
    )
    rows = by_component.explode("label", "share", "recall").with_columns(pl.col("recall").fill_nan(None))
    keys = {**answers.group.keys, "step": answers.step}
    sizes = {"n_prompts": len(answers.prompts), "n_examples": len(answers.gold), "n_labels": answers.n_labels}
    return rows.with_columns(constant_columns(keys | sizes)).select(*keys, *rows.columns, *sizes)
