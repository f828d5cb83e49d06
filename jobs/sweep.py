"""`python -m jobs.sweep PLAN --out OUT`: run the units of a plan that the results lack."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dynamics.command_line import command, interrupt_exits_130, interrupts_end_waits, user_errors_exit_2
from jobs.plan_arguments import PLAN, SET


def sweep(
    plan_file: Annotated[Path, PLAN],
    out: Annotated[str, typer.Option(help="results folder, or s3:// or gs://; the same command again resumes")],
    executor: Annotated[Literal["ray", "inline"], typer.Option(help="ray, or inline for debugging")] = "ray",
    overrides: Annotated[list[str] | None, SET] = None,
) -> None:
    """Decompose and score every checkpoint of a plan, into Parquet.

    Exit code 0: all units are done; 1: some failed (listed); 2: the call or the plan is wrong; 130: interrupted.
    """
    with user_errors_exit_2(), interrupt_exits_130(f"finished tasks are kept in {out}. The same command resumes"):
        from jobs.sweep_plan import read_plan

        plan = read_plan(plan_file, overrides or ())
        from jobs.resolving import resolve_plan  # only now, so that a wrong plan is refused at once

        resolved = resolve_plan(plan)
        from jobs.sweeping import run_sweep

        interrupts_end_waits()
        outcomes = run_sweep(resolved, out, executor)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        from jobs.progress import list_failures

        list_failures(failed)
        raise typer.Exit(1)


app = command(sweep)

if __name__ == "__main__":
    app()
