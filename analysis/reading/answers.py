"""The `predictions` table as arrays: what every component and the full model answered, step by step."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.reading.loading import counted
from dynamics import scores
from dynamics.components import candidate_indices
from dynamics.errors import StoreError
from dynamics.results.places import Place

GROUP = ["model", "dtype", "control", "task", "n_shots"]
"""What one curve is drawn for; prompts (template, demo_seed) are what it is averaged over."""
CURVE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(GROUP, pl.String),
    "n_shots": pl.Int64,
    "curve": pl.String,
    "variant": pl.String,
    "n_labelled": pl.Int64,
}
"""Columns that tell one curve from all others."""


@dataclass(frozen=True)
class StepAnswers:
    """Answers at one step of one group, as stored: a label each, and the few ties.

    Attributes:
        group: the values of `GROUP`.
        step, tokens_seen: when.
        prompts: (prompt,) names, `template/seed`, sorted.
        components: (component,) names of the candidates: heads and MLPs.
        example_id: (example,) sorted; examples that every prompt was asked.
        gold: (example,), the same for all prompts.
        n_labels: number of label words.
        labels: (prompt, example, component) uint8, the label answered; the first in a tie.
        tied: (prompt, example, component) uint32, bit y set where label y ties at the top, 0 without a tie; None
            where nothing ties.
        full_labels, full_tied: (prompt, example), the same for the full model.
    """

    group: tuple
    step: int
    tokens_seen: int | None
    prompts: tuple[str, ...]
    components: tuple[str, ...]
    example_id: tuple[str, ...]
    gold: np.ndarray
    n_labels: int
    labels: np.ndarray
    tied: np.ndarray | None
    full_labels: np.ndarray
    full_tied: np.ndarray | None

    @property
    def n_bytes(self) -> int:
        """Memory that the components' answers take."""
        return self.labels.nbytes + (0 if self.tied is None else self.tied.nbytes)

    @property
    def credit(self) -> np.ndarray:
        """(prompt, example, component, label) float64, 1/n_tied at every label answered: 8 bytes for each."""
        return _credit(self.labels, self.tied, self.n_labels)

    @property
    def full(self) -> np.ndarray:
        """(prompt, example, label) float64, the full model's credit."""
        return _credit(self.full_labels, self.full_tied, self.n_labels)


def earned(labels: np.ndarray, tied: np.ndarray | None, n_labels: int, unit: int = 1) -> np.ndarray:
    """Credit as whole numbers, `unit` times 1/n_tied, so that sums over examples are exact.

    Args:
        labels, tied: (...), as in `StepAnswers`.
        unit: a multiple of every n_tied, from `unit_of`.

    Returns:
        (..., label) uint8, or int64 where a unit does not fit; in memory one label after the other.
    """
    planes = np.empty((n_labels, *labels.shape), np.uint8 if unit < 256 else np.int64)
    for label in range(n_labels):
        np.equal(labels, label, out=planes[label], casting="unsafe")
    planes *= planes.dtype.type(unit)
    if tied is not None and tied.any():
        cells = tied > 0
        share = unit // np.bitwise_count(tied[cells])
        for label in range(n_labels):
            planes[label][cells] = ((tied[cells] >> np.uint32(label)) & 1) * share
    return np.moveaxis(planes, 0, -1)


def unit_of(*tied: np.ndarray | None) -> int:
    """The least number that every number of tied labels divides; 1 where nothing ties."""
    patterns = [np.unique(bits) for bits in tied if bits is not None]
    return math.lcm(*{max(1, int(bits).bit_count()) for found in patterns for bits in found})


def _credit(labels: np.ndarray, tied: np.ndarray | None, n_labels: int) -> np.ndarray:
    return np.eye(n_labels)[labels] if tied is None else scores.decode(labels, tied, n_labels)


@dataclass(frozen=True)
class Asked:
    """What every step of a group was asked: a curve must not change what it averages.

    Attributes:
        group: the values of `GROUP`.
        steps: (step,) ascending.
        prompts: names of the prompts that every step has, sorted.
        example_id: ids of the examples that all of them were asked at every step, sorted.
        prompts_at: step -> number of prompts there.
    """

    group: tuple
    steps: tuple[int, ...]
    prompts: tuple[str, ...]
    example_id: tuple[str, ...]
    prompts_at: dict[int, int]


def groups(results: Place) -> list[tuple]:
    """The groups there are, sorted."""
    return counted(results, "units").select(GROUP).unique().sort(GROUP).collect().rows()


def asked(results: Place, group: tuple) -> Asked | None:
    """Prompts and examples that every step of a group has; None where there is none."""
    rows = _predictions(results, group).select("step", PROMPT, "example_id").collect(engine="streaming")
    steps = rows["step"].unique().sort().to_list()
    by_prompt = rows.group_by("prompt").agg(n=pl.col("step").n_unique())
    prompts = by_prompt.filter(n=len(steps))["prompt"].sort().to_list()
    common = rows.filter(pl.col("prompt").is_in(prompts))
    counted = common.group_by("example_id").len().filter(len=len(steps) * len(prompts))
    if counted.is_empty():
        return None
    at = dict(rows.group_by("step").agg(pl.col("prompt").n_unique()).iter_rows())
    return Asked(group, tuple(steps), tuple(prompts), tuple(counted["example_id"].sort().to_list()), at)


def all_answers(results: Place) -> Iterator[StepAnswers]:
    """Every group's answers at every step.

    Raises:
        StoreError: no finished unit has predictions of components.
    """
    found = False
    for group in groups(results):
        for at in answers(results, group):
            found = True
            yield at
    if not found:
        raise StoreError(f"{results} holds no predictions of heads and MLPs; sweep units that are decomposed")


def answers(
    results: Place, group: tuple, only: Asked | None = None, steps: Sequence[int] | None = None
) -> Iterator[StepAnswers]:
    """The group's test answers, one step at a time, so that memory holds one step only.

    An example that some prompt of the step could not be asked (too long for the context) is left out of all of them,
    so that every prompt is scored on the same rows; a step without a row left is left out.

    Args:
        only: prompts and examples to read; without, all that a step has.
        steps: which, in this order; without, all in ascending order.
    """
    rows = _predictions(results, group)
    if steps is None:
        steps = only.steps if only else rows.select(pl.col("step").unique().sort()).collect()["step"].to_list()
    if only is not None:
        rows = rows.filter(PROMPT.is_in(only.prompts), pl.col("example_id").is_in(only.example_id))
    for step, at in _by_step(rows, steps):
        there = _asked_everywhere(at)
        if len(there):
            yield _step(there, group, step)


def readable_again(results: Place, common: Asked) -> Callable[[Sequence[int]], Iterator[StepAnswers]]:
    """Steps -> their answers, for who reads more than once: steps are kept in memory, up to `KEPT_BYTES` of them."""
    kept: dict[int, StepAnswers] = {}

    def read(steps: Sequence[int]) -> Iterator[StepAnswers]:
        """The steps' answers, from memory or from the files."""
        others = answers(results, common.group, common, [step for step in steps if step not in kept])
        for step in steps:
            at = kept[step] if step in kept else next(others)
            if step not in kept and sum(one.n_bytes for one in kept.values()) + at.n_bytes <= KEPT_BYTES:
                kept[step] = at
            yield at

    return read


def _by_step(rows: pl.LazyFrame, steps: Sequence[int]) -> Iterator[tuple[int, pl.DataFrame]]:
    """Each step's rows; the first alone, then as many at once as `READ_BYTES` holds: opening files takes its time."""
    left, n_at_once = list(steps), 1
    while left:
        now, left = left[:n_at_once], left[n_at_once:]
        read = rows.filter(pl.col("step").is_in(now)).collect(engine="streaming")
        n_at_once = max(1, int(READ_BYTES * len(now) / max(1, read.estimated_size())))
        parts = read.partition_by("step", as_dict=True)
        del read
        yield from ((step, parts.pop((step,))) for step in now if (step,) in parts)


READ_BYTES, KEPT_BYTES = 200e6, 600e6
PROMPT = pl.format("{}/{}", "template", "demo_seed").alias("prompt")


def _predictions(results: Place, group: tuple) -> pl.LazyFrame:
    mine = pl.all_horizontal(pl.col(name) == value for name, value in zip(GROUP, group, strict=True))
    there = mine, pl.col("split") == "test", pl.col("components").is_not_null()
    return counted(results, "predictions").filter(*there)


def _asked_everywhere(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the examples that every prompt has."""
    n_prompts = rows.select("template", "demo_seed").n_unique()
    return rows.filter(pl.len().over("example_id") == n_prompts)


def _step(rows: pl.DataFrame, group: tuple, step: int) -> StepAnswers:
    rows = rows.with_columns(PROMPT).sort("prompt", "example_id")
    prompts = tuple(rows["prompt"].unique().sort())
    names = rows["components"][0].split(" ")
    keep = candidate_indices(names)
    shape = (len(prompts), len(rows) // len(prompts))
    gold = rows["gold"].to_numpy().reshape(shape)
    if (gold != gold[0]).any() or rows["example_id"].n_unique() != shape[1]:
        raise StoreError(
            f"prompts of {dict(zip(GROUP, group, strict=True))} at step {step} have different test rows, so no curve "
            "is their mean; sweep them with one n_test into one folder"
        )
    tied, full_tied = rows["tied"], rows["full_tied"]
    no_ties = [0] * len(names)
    return StepAnswers(
        group=group,
        step=step,
        tokens_seen=rows["tokens_seen"][0],
        prompts=prompts,
        components=tuple(names[i] for i in keep),
        example_id=tuple(rows["example_id"][: shape[1]]),
        gold=gold[0],
        n_labels=int(rows["n_labels"][0]),
        labels=_matrix(rows["predictions"], len(names)).reshape(*shape, -1)[..., keep],
        tied=_matrix(tied.fill_null(no_ties), len(names)).reshape(*shape, -1)[..., keep]
        if tied.null_count() < len(tied)
        else None,
        full_labels=rows["full"].to_numpy().reshape(shape),
        full_tied=full_tied.fill_null(0).to_numpy().reshape(shape) if full_tied.null_count() < len(full_tied) else None,
    )


def _matrix(lists: pl.Series, width: int) -> np.ndarray:
    """A list column of equal lengths as (row, width)."""
    return lists.explode().to_numpy().reshape(-1, width)
