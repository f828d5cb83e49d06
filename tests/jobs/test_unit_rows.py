"""Rows of units: read once for all checkpoints, bounded, and refused where they are not those of the plan."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cachetools import LRUCache

from dynamics.checkpoints import find_checkpoints
from dynamics.errors import PlanError
from dynamics.tasks import Task, TaskRows, fingerprint, get_task
from jobs import unit_rows as module
from jobs.unit_rows import unit_rows
from jobs.work import WorkUnit


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    module._kept.clear()
    yield
    module._kept.clear()


def counted(name: str) -> tuple[Task, list[Path | None]]:
    """A task, and the folders that its rows are read from."""
    task, read = get_task(name), []

    def load(data: Path | None) -> TaskRows:
        read.append(data)
        return task.load(data)

    return replace(task, load=load), read


def unit(task: Task, step: int = 0) -> WorkUnit:
    (checkpoint,) = find_checkpoints("reference", [step])
    task_hash = fingerprint(task, get_task(task.name).load(None))
    return WorkUnit(checkpoint, task.name, task_hash, task.templates[0], 0, 4, 12, 4, "float32", "none")


def test_rows_are_read_once_for_all_checkpoints_and_again_for_another_folder() -> None:
    task, read = counted("topic")
    first = unit_rows(unit(task), task, None)
    assert unit_rows(unit(task, 512), task, None) is first
    unit_rows(unit(task), task, Path("data"))
    assert read == [None, Path("data")]


def test_rows_beyond_the_bound_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    task, read = counted("topic")
    n_rows = len(task.load(None).pool) + len(task.load(None).test)
    monkeypatch.setattr(module, "_kept", LRUCache(n_rows - 1, getsizeof=module._kept.getsizeof))
    read.clear()
    for _ in range(2):
        unit_rows(unit(task), task, None)
    assert read == [None, None]


def test_rows_that_are_not_those_of_the_plan_are_refused_every_time() -> None:
    task, read = counted("topic")
    planned = replace(unit(task), task_hash="f" * 16)
    for _ in range(2):
        with pytest.raises(PlanError, match=r"task topic: the rows read here \(hash [0-9a-f]{16}\) .* \(hash f{16}\)"):
            unit_rows(planned, task, None)
    assert len(read) == 2
