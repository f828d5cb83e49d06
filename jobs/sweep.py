"""`python -m jobs.sweep PLAN --out OUT`: run the units of a plan that the results lack."""

import uuid
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from dynamics.command_line import command, interrupt_exits_130, user_errors_exit_2
from dynamics.results.metadata import save_plan
from dynamics.results.places import place
from dynamics.results.store import ResultStore, open_store
from jobs import progress
from jobs.active_sweeps import active_sweeps, counting, delete_stale, registered
from jobs.attempts import Job, TooManyFailures, until_too_many_failures
from jobs.derive import add_missing_fits, restore
from jobs.executors import run_inline, run_ray
from jobs.missing import MissingWork, find_missing, with_earlier_runs, work_by_checkpoint
from jobs.outcomes import Outcome
from jobs.placement import check_disk_budget, largest_first
from jobs.preflight import check_device
from jobs.resolving import ResolvedPlan, resolve_plan
from jobs.run_checkpoint import run_checkpoint
from jobs.submitted import check_absolute
from jobs.sweep_plan import SweepPlan, read_plan
from jobs.work import CheckpointWork

Executor = Literal["ray", "inline"]


def sweep(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="TOML plan; see jobs/plans/")],
    out: Annotated[str, typer.Option(help="results folder, or s3:// or gs://; the same command again resumes")],
    executor: Annotated[Executor, typer.Option(help="ray, or inline for debugging")] = "ray",
) -> None:
    """Decompose and score every checkpoint of a plan, into Parquet.

    Exit code 0: all units are done; 1: some failed (listed); 2: the call or the plan is wrong; 130: interrupted.
    """
    with user_errors_exit_2(), interrupt_exits_130(f"finished tasks are kept in {out}. The same command resumes"):
        resolved = resolve_plan(read_plan(plan_file))
        progress.say_quarantined(resolved)
        progress.say_notes(resolved)
        root = place(out)
        check_absolute("--out", root)
        store = open_store(root, create=True)
        missing = find_missing(resolved, store)
        save_plan(store, resolved.plan.name, plan_file.read_text(), resolved.table())
        progress.say_missing(resolved, missing)
        progress.say_restored(restore(store, missing.lost))
        outcomes = run(resolved.plan, missing, store, executor)
        progress.say_fits(add_missing_fits(store, resolved.plan, _cells(resolved)))
    progress.say_results(resolved, missing, outcomes, out)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        progress.list_failures(failed)
        raise typer.Exit(1)


def run(plan: SweepPlan, missing: MissingWork, store: ResultStore, executor: Executor) -> list[Outcome]:
    """Run what is missing; the outcomes of its units, until too many failed.

    After an interrupt or a kill, the same command resumes.

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
    return _collect(plan, works, store, executor, run_id)


def _collect(
    plan: SweepPlan, works: list[CheckpointWork], store: ResultStore, executor: Executor, run_id: str
) -> list[Outcome]:
    """Start the executor and collect the last outcome of every unit, while this sweep is registered as active."""
    start = run_inline if executor == "inline" else run_ray
    results = start(works, Job(run_checkpoint, store, plan.limits), plan.hub.ahead)
    n_units = sum(len(work.all_units) for work in works)
    last: list[Outcome] = []
    try:
        with closing(results), registered(store, run_id, plan.name, n_units) as count:
            outcomes = counting(progress.with_progress(results, works), count)
            for outcome in until_too_many_failures(outcomes, plan.limits):
                last += [outcome] if outcome.status != "retried" else []
    except TooManyFailures as reason:
        typer.echo(str(reason), err=True)
    return last


def _cells(resolved: ResolvedPlan) -> set[tuple[str, int, str]]:
    """(model, step, task) of every unit."""
    return {(unit.checkpoint.model, unit.checkpoint.step, unit.task) for unit in resolved.units}


app = command(sweep)

if __name__ == "__main__":
    app()
