"""Run the units that results lack: start the executor and collect how each unit ended."""

import uuid
from collections.abc import Collection
from contextlib import closing

import typer

from dynamics.results.store import ResultStore
from jobs import progress
from jobs.active_sweeps import active_sweeps, counting, delete_stale, registered
from jobs.attempts import Job, TooManyFailures, until_too_many_failures
from jobs.executors import run_inline, run_ray
from jobs.missing import MissingWork, with_earlier_runs, work_by_checkpoint
from jobs.outcomes import Outcome
from jobs.placement import check_disk_budget, largest_first
from jobs.preflight import check_device
from jobs.progress_bar import with_progress
from jobs.run_log import LogOutcomes, logged, logging
from jobs.sweep_plan import SweepPlan
from jobs.work import CheckpointWork


def run(
    plan: SweepPlan, missing: MissingWork, store: ResultStore, executor: str, done: Collection[str] = ()
) -> list[Outcome]:
    """Run what is missing; the outcomes of its units, until too many failed.

    After an interrupt or a kill, the same command resumes. `done` has the ids of the plan's units that are not missing,
    for the plan's tracker.

    Raises:
        PlanError: the cluster or a disk cannot provide what the plan requests.
    """
    run_id = uuid.uuid4().hex
    works = with_earlier_runs(largest_first(work_by_checkpoint(plan, missing, run_id)), store)
    if not works:
        return []
    check_device(plan, works)
    check_disk_budget(plan.hub, [work.checkpoint for work in works])
    delete_stale(store)
    progress.warn_of_active_sweeps(active_sweeps(store))
    with logged(plan, store, done) as log:
        return _collect(plan, works, store, executor, run_id, log)


def _collect(
    plan: SweepPlan, works: list[CheckpointWork], store: ResultStore, executor: str, run_id: str, log: LogOutcomes
) -> list[Outcome]:
    """Start the executor and collect the last outcome of every unit, while this sweep is registered as active."""
    if executor == "inline":
        from jobs.run_checkpoint import run_checkpoint  # now: where torch cannot be imported, no unit has failed

        results = run_inline(works, Job(run_checkpoint, store, plan.limits), plan.hub.ahead)
    else:
        results = run_ray(works, Job(_run_checkpoint, store, plan.limits), plan.hub.ahead)
    n_units = sum(len(work.all_units) for work in works)
    last: list[Outcome] = []
    try:
        with closing(results), registered(store, run_id, plan.name, n_units) as count:
            outcomes = counting(with_progress(logging(results, log), works), count)
            for outcome in until_too_many_failures(outcomes, plan.limits):
                last += [outcome] if outcome.status != "retried" else []
    except TooManyFailures as reason:
        typer.echo(str(reason), err=True)
    return last


def _run_checkpoint(work: CheckpointWork, store: ResultStore) -> list[Outcome]:
    """`run_checkpoint`, imported where units run, not where they are sent: its torch and transformers take seconds."""
    from jobs.run_checkpoint import run_checkpoint

    return run_checkpoint(work, store)
