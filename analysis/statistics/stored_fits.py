"""Fits on a few labels, as curves: the stored answers of COMP RW, Calib+ and labelled T1 from `prompt_scores`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from analysis.reading.accuracies import method_scores
from analysis.reading.answers import PROMPT, CommonPrompts
from analysis.reading.credit import credit_counts, credit_unit
from analysis.reading.result_tables import valid_rows
from analysis.statistics.component_choice import CALIB, COMP_RW, LABELLED
from dynamics.results.places import Place

NAMES = {
    "comp_rw": (COMP_RW, False),
    "centred_comp_rw": (COMP_RW, True),
    "calib_plus": (CALIB, False),
    "heldout_t1": (LABELLED, False),
    "centred_heldout_t1": (LABELLED, True),
}
"""Method -> its curve, and whether each label's mean logit over the test rows is taken off."""


@dataclass(frozen=True)
class StoredFit:
    """One method with one variant and K.

    Attributes:
        name, centred, variant, n_labelled: which.
        has_answers: (prompt,) whether the prompt has the fit at every step.
        credit: per step, (prompt, example, label) whole numbers and their unit; 0 for a prompt without answers.
    """

    name: str
    centred: bool
    variant: str
    n_labelled: int
    has_answers: np.ndarray
    credit: tuple[tuple[np.ndarray, int], ...]


def stored_fits(results: Place, common: CommonPrompts, n_labels: int) -> Iterator[StoredFit]:
    """The group's fits that some prompt has at every step, sorted by name, variant and K."""
    rows = method_scores(results).filter(
        common.group.matches,
        pl.col("method").is_in(list(NAMES)),
        pl.col("variant") != "split_half",
        pl.col("predictions").is_not_null(),
        PROMPT.is_in(common.prompts),
    )
    columns = ("unit_id", "step", "method", "variant", "n_labelled", "predictions", "tied")
    rows = rows.select(*columns, PROMPT).collect(engine="streaming")
    by_fit = rows.partition_by("method", "variant", "n_labelled", as_dict=True)
    for (method, variant, n_labelled), of_fit in sorted(by_fit.items()):
        n_steps = dict(of_fit.group_by("prompt").agg(pl.col("step").n_unique()).iter_rows())
        has_answers = np.array([n_steps.get(prompt) == len(common.steps) for prompt in common.prompts])
        if has_answers.any():
            credit = tuple(_credit(results, of_fit.filter(step=step), common, n_labels) for step in common.steps)
            yield StoredFit(*NAMES[method], variant, n_labelled, has_answers, credit)


def _credit(results: Place, rows: pl.DataFrame, common: CommonPrompts, n_labels: int) -> tuple[np.ndarray, int]:
    """One step's credit (prompt, example, label) and its unit."""
    by_prompt = {row["prompt"]: _on_common_examples(results, row, common) for row in rows.iter_rows(named=True)}
    no_answers = np.zeros((2, len(common.example_id)), np.int64)
    labels, tied = np.stack([by_prompt.get(prompt, no_answers) for prompt in common.prompts], 1)
    unit = credit_unit(tied)
    return credit_counts(labels, tied, n_labels, unit), unit


def _on_common_examples(results: Place, row: Mapping[str, Any], common: CommonPrompts) -> np.ndarray:
    """Labels and ties (2, example) on the examples that all prompts have."""
    labels = np.array(row["predictions"], np.int64)
    answers = np.stack([labels, np.array(row["tied"] or np.zeros(len(labels)), np.int64)])
    if len(labels) == len(common.example_id):
        return answers
    own_rows = valid_rows(results, "predictions").filter(
        pl.col("unit_id") == row["unit_id"], pl.col("split") == "test", pl.col("full").is_not_null()
    )
    ids = own_rows.select(pl.col("example_id").sort()).collect()["example_id"].to_numpy()
    return answers[:, np.searchsorted(ids, np.array(common.example_id))]
