"""Drawing figures from analysis tables, unless they are drawn already, and writing them with the tables beside them."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import polars as pl
from matplotlib import rc_context

import analysis
from analysis.cache.parallel import mapped
from dynamics.errors import PlanError, StoreError, unknown
from dynamics.results.places import Place, put
from figures import NAMES
from figures.captions import missing_checkpoints
from figures.records import Picture, Record, checksum, hash_of, read_record, write_record
from figures.saving import rendered
from figures.spec import FigureSpec
from figures.style import rc_params

FIGURES: dict[str, FigureSpec] = {name: import_module(f"figures.{name}").FIGURE for name in NAMES}
"""In the order of the report."""
DIGITS = 9
"""Of the numbers beside a figure: enough to read and plot, and the same in every run."""


@dataclass(frozen=True)
class DrawnFigure:
    """A figure that was drawn: its pictures, the table behind them, and all files written.

    `missing` is the reason where there was nothing to draw; then there is no picture.
    """

    name: str
    question: str
    caption: str
    table: pl.DataFrame
    pictures: tuple[Picture, ...]
    files: tuple[Place, ...]
    missing: str = ""


def drawn_by_default() -> list[str]:
    """The figures that are drawn where none is named: all but those that take long."""
    return [name for name, figure in FIGURES.items() if not figure.only_by_name]


def draw(name: str, results: Place, out: Place, *, fresh: bool = False) -> DrawnFigure:
    """Draw one figure from results and write it as PNG, SVG and PDF, with the table behind it as CSV.

    Files that were drawn from the same table by the same code are left as they are.

    Args:
        name: one of `FIGURES`.
        results: folder that a sweep wrote.
        out: folder of the pictures.
        fresh: compute and draw all anew.

    Raises:
        PlanError: no such figure; the message lists what there is.
        StoreError: the folder holds no results, or not the table that the figure needs.
    """
    if name not in FIGURES:
        raise PlanError(unknown("figure", name, FIGURES))
    spec = FIGURES[name]
    table = analysis.rounded(analysis.run(spec.analysis, results, fresh=fresh), DIGITS)
    csv = table.write_csv().encode()
    made_of = hash_of(name, csv, table)
    record = None if fresh else read_record(name, out, made_of)
    record = record or _drawn(name, table, {f"{name}.csv": csv}, out, made_of)
    return DrawnFigure(
        name=name,
        question=spec.question,
        caption=record.caption,
        table=table,
        pictures=record.pictures,
        files=tuple(out / file for file in sorted(record.files)),
        missing="" if record.pictures else why_missing(spec, table),
    )


def _drawn(name: str, table: pl.DataFrame, files: dict[str, bytes], out: Place, made_of: str) -> Record:
    """Draw a figure and write its files and their record."""
    spec, shown = FIGURES[name], without_controls(table)
    with rc_context(rc_params()):
        figures = spec.draw(shown) if len(shown) else {}
        for picture, figure in figures.items():
            files |= rendered(picture, figure)
    for file in sorted(files):
        put(out / file, files[file])
    record = Record(
        made_of=made_of,
        caption=spec.caption(shown) + missing_checkpoints(shown) if figures else "",
        pictures=tuple(Picture(picture, *figure.get_size_inches().tolist()) for picture, figure in figures.items()),
        files={file: checksum(files[file]) for file in sorted(files)},
    )
    write_record(name, out, record)
    return record


def why_missing(spec: FigureSpec, table: pl.DataFrame) -> str:
    """Why a table holds nothing for a figure."""
    return spec.missing if isinstance(spec.missing, str) else spec.missing(without_controls(table))


def without_controls(table: pl.DataFrame) -> pl.DataFrame:
    """The rows without a control, where there are any: ten seeds of each would be as many panels that tell nothing new.

    The figure `controls` draws them; the CSV beside every figure holds all rows.
    """
    if "control" not in table.columns or "none" not in table["control"]:
        return table
    return table.filter(control="none")


def draw_all(names: Sequence[str], results: Place, out: Place, *, fresh: bool = False) -> Iterator[DrawnFigure]:
    """`draw_if_available` for many figures, in processes where that takes long (`analysis.cache.parallel`).

    Not if `fresh`: processes share the tables of curves through what is kept, which is then ignored. Those tables come
    first, and use all processes.
    """
    one = partial(draw_if_available, results=results, out=out, fresh=fresh)
    if fresh:
        yield from map(one, names)
        return
    with suppress(StoreError):  # which the figures of curves say, too
        analysis.run("emergence", results)
    yield from mapped(one, names, "figures", only_here=True)


def draw_if_available(name: str, results: Place, out: Place, *, fresh: bool = False) -> DrawnFigure:
    """`draw`, for a figure among many: where the results lack its tables it has no picture, and `missing` says why."""
    try:
        return draw(name, results, out, fresh=fresh)
    except StoreError as error:
        return DrawnFigure(name, FIGURES[name].question, "", pl.DataFrame(), (), (), str(error))
