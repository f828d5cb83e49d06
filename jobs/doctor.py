"""`python -m jobs.doctor PLAN`: try the Hub for a plan: a file of each dataset, and the smallest checkpoint's setup.

Each line says what was tried and what came out, with a remedy where it failed. It goes through everything that a sweep
relies on and that differs between networks: listings, redirects to the store of large files, hashes, the names of
labels, the tokenizer. Its tests use a local Hub: **nothing was tried against the real one yet**, so run this before a
first real sweep.
"""

from pathlib import Path
from typing import Annotated

import typer

from dynamics.command_line import command, user_errors_exit_2
from jobs.plan_arguments import PLAN


def examine(plan_file: Annotated[Path, PLAN]) -> None:
    """Try the Hub for a plan: one file of each dataset, and the setup files of the smallest checkpoint.

    Exit code 0: a sweep can fetch what it needs; 1: something failed, with its remedy; 2: the plan is wrong.
    """
    with user_errors_exit_2():
        from jobs.sweep_plan import read_plan

        plan = read_plan(plan_file)
        from jobs.hub_checks import examined  # only now, so that a wrong plan is refused at once

        checks = []
        for check in examined(plan):
            typer.echo(check.line())
            checks.append(check)
    if failed := sum(not check.ok for check in checks):
        typer.echo(f"{failed} of {len(checks)} checks failed", err=True)
        raise typer.Exit(1)


app = command(examine)

if __name__ == "__main__":
    app()
