"""`python -m analysis NAME --results DIR`: prints one analysis and writes it as CSV."""

from typing import Annotated

import polars as pl
import typer

from analysis import ANALYSES, run
from analysis.cache.parallel import mapping, n_cores, processes
from dynamics.command_line import FRESH, WORKERS, command, user_errors_exit_2
from dynamics.results.places import place, put


def main(
    name: Annotated[str, typer.Argument(help=f"one of: {', '.join(ANALYSES)}")],
    results: Annotated[str, typer.Option(help="folder that a sweep wrote, or its s3:// or gs:// URI")],
    out: Annotated[str | None, typer.Option(help="folder or URI for NAME.csv; default RESULTS/analysis")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help=FRESH)] = False,
    workers: Annotated[int | None, typer.Option(min=1, help=WORKERS)] = None,
) -> None:
    """Compute one analysis, print it and save it as CSV; docs/analyses.md describes each."""
    with user_errors_exit_2():
        with processes(workers or n_cores()) as in_processes, mapping(in_processes):
            table = run(name, results, fresh=fresh)
        csv = (place(out) if out else place(results) / "analysis") / f"{name}.csv"
        put(csv, table.write_csv().encode())
    typer.echo(
        as_text(table) if len(table) else f"{name} holds nothing of these results; docs/analyses.md: what it needs"
    )
    typer.echo(f"{len(table)} rows written to {csv}")


def as_text(table: pl.DataFrame, max_rows: int = 60) -> str:
    """A table for a terminal: constant columns in one line above it, numbers to three places."""
    constant = [name for name in table.columns if len(table) > 1 and table[name].n_unique() == 1]
    constants = ", ".join(f"{name} = {table[name][0]}" for name in constant)
    varying = table.drop(constant)
    settings = {"tbl_rows": max_rows, "tbl_cols": -1, "tbl_width_chars": 200, "tbl_hide_dataframe_shape": True}
    with pl.Config(**settings, tbl_hide_column_data_types=True, tbl_formatting="NOTHING", float_precision=3):
        return f"{constants}\n{varying}"


app = command(main)

if __name__ == "__main__":
    app()
