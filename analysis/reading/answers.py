"""The `predictions` table as arrays: what every component and the full model answered, step by step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from analysis.reading.credit import credit, credit_counts, credit_unit
from analysis.reading.gaps import read_gaps
from analysis.reading.groups import Group, groups
from analysis.reading.result_tables import valid_rows
from dynamics.components import candidate_indices
from dynamics.errors import StoreError
from dynamics.label_bias import CENTRED
from dynamics.methods.selection import group_members
from dynamics.results.places import Place

READ_BYTES, CACHE_BYTES = 200e6, 600e6
ANSWERS = ("full", "full_tied", "predictions", "tied")
"""Columns of `predictions` that hold answers; each has a second one, less the label bias."""
PROMPT = pl.format("{}/{}", "template", "demo_seed").alias("prompt")
"""Name of a prompt, `template/seed`."""


@dataclass(frozen=True)
class StepAnswers:
    """Answers at one step of one group, as stored: a label each, and the few ties.

    Attributes:
        group: whose.
        step, tokens_seen: when.
        prompts: (prompt,) names, `template/seed`, sorted.
        components: (component,) names of the candidates: heads and MLPs.
        example_id: (example,) sorted; the examples that every prompt has.
        gold: (example,), the same for all prompts.
        n_labels: number of label words.
        labels: (prompt, example, component) uint8, the label answered; the first in a tie.
        tied: (prompt, example, component) uint32, bit y set where label y ties at the top, 0 without a tie; None
            where nothing ties.
        full_labels, full_tied: (prompt, example), the same for the full model.
        gaps: (prompt, component) mean gap of the two largest logits, by which ties between components go; None where
            the results lack it, and ties go to the first component.
        row_groups: `RowGroups`.
    """

    group: Group
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
    gaps: np.ndarray | None = None
    row_groups: "RowGroups" = ()

    @property
    def n_bytes(self) -> int:
        """Memory that the components' answers take."""
        return self.labels.nbytes + (0 if self.tied is None else self.tied.nbytes)

    @property
    def credit(self) -> np.ndarray:
        """(prompt, example, component, label) float64, 1/n_tied at every label answered: 8 bytes for each."""
        return credit(self.labels, self.tied, self.n_labels)

    @property
    def full_credit(self) -> np.ndarray:
        """(prompt, example, label) float64, the full model's credit."""
        return credit(self.full_labels, self.full_tied, self.n_labels)

    @property
    def credit_unit(self) -> int:
        """The unit of whole-number credit (`analysis.reading.credit`) that fits all components' ties."""
        return credit_unit(self.tied)

    def credit_counts(self, prompt: int, unit: int) -> np.ndarray:
        """(example, component, label) of one prompt, `unit` times the credit."""
        tied = None if self.tied is None else self.tied[prompt]
        return credit_counts(self.labels[prompt], tied, self.n_labels, unit)

    def of_prompts(self, prompts: Sequence[str]) -> "StepAnswers":
        """The answers to some prompts."""
        index = [self.prompts.index(prompt) for prompt in prompts]
        return replace(
            self,
            prompts=tuple(prompts),
            labels=self.labels[index],
            tied=None if self.tied is None else self.tied[index],
            full_labels=self.full_labels[index],
            full_tied=None if self.full_tied is None else self.full_tied[index],
            gaps=None if self.gaps is None else self.gaps[index],
        )


RowGroups = tuple[str | None, ...]
"""The group of each example, of those that belong together; None for a lone one. Empty where all are alone."""
AnswerReader = Callable[[Sequence[int]], Iterator[StepAnswers]]
"""Steps -> their answers, in that order."""


@dataclass(frozen=True)
class CommonPrompts:
    """The prompts and examples that every step of a group has: a curve must not change what it averages.

    Attributes:
        group: whose.
        steps: (step,) ascending.
        prompts: names of the prompts that every step has, sorted.
        example_id: ids of the examples that each of them has at every step, sorted.
        n_prompts_at: step -> number of prompts there, common or not.
    """

    group: Group
    steps: tuple[int, ...]
    prompts: tuple[str, ...]
    example_id: tuple[str, ...]
    n_prompts_at: dict[int, int]


def split_prompt(name: str) -> tuple[str, int]:
    """`paper/3` -> (template, demo_seed)."""
    template, seed = name.rsplit("/", 1)
    return template, int(seed)


def common_prompts(results: Place, group: Group) -> CommonPrompts | None:
    """Prompts and examples that every step of a group has; None where there is none."""
    rows = _predictions(results, group).select("step", PROMPT, "example_id").collect(engine="streaming")
    steps = rows["step"].unique().sort().to_list()
    by_prompt = rows.group_by("prompt").agg(n=pl.col("step").n_unique())
    prompts = by_prompt.filter(n=len(steps))["prompt"].sort().to_list()
    of_prompts = rows.filter(pl.col("prompt").is_in(prompts))
    examples = of_prompts.group_by("example_id").len().filter(len=len(steps) * len(prompts))
    if examples.is_empty():
        return None
    n_prompts_at = dict(rows.group_by("step").agg(pl.col("prompt").n_unique()).iter_rows())
    return CommonPrompts(group, tuple(steps), tuple(prompts), tuple(examples["example_id"].sort()), n_prompts_at)


def all_common_prompts(results: Place) -> Iterator[CommonPrompts]:
    """The common prompts of every group that has any.

    Raises:
        StoreError: none has.
    """
    is_empty = True
    for group in groups(results):
        common = common_prompts(results, group)
        if common is not None:
            is_empty = False
            yield common
    if is_empty:
        raise StoreError(f"{results} holds no predictions of heads and MLPs that every step has; resume the sweep")


def read_answers(
    results: Place,
    group: Group,
    common: CommonPrompts | None = None,
    steps: Sequence[int] | None = None,
    *,
    centred: bool = False,
) -> Iterator[StepAnswers]:
    """The group's test answers, one step at a time, so that memory holds one step only.

    An example that some prompt of the step lacks (too long for the context) is left out of all of them, so that every
    prompt is scored on the same rows; a step without any row is left out.

    Args:
        common: prompts and examples to read; without, all that a step has.
        steps: which, in this order; without, all in ascending order.
        centred: answers less each label's mean logit over the test rows (`dynamics.label_bias`).
    """
    rows = _predictions(results, group)
    if centred:
        rows = rows.with_columns(pl.col(f"{CENTRED}{name}").alias(name) for name in ANSWERS)
    if steps is None:
        steps = common.steps if common else rows.select(pl.col("step").unique().sort()).collect()["step"].to_list()
    if common is not None:
        rows = rows.filter(PROMPT.is_in(common.prompts), pl.col("example_id").is_in(common.example_id))
    for step, of_step in read_steps(rows, steps):
        shared = _shared_by_all_prompts(of_step)
        if len(shared):
            answers = _step_answers(shared, group, step)
            gaps = read_gaps(results, group, step, answers.prompts, answers.components, centred=centred)
            yield replace(answers, gaps=gaps)


def read_together(results: Place, groups: Sequence[Group]) -> Iterator[list[StepAnswers]]:
    """The answers of all groups that have a step, for every step that two or more have; one step is held at a time."""
    streams = [read_answers(results, group) for group in groups]
    heads = [next(stream, None) for stream in streams]
    while any(heads):
        step = min(head.step for head in heads if head)
        at_step = [head for head in heads if head and head.step == step]
        if len(at_step) > 1:
            yield at_step
        heads = [
            next(stream, None) if head and head.step == step else head
            for head, stream in zip(heads, streams, strict=True)
        ]


def has_centred_answers(results: Place, group: Group) -> bool:
    """Whether all the group's answers are stored less their label bias too: older results lack it (`jobs.derive`)."""
    n_null = _predictions(results, group).select(pl.col(f"{CENTRED}full").is_null().sum())
    return n_null.collect(engine="streaming").item() == 0


def cached_reader(results: Place, common: CommonPrompts, *, centred: bool = False) -> AnswerReader:
    """A reader for more than one pass: it keeps steps in memory, up to `CACHE_BYTES` of them."""
    cache: dict[int, StepAnswers] = {}

    def read(steps: Sequence[int]) -> Iterator[StepAnswers]:
        """The steps' answers, from memory or from the files."""
        missing = [step for step in steps if step not in cache]
        from_files = read_answers(results, common.group, common, missing, centred=centred)
        for step in steps:
            answers = cache[step] if step in cache else next(from_files)
            if step not in cache and sum(cached.n_bytes for cached in cache.values()) + answers.n_bytes <= CACHE_BYTES:
                cache[step] = answers
            yield answers

    return read


def read_steps(rows: pl.LazyFrame, steps: Sequence[int]) -> Iterator[tuple[int, pl.DataFrame]]:
    """Each step's rows; the first step alone, then as many at once as `READ_BYTES` holds: opening files takes time."""
    remaining, n_at_once = list(steps), 1
    while remaining:
        batch, remaining = remaining[:n_at_once], remaining[n_at_once:]
        frame = rows.filter(pl.col("step").is_in(batch)).collect(engine="streaming")
        n_at_once = max(1, int(READ_BYTES * len(batch) / max(1, frame.estimated_size())))
        by_step = frame.partition_by("step", as_dict=True)
        del frame
        yield from ((step, by_step.pop((step,))) for step in batch if (step,) in by_step)


def _predictions(results: Place, group: Group) -> pl.LazyFrame:
    """The group's test rows that hold answers of components."""
    rows = valid_rows(results, "predictions")
    return rows.filter(group.matches, pl.col("split") == "test", pl.col("components").is_not_null())


def _shared_by_all_prompts(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the examples that every prompt has."""
    n_prompts = rows.select("template", "demo_seed").n_unique()
    return rows.filter(pl.len().over("example_id") == n_prompts)


def _step_answers(rows: pl.DataFrame, group: Group, step: int) -> StepAnswers:
    rows = rows.with_columns(PROMPT).sort("prompt", "example_id")
    prompts = tuple(rows["prompt"].unique().sort())
    names = rows["components"][0].split(" ")
    candidates = candidate_indices(names)
    shape = (len(prompts), len(rows) // len(prompts))
    gold = rows["gold"].to_numpy().reshape(shape)
    if (gold != gold[0]).any() or rows["example_id"].n_unique() != shape[1]:
        raise StoreError(
            f"Prompts of {group.keys} at step {step} have different test rows, so no curve is their mean; sweep them "
            "with one n_test into one folder"
        )

    def by_component(lists: pl.Series) -> np.ndarray:
        """A list column, one entry per component, as (prompt, example, candidate)."""
        return lists.explode().to_numpy().reshape(*shape, len(names))[..., candidates]

    tied, full_tied = rows["tied"], rows["full_tied"]
    row_groups = tuple(rows["group"][: shape[1]])
    return StepAnswers(
        group=group,
        step=step,
        tokens_seen=rows["tokens_seen"][0],
        prompts=prompts,
        components=tuple(names[i] for i in candidates),
        example_id=tuple(rows["example_id"][: shape[1]]),
        gold=gold[0],
        n_labels=int(rows["n_labels"][0]),
        labels=by_component(rows["predictions"]),
        tied=None if tied.is_null().all() else by_component(tied.fill_null([0] * len(names))),
        full_labels=rows["full"].to_numpy().reshape(shape),
        full_tied=None if full_tied.is_null().all() else full_tied.fill_null(0).to_numpy().reshape(shape),
        row_groups=row_groups if group_members(row_groups) else (),
    )
