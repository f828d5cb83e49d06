"""`python -m jobs.sweep PLAN --out OUT`: run what the plan asks for and the results do not hold yet."""

import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
import typer

from dynamics.command_line import command, user_errors_exit_2
from dynamics.controls import RANDOM_INIT
from dynamics.errors import StoreError
from dynamics.results.metadata import save_plan
from dynamics.results.places import place
from dynamics.results.store import CELL, ResultStore, open_store, parts, read_units
from jobs.active_sweeps import announced, drivers, forget_old, noted
from jobs.attempts import Job, TooManyFailures, stopping
from jobs.derive import derive
from jobs.executors import run_inline, run_ray
from jobs.outcomes import Outcome
from jobs.placement import largest_first
from jobs.plan import SweepPlan, read_plan
from jobs.preflight import check_disk_budget
from jobs.progress import list_failures, with_progress
from jobs.prompting import missing_baselines
from jobs.run_checkpoint import run_checkpoint
from jobs.submitted import check_absolute
from jobs.units import (
    CheckpointWork,
    MissingBaselines,
    WorkUnit,
    expand,
    group,
    plan_checkpoints,
    planned_table,
    to_run,
)

Executor = Literal["ray", "inline"]
INTERRUPTED = 130


def sweep(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="TOML plan; see jobs/plans/")],
    out: Annotated[str, typer.Option(help="results folder, or s3:// or gs://; the same command again resumes")],
    executor: Annotated[Executor, typer.Option(help="ray, or inline for debugging")] = "ray",
) -> None:
    """Decompose and score every checkpoint of a plan, into Parquet.

    Exit code 0: all units are done; 1: some failed (listed); 2: the call or the plan is wrong.
    """
    with user_errors_exit_2():
        plan = read_plan(plan_file)
        units = _expand(plan)
        root = place(out)
        check_absolute("--out", root)
        store = open_store(root, create=True)
        missing = missing_units(store, units)
        save_plan(store, plan.name, plan_file.read_text(), planned_table(plan, units))
        typer.echo(f"{plan.name}: {len(units)} units, {len(units) - len(missing)} already done, {len(missing)} to run")
        owed = missing_baselines(store, units, plan.baselines)
        late = {unit for unit, _ in owed} - set(missing)
        if late:
            typer.echo(f"{len(late)} units that are done lack Standard or PromptS for some K")
        outcomes = run(plan, store, missing, executor, owed)
        n_fits = fit_missing(store, plan, units)
        if n_fits:
            typer.echo(f"{n_fits} fits added from stored contributions")
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    not_run = len({unit.unit_id for unit in missing} - {outcome.unit_id for outcome in outcomes})
    n_done = len(units) - len(failed) - not_run
    rest = f", {not_run} not run" if not_run else ""
    typer.echo(f"results in {out}: {n_done} of {len(units)} units done, {len(failed)} failed{rest}")
    if failed:
        list_failures(failed)
        raise typer.Exit(1)


def run(
    plan: SweepPlan,
    store: ResultStore,
    missing: Sequence[WorkUnit],
    executor: Executor,
    owed: Sequence[MissingBaselines] = (),
) -> list[Outcome]:
    """Run the missing units and owed baselines; how they ended, until too many failed.

    What an interrupt or a kill leaves behind, the same command resumes.

    Raises:
        PlanError: the cluster or a disk cannot take what is asked.
    """
    run_id = uuid.uuid4().hex
    works = _with_attempts(store, largest_first(group(plan, missing, run=run_id, owed=owed)))
    if not works:
        return []
    check_disk_budget(plan, works)
    _greet_others(store)
    start = run_inline if executor == "inline" else run_ray
    results = start(works, Job(run_checkpoint, store, plan.limits), plan.hub.ahead)
    ended: list[Outcome] = []
    try:
        with closing(results), announced(store, run_id, plan.name, sum(len(work.asked) for work in works)) as note:
            for outcome in stopping(noted(with_progress(results, works), note), plan.limits):
                ended += [outcome] if outcome.status != "retried" else []
    except TooManyFailures as reason:
        typer.echo(str(reason), err=True)
    except KeyboardInterrupt:
        typer.echo(f"interrupted; finished tasks are kept in {store.root}. The same command resumes", err=True)
        raise typer.Exit(INTERRUPTED) from None
    return ended


def _with_attempts(store: ResultStore, works: Sequence[CheckpointWork]) -> list[CheckpointWork]:
    """The works, each told how often its units were tried before."""
    failed = read_units(store).filter(status="failed").drop_nulls("attempts").select("unit_id", "attempts")
    before = dict(failed.iter_rows())
    return [
        replace(work, attempts={u.unit_id: before[u.unit_id] for u in work.asked if u.unit_id in before})
        for work in works
    ]


def _greet_others(store: ResultStore) -> None:
    """Name the sweeps that are at work here already: what they finish is not run again, what both run is kept once."""
    forget_old(store)
    for driver in drivers(store):
        typer.echo(
            f"another sweep is at work here ({driver.line}). The results stay whole, but units that both are at are "
            "computed twice; stop one if that is not meant",
            err=True,
        )


def _expand(plan: SweepPlan) -> list[WorkUnit]:
    """The plan's units, and a line for what is in quarantine."""
    checkpoints = plan_checkpoints(plan)
    kept = to_run(plan, checkpoints)
    if len(kept) < len(checkpoints):
        left_out = [c for c in checkpoints if c not in kept]
        typer.echo(
            f"{plan.name}: {len(left_out)} checkpoints in quarantine are left out, the first is {left_out[0].model} "
            f"step {left_out[0].step}: {'; '.join(left_out[0].notes)}. `python -m jobs.plan` lists them"
        )
    return expand(plan, kept)


def fit_missing(store: ResultStore, plan: SweepPlan, units: Sequence[WorkUnit]) -> int:
    """The plan's fits on units that were done without them: after a change of K or lambda, no model is needed."""
    mine = {(unit.checkpoint.model, unit.checkpoint.step, unit.task) for unit in units}
    there = [part for part in parts(store) if (part.model, part.step, part.task) in mine]
    return sum(derive(store, part, plan.fits.all) for part in there)


def missing_units(store: ResultStore, units: Sequence[WorkUnit]) -> list[WorkUnit]:
    """The units without a finished row, decided before any model is opened.

    Raises:
        StoreError: the results hold one of the plan's cells, computed with other settings or weights.
    """
    done = read_units(store).filter(status="done")
    held = dict(zip(done.select(CELL).iter_rows(), done["unit_id"], strict=True))
    weights = set(done.select("model", "step", _DRAWN, "content_hash").iter_rows())
    known = {key[:3] for key in weights}
    asked = set(done.select("model", "task", "task_hash", "n_test_asked").iter_rows())
    tasks = {key[:2] for key in asked}
    clash = [
        unit
        for unit in units
        if held.get(unit.cell, unit.unit_id) != unit.unit_id
        or ((at := _weights_at(unit)) in known and (*at, unit.checkpoint.content_hash) not in weights)
        or ((of := (unit.checkpoint.model, unit.task)) in tasks and (*of, unit.task_hash, unit.n_test) not in asked)
    ]
    if clash:
        raise StoreError(
            f"{store.root} holds {clash[0]} from another plan or other weights ({len(clash)} such units): n_test, "
            "n_train, the task's rows or the checkpoint's files differ (for random_init also the versions of torch and "
            f"transformers). Name another --out, or restore the settings kept in {store.root / 'plans'}"
        )
    return [unit for unit in units if unit.cell not in held]


_DRAWN = pl.when(pl.col("control").str.starts_with(RANDOM_INIT)).then("control").otherwise(None).alias("drawn")
"""Drawn weights stand at step 0 beside those of a suite's own step 0; all other units of a step share theirs."""


def _weights_at(unit: WorkUnit) -> tuple[str, int, str | None]:
    c = unit.checkpoint
    return c.model, c.step, None if c.init_seed is None else unit.control


app = command(sweep)

if __name__ == "__main__":
    app()
