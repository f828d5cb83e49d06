"""`python -m figures [NAME] --results DIR --out DIR2`: draw one figure, or all."""

from typing import Annotated

import typer

from dynamics.errors import refusals_exit_2
from dynamics.storage import place
from figures import FIGURES, draw


def main(
    results: Annotated[str, typer.Option(help="folder that a sweep wrote, or its s3:// or gs:// URI")],
    out: Annotated[str, typer.Option(help="folder or URI for the pictures and the data behind them")],
    name: Annotated[str | None, typer.Argument(help=f"one of: {', '.join(FIGURES)}; all if left out")] = None,
) -> None:
    """Regenerate figures from the Parquet results."""
    with refusals_exit_2():
        for each in [name] if name else FIGURES:
            for path in draw(each, place(results), place(out)):
                typer.echo(path)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
