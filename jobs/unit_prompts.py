"""Prompts of units, made once in a process for all checkpoints whose tokenizers are the same."""

from collections.abc import Hashable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from cachetools import LRUCache

from dynamics.prompts import PromptSet, build_prompts
from dynamics.tasks import Task, TaskRows
from jobs.open_checkpoint import OpenCheckpoint
from jobs.work import WorkUnit

MAX_KEPT = 25_000_000
"""Token ids that a process keeps, at 4 bytes each; beyond that the prompts that were used longest ago are dropped."""


@dataclass(frozen=True)
class _Kept:
    """A prompt set whose own tokens are one array: a tuple of them would take ten times the memory."""

    others: dict[str, Any]
    own_ids: np.ndarray
    ends: np.ndarray


_kept: LRUCache[Hashable, _Kept] = LRUCache(MAX_KEPT, getsizeof=lambda kept: len(kept.own_ids))


def unit_prompts(
    opened: OpenCheckpoint, unit: WorkUnit, task: Task, rows: TaskRows, control: str | None = None
) -> PromptSet:
    """The prompts of a unit.

    Args:
        opened: the unit's checkpoint.
        unit: which.
        task: the unit's, as its plan has it.
        rows: of the task, under the unit's control.
        control: of the demonstrations, in place of the unit's.

    Raises:
        PromptError: they cannot be made (`dynamics.prompts.build_prompts`).
    """
    control = unit.control if control is None else control
    sizes = (unit.demo_seed, unit.n_shots, unit.n_test, unit.n_train, opened.max_length)
    tokenizer = opened.tokenizer_content
    key = (tokenizer, unit.task, unit.task_hash, unit.template, unit.control, control, *sizes)
    if tokenizer is not None and (kept := _kept.get(key)) is not None:
        return _unpacked(kept)
    prompts = build_prompts(
        unit.task_of(task),
        unit.template.name,
        opened.tokenizer,
        demo_seed=unit.demo_seed,
        n_shots=unit.n_shots,
        n_test=unit.n_test,
        n_train=unit.n_train,
        rows=rows,
        control=control,
        max_length=opened.max_length,
    )
    if tokenizer is not None and sum(map(len, prompts.own_ids)) <= _kept.maxsize:
        _kept[key] = _packed(prompts)
    return prompts


def _packed(prompts: PromptSet) -> _Kept:
    others = {field.name: getattr(prompts, field.name) for field in fields(prompts) if field.name != "own_ids"}
    ends = np.cumsum([0, *map(len, prompts.own_ids)])
    return _Kept(others, np.concatenate(prompts.own_ids).astype(np.int32), ends)


def _unpacked(kept: _Kept) -> PromptSet:
    ids = kept.own_ids.tolist()
    return PromptSet(**kept.others, own_ids=tuple(tuple(ids[a:b]) for a, b in pairwise(kept.ends.tolist())))
