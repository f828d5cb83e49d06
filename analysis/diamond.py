"""Accuracy against label bias, component by component, as in the paper's Figure 1; the axes are a choice of ours.

With two labels in equal number, x = share of test rows on which a component predicts label 1 and y = its accuracy lie
in a diamond, `|y - 1/2| <= min(x, 1 - x)`: good components at the top, bad ones at the bottom, label-biased ones left
and right. Accuracy and share are sum and difference of the two recalls: `y = (r0 + r1) / 2`, `x = (1 - r0 + r1) / 2`.

With more labels there is no such x; `top_share`, the share of the label predicted most, takes its place, and accuracy
lies within `max(0, top_share - 1 + 1/k) <= y <= 1 + 1/k - top_share` for k labels in equal number.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.answers import GROUP, StepAnswers, all_answers
from dynamics import scores
from dynamics.components import parse_component
from dynamics.storage import Place


def diamond(results: Place) -> pl.DataFrame:
    """Accuracy, label shares and recalls of every component, means over prompts.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, component, label): kind, layer, head, share (of test
        rows on which the label is predicted), recall (accuracy on the label's rows), accuracy, top_share (mean over
        prompts of the largest share of any label), n_prompts, n_examples, n_labels. Ties count 1/n_tied.
    """
    rows = [row for at in all_answers(results) for row in _rows(at)]
    return pl.DataFrame(rows, infer_schema_length=None)


def recalls(credit: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Accuracy on each label's own rows: (prompt, example, component, label), (example,) -> (prompt, component, label).

    NaN for a label without rows.
    """
    there = [credit[..., y][:, gold == y].mean(1) if (gold == y).any() else None for y in range(credit.shape[-1])]
    missing = np.full((credit.shape[0], credit.shape[2]), np.nan)
    return np.stack([missing if recall is None else recall for recall in there], -1)


def _rows(at: StepAnswers) -> Iterator[dict[str, object]]:
    accuracy = np.stack([scores.accuracy(credit, at.gold) for credit in at.credit]).mean(0)
    share = at.credit.mean(1)
    recall = recalls(at.credit, at.gold).mean(0)
    for j, name in enumerate(at.components):
        component = parse_component(name)
        for label in range(share.shape[-1]):
            yield {
                **dict(zip(GROUP, at.group, strict=True)),
                "step": at.step,
                "component": name,
                "kind": component.kind,
                "layer": component.layer,
                "head": component.head,
                "label": label,
                "share": float(share[:, j, label].mean()),
                "recall": None if np.isnan(recall[j, label]) else float(recall[j, label]),
                "accuracy": float(accuracy[j]),
                "top_share": float(share[:, j].max(-1).mean()),
                "n_prompts": len(at.prompts),
                "n_examples": len(at.gold),
                "n_labels": share.shape[-1],
            }
