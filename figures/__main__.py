"""`python -m figures [NAME] --results DIR --out DIR2`: draw one figure, or all."""

from pathlib import Path
from typing import Annotated

import typer

from dynamics.errors import refusals_exit_2
from figures import FIGURES, draw


def main(
    results: Annotated[Path, typer.Option(help="folder that a sweep wrote")],
    out: Annotated[Path, typer.Option(help="folder for the pictures and the data behind them")],
    name: Annotated[str | None, typer.Argument(help=f"one of: {', '.join(FIGURES)}; all if left out")] = None,
) -> None:
    """Regenerate figures from the Parquet results."""
    with refusals_exit_2():
        for each in [name] if name else FIGURES:
            for path in draw(each, results, out):
                typer.echo(path)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
