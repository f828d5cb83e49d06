"""`python -m jobs.plan PLAN`: what a sweep would fetch, skip, need and write, before it does any of it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dynamics.command_line import command, user_errors_exit_2
from jobs.plan_arguments import PLAN, SET


def _list_suites(wanted: bool) -> None:
    if wanted:
        from jobs.suite_lines import suite_lines

        typer.echo("\n".join(suite_lines()))
        raise typer.Exit


def _list_prices(wanted: bool) -> None:
    if wanted:
        from jobs.price_list import price_lines

        typer.echo("\n".join(price_lines()))
        raise typer.Exit


def _calibrate(wanted: bool) -> None:
    if wanted:
        from jobs.measured_rate import this_machine
        from jobs.price_list import price_lines

        typer.echo("\n".join(price_lines([this_machine()])))
        raise typer.Exit


def show_plan(
    plan_file: Annotated[Path, PLAN],
    out: Annotated[str | None, typer.Option(help="results folder or URI, to see what is done already")] = None,
    overrides: Annotated[list[str] | None, SET] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for scripts")] = False,
    timed: Annotated[bool, typer.Option("--time", help="run some units of one checkpoint to estimate hours")] = False,
    workers: Annotated[int, typer.Option(min=1, help="workers at once, for the estimate of hours")] = 1,
    _suites: Annotated[
        bool,
        typer.Option("--suites", is_eager=True, callback=_list_suites, help="list the known suites of checkpoints"),
    ] = False,
    _prices: Annotated[
        bool,
        typer.Option("--prices", is_eager=True, callback=_list_prices, help="hours of the paper's protocol by size"),
    ] = False,
    _calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrate", is_eager=True, callback=_calibrate, help="the same at this machine's measured rate"
        ),
    ] = False,
) -> None:
    """Say what a sweep of a plan would do and cost; `plan init` writes a new plan.

    No weights are downloaded, except with --time. Exit code 0: the plan can run; 2: it cannot, and why.
    """
    with user_errors_exit_2():
        from jobs.sweep_plan import read_plan

        plan = read_plan(plan_file, overrides or ())
        from jobs.resolving import resolve_plan  # only now, so that a wrong plan is refused at once

        resolved = resolve_plan(plan)
        from dynamics.results.places import exists, place
        from dynamics.results.store import open_store
        from jobs.preflight import preflight
        from jobs.preflight_text import lines

        store = open_store(out) if out is not None and exists(place(out)) else None
        report = preflight(resolved, store, timed=timed, workers=workers)
    typer.echo(json.dumps(asdict(report), indent=1) if as_json else "\n".join(lines(report)))


app = command(show_plan, init="jobs.plan_init:app")

if __name__ == "__main__":
    app()
