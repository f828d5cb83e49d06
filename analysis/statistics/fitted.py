"""What a few labels buy, as curves: the answers that `prompt_scores` keeps of COMP RW, Calib+ and labelled T1."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.reading.accuracies import method_scores, of_group
from analysis.reading.answers import PROMPT, Asked, earned, unit_of
from analysis.reading.loading import counted
from analysis.statistics.choosing import CALIB, COMP_RW, LABELLED
from dynamics.results.places import Place

NAMES = {"comp_rw": COMP_RW, "calib_plus": CALIB, "heldout_t1": LABELLED}


@dataclass(frozen=True)
class Fitted:
    """One method with one variant and K.

    Attributes:
        name, variant, n_labelled: which.
        accuracy: (step, prompt) as stored; NaN for a prompt that lacks it at some step.
        earned: per step, (prompt, example, label) whole numbers and their unit; None where older results lack answers.
    """

    name: str
    variant: str
    n_labelled: int
    accuracy: np.ndarray
    earned: tuple[tuple[np.ndarray, int], ...] | None


def fitted(results: Place, asked: Asked, n_labels: int) -> Iterator[Fitted]:
    """The group's fits that some prompt has at every step, sorted by name, variant and K."""
    mine = method_scores(results).filter(
        *of_group(asked.group),
        pl.col("method").is_in(list(NAMES)),
        pl.col("variant") != "split_half",
        PROMPT.is_in(asked.prompts),
    )
    rows = mine.select(
        "unit_id", "step", PROMPT, "method", "variant", "n_labelled", "accuracy", "predictions", "tied", "n_examples"
    ).collect(engine="streaming")
    for (method, variant, k), at in sorted(rows.partition_by("method", "variant", "n_labelled", as_dict=True).items()):
        accuracy, missing = _accuracy(at, asked)
        if not missing.all():
            yield Fitted(NAMES[method], variant, k, accuracy, _answers(results, at, asked, n_labels, missing))


def _accuracy(rows: pl.DataFrame, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """(step, prompt), and which prompts (prompt,) lack it at some step."""
    there = {(step, prompt): value for step, prompt, value in rows.select("step", "prompt", "accuracy").iter_rows()}
    values = [[there.get((step, prompt)) for prompt in asked.prompts] for step in asked.steps]
    accuracy = np.array(values, float)
    missing = np.logical_or.reduce(np.isnan(accuracy))
    return np.where(missing, np.nan, accuracy), missing


def _answers(
    results: Place, rows: pl.DataFrame, asked: Asked, n_labels: int, missing: np.ndarray
) -> tuple[tuple[np.ndarray, int], ...] | None:
    kept = rows.filter(pl.col("prompt").is_in([p for p, none in zip(asked.prompts, missing, strict=True) if not none]))
    if kept["predictions"].null_count():
        return None
    found = []
    for step in asked.steps:
        at = kept.filter(step=step)
        by_prompt = {row["prompt"]: _on_common_rows(results, row, asked) for row in at.iter_rows(named=True)}
        nothing = np.zeros((2, len(asked.example_id)), np.int64)
        labels, tied = np.stack([by_prompt.get(prompt, nothing) for prompt in asked.prompts], 1)
        unit = unit_of(tied)
        found.append((earned(labels, tied, n_labels, unit), unit))
    return tuple(found)


def _on_common_rows(results: Place, row: dict, asked: Asked) -> np.ndarray:
    """Labels and ties (2, example) on the examples that all prompts were asked."""
    labels = np.array(row["predictions"], np.int64)
    both = np.stack([labels, np.array(row["tied"] or np.zeros(len(labels)), np.int64)])
    if len(labels) == len(asked.example_id):
        return both
    own = counted(results, "predictions").filter(
        pl.col("unit_id") == row["unit_id"], pl.col("split") == "test", pl.col("full").is_not_null()
    )
    ids = own.select(pl.col("example_id").sort()).collect()["example_id"].to_numpy()
    return both[:, np.searchsorted(ids, np.array(asked.example_id))]
