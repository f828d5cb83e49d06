"""One page that opens from disk: all figures with captions, their tables, and where the numbers come from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

import analysis
from analysis.provenance import plans
from dynamics.errors import StoreError
from dynamics.results.places import Place, put
from figures import DIGITS, Drawn, style

TABLES = {
    "false_emergence": "Curves whose labels mean nothing: how many emerge",
    "paper_tables": "The paper's main tables, in percent",
}
"""Analyses that the page shows as tables only: name -> heading."""
MOST_CELLS = 60_000
"""Cells that a table may have to be part of the page; longer ones are linked as CSV."""


@dataclass(frozen=True)
class Shown:
    """A table of the page: its columns that vary, one line of those that do not, rows, and its CSV.

    `rows` is empty where the table is too long for the page; `length` counts all of them.
    """

    name: str
    heading: str
    constant: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    length: int

    @property
    def data(self) -> str:
        """Columns and rows as JSON for the page's script."""
        return json.dumps({"columns": self.columns, "rows": self.rows}, separators=(",", ":"))


def write_report(drawn: Sequence[Drawn], results: Place, out: Place) -> Place:
    """Write `index.html` beside the pictures, and the CSV of every table that has no figure.

    The page needs nothing but the files beside it: no network, no other script or style.

    Args:
        drawn: the figures, in the order of the page; those without a picture are listed at its end.
        results: folder that a sweep wrote.
        out: folder of the pictures.

    Returns:
        The page.
    """
    checkpoints = analysis.run("provenance", results)
    page = out / "index.html"
    template = Environment(
        loader=PackageLoader("figures", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template("report.html")
    text = template.render(
        figures=[(figure, shown(figure.name, "", figure.table)) for figure in drawn if figure.pictures],
        missing=[figure for figure in drawn if not figure.pictures],
        tables=_tables(results, out),
        overview=overview(checkpoints),
        checkpoints=shown("provenance", "Checkpoints", _written("provenance", checkpoints, out)),
        versions=checkpoints["versions"].unique().sort().to_list(),
        plans=plans(results),
    )
    put(page, text.encode())
    return page


def overview(checkpoints: pl.DataFrame) -> list[tuple[str, str]]:
    """What the results hold, as (words, value), from the rows of `provenance`."""
    counts = checkpoints.select(pl.col("n_units", "n_failed").sum()).row(0, named=True)
    left_out = checkpoints.filter(~pl.col("counts"))
    said = [
        ("models", ", ".join(style.short(model) for model in checkpoints["model"].unique().sort())),
        ("checkpoints", str(len(checkpoints))),
        ("units", f"{counts['n_units']:,}" + (f", and {counts['n_failed']:,} failed" if counts["n_failed"] else "")),
        ("left out", ", ".join(f"{style.short(m)} step {s} ({f})" for m, s, f in _flag_rows(left_out)) or "nothing"),
    ]
    for words, column in (
        ("parts against logits", "decomposition_error"),
        ("logits against the model", "forward_error"),
    ):
        worst = checkpoints[column].max()
        if isinstance(worst, float):
            said.append((words, f"largest relative error {worst:.1e}"))
    return said


def shown(name: str, heading: str, table: pl.DataFrame) -> Shown:
    """A table as the page shows it: numbers to four digits, columns that never change in one line above."""
    constant = [column for column in table.columns if len(table) > 1 and table[column].n_unique() == 1]
    above = ", ".join(f"{column} = {_value(table[column][0])}" for column in constant)
    varying = table.drop(constant)
    fits = varying.height * varying.width <= MOST_CELLS
    rows = [[_cell(value) for value in row] for row in varying.iter_rows()] if fits else []
    return Shown(name, heading, above, varying.columns, rows, len(table))


def _tables(results: Place, out: Place) -> list[Shown]:
    found = []
    for name, heading in TABLES.items():
        try:
            table = analysis.rounded(analysis.run(name, results), DIGITS)
        except StoreError:
            continue
        if len(table):
            found.append(shown(name, heading, _written(name, table, out)))
    return found


def _written(name: str, table: pl.DataFrame, out: Place) -> pl.DataFrame:
    put(out / f"{name}.csv", table.write_csv().encode())
    return table


def _flag_rows(checkpoints: pl.DataFrame) -> list[tuple[str, int, str]]:
    why = pl.when(pl.col("flags") == "").then(pl.lit("no finished unit")).otherwise("flags")
    return checkpoints.select("model", "step", why).rows()


def _cell(value: object) -> object:
    """A value that JSON has: floats to four significant digits, lists and dates as text."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if value == value else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _value(value: object) -> str:
    cell = _cell(value)
    return "none" if cell is None or cell == "" else str(cell)
