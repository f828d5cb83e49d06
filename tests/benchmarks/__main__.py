"""`python -m tests.benchmarks [NAME ...] [--json FILE]`: measure, print one table, write JSON."""

import json
import os
import platform
import time
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated

import torch
import transformers
import typer

from dynamics.command_line import user_errors_exit_2
from dynamics.errors import PlanError, unknown
from tests.benchmarks import BENCHMARKS, ON_REQUEST
from tests.benchmarks.timing import Row

TASKS = {**BENCHMARKS, **ON_REQUEST}


def run(
    names: Annotated[list[str] | None, typer.Argument(help="some of: " + ", ".join(TASKS), metavar="[NAME]...")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="where to write the rows")] = None,
    threads: Annotated[int, typer.Option(min=1, help="threads of torch, for every method alike")] = 1,
) -> None:
    """Measure, and print which targets were met. Exit code 1 where one was missed."""
    with user_errors_exit_2():
        for name in names or ():
            if name not in TASKS:
                raise PlanError(unknown("benchmark", name, TASKS))
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    rows: list[Row] = []
    seconds: dict[str, float] = {}
    for name in names or BENCHMARKS:
        started = time.perf_counter()
        for row in resolve_name(TASKS[name])():
            rows.append(row)
            typer.echo(_line(row))
        seconds[name] = round(time.perf_counter() - started, 1)
    typer.echo(
        f"seconds: {', '.join(f'{name} {s:.0f}' for name, s in seconds.items())}; all {sum(seconds.values()):.0f}"
    )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": machine(threads), "seconds": seconds, "rows": [row.record for row in rows]}
        json_file.write_text(json.dumps(content, indent=1))
    raise typer.Exit(int(any(row.met is False for row in rows)))


def machine(threads: int) -> dict[str, object]:
    """The machine and versions of a run, without names."""
    return {
        "cores": os.cpu_count(),
        "threads": threads,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _line(row: Row) -> str:
    sign = ">=" if row.at_least else "<="
    target = "" if row.target is None else f"{sign} {row.target:.3g}"
    state = {True: "met", False: "MISSED", None: ""}[row.met]
    return f"{row.name:38} {row.on:44} {row.value:8.3f} {target:9} {state:6} {row.note}"


if __name__ == "__main__":
    typer.run(run)
