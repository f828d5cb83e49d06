"""Rows of units' tasks, read once in a process for all checkpoints."""

from collections.abc import Hashable
from pathlib import Path

from cachetools import LRUCache

from dynamics.errors import PlanError
from dynamics.tasks import Task, TaskRows, fingerprint
from jobs.work import WorkUnit

MAX_KEPT = 400_000
"""Rows that a process keeps, of about a kilobyte each; beyond that the tasks that were read longest ago are dropped."""

_kept: LRUCache[Hashable, TaskRows] = LRUCache(MAX_KEPT, getsizeof=lambda rows: len(rows.pool) + len(rows.test))


def unit_rows(unit: WorkUnit, task: Task, data: Path | None) -> TaskRows:
    """The rows of a unit's task, without what the unit's control changes.

    Args:
        unit: which; the hash of its task tells rows apart.
        task: the unit's, as its plan has it.
        data: folder of the datasets; None for the task's own source.

    Raises:
        UserError: they cannot be read.
        PlanError: they are not the rows that the unit was planned with.
    """
    key = (unit.task, unit.task_hash, data)
    if (kept := _kept.get(key)) is not None:
        return kept
    rows = task.load(data)
    if (found := fingerprint(task, rows)) != unit.task_hash:
        raise PlanError(
            f"task {unit.task}: the rows read here (hash {found}) are not those that the sweep was planned with (hash "
            f"{unit.task_hash}). Give every node the same files, or give the sweep command again if they were replaced"
        )
    if len(rows.pool) + len(rows.test) <= _kept.maxsize:
        _kept[key] = rows
    return rows
