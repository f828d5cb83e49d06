"""`python -m figures [NAME] --results DIR --out DIR2`: draws one figure, or all of them and a page that shows them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynamics.command_line import FRESH, WORKERS, command, user_errors_exit_2
from dynamics.errors import PlanError
from dynamics.results.places import Place, place
from dynamics.tracking import Tracker, check_installed, send_page
from figures import NAMES

if TYPE_CHECKING:
    from figures.drawing import DrawnFigure


def main(
    results: Annotated[str, typer.Option(help="folder that a sweep wrote, or its s3:// or gs:// URI")],
    out: Annotated[str | None, typer.Option(help="folder or URI for the pictures; default RESULTS/figures")] = None,
    name: Annotated[
        str | None, typer.Argument(help=f"one of: {', '.join(NAMES)}; all if left out, but those that take long")
    ] = None,
    log: Annotated[
        Tracker | None, typer.Option(help="send the page to this tracker too, into the run of these results")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help=f"{FRESH}; and draw again what is drawn already")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help=WORKERS)] = None,
) -> None:
    """Regenerate figures from the Parquet results; with all of them, index.html: figures, tables and provenance.

    Figures whose table and code are as they were when they were drawn are left as they are.
    """
    with user_errors_exit_2():
        store = place(results)
        folder = place(out) if out else store / "figures"
        check_installed(log)
        if log and (name or not isinstance(folder, Path)):
            raise PlanError("--log sends the page with all figures: leave NAME out, and give --out a folder on a disk")
        # Only now, so that --help does not wait for matplotlib.
        from analysis.cache.parallel import mapping, n_cores, processes
        from analysis.reading.result_tables import load
        from analysis.reading.snapshots import snapshot
        from figures.drawing import draw, draw_all, drawn_by_default
        from figures.report import write_report

        cores = workers or n_cores()
        with snapshot(store, fresh=fresh), processes(cores) as in_processes, mapping(in_processes):
            if name:
                _print_files(draw(name, store, folder, fresh=fresh))
                typer.echo(f"written to {folder}")
                return
            load(store, "units")
            drawn = [_print_files(figure) for figure in draw_all(drawn_by_default(), store, folder, fresh=fresh)]
            page = write_report(drawn, store, folder)
        if log and isinstance(folder, Path):
            typer.echo(send_page(log, store, folder))
        typer.echo(f"open {page} in a browser")


def _print_files(drawn: "DrawnFigure") -> "DrawnFigure":
    if drawn.files:
        typer.echo(f"{drawn.name}: {_in_short(drawn.files)}")
    if drawn.missing:
        typer.echo(f"{drawn.name}: nothing to draw. {drawn.missing}", err=True)
    return drawn


def _in_short(files: Sequence[Place]) -> str:
    """Files of one figure in few words: `emergence.png, .svg, .pdf, .csv`."""
    by_stem: dict[str, list[str]] = {}
    for file in files:
        by_stem.setdefault(Path(file.name).stem, []).append(Path(file.name).suffix)
    return ", ".join(f"{stem}{', '.join(suffixes)}" for stem, suffixes in by_stem.items())


app = command(main)

if __name__ == "__main__":
    app()
