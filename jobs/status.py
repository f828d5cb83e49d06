"""`python -m jobs.status OUT`: what is done, running, failed and missing, how fast it goes and how long it may take."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from dynamics.command_line import command, user_errors_exit_2


def show_status(
    out: Annotated[str, typer.Argument(metavar="OUT", help="results: a folder, or an s3:// or gs:// URI")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """What is done, running, failed and missing, per model and plan; how fast it goes and how long it may take.

    Exit code 0: all units of the plans are done; 1: not yet, or a plan's record of units is lost; 2: there are no
    results to read.
    """
    with user_errors_exit_2():
        from dynamics.results.store import open_store
        from jobs.unit_states import lines, status

        report = status(open_store(out), datetime.now(UTC))
    typer.echo(json.dumps(asdict(report), indent=2) if as_json else "\n".join(lines(report)))
    if report.total.done < report.total.units or report.unrecorded:
        raise typer.Exit(1)


app = command(show_status)

if __name__ == "__main__":
    app()
