"""`python -m jobs.derive OUT`: scores and fits again from stored contributions, without opening a model."""

from pathlib import Path
from typing import Annotated

import typer

from dynamics.command_line import command, user_errors_exit_2


def main(
    out: Annotated[str, typer.Argument(metavar="OUT", help="folder or URI that a sweep wrote")],
    plan: Annotated[Path | None, typer.Option(help="plan whose [fits] to add; default: those of OUT/plans")] = None,
) -> None:
    """Score every finished unit again, and add the fits that the plans have and the results lack.

    Exit code 0: all is scored; 2: results cannot be read, or two fits have the same name.
    """
    with user_errors_exit_2():
        from dynamics.results.metadata import saved_plans
        from dynamics.results.store import open_store
        from jobs.rescoring import derive
        from jobs.sweep_plan import parse_plan, read_plan

        store = open_store(out)
        plans = [read_plan(plan)] if plan else [parse_plan(text, name) for name, text in saved_plans(store).items()]
        n_parts, n_added = derive(store, plans)
    typer.echo(f"{n_parts} parts scored again, {n_added} fits added")


app = command(main)

if __name__ == "__main__":
    app()
