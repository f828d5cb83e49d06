"""Plans as units and as work, for tests that run them without `jobs.sweep`."""

from dataclasses import replace
from typing import Any

from jobs.missing import MissingWork, work_by_checkpoint
from jobs.resolving import resolve_plan
from jobs.sweep_plan import SweepPlan
from jobs.work import CheckpointWork, WorkUnit


def units_of(plan: SweepPlan) -> list[WorkUnit]:
    """All units of a plan."""
    return list(resolve_plan(plan).units)


def works_of(plan: SweepPlan, run: str = "") -> list[CheckpointWork]:
    """All units of a plan as work, as if there were no results."""
    return work_by_checkpoint(plan, MissingWork(tuple(units_of(plan))), run)


def with_settings(work: CheckpointWork, **changes: Any) -> CheckpointWork:
    """The same work, run with other settings."""
    return replace(work, settings=replace(work.settings, **changes))
