"""The report, a page that opens from disk: figures with captions, their tables, and where the numbers come from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

import analysis
from analysis.provenance import plans
from dynamics.errors import StoreError
from dynamics.results.places import Place, put
from figures import DIGITS, DrawnFigure
from figures.captions import short_model

TABLES = {
    "false_emergence": "How many curves emerge whose labels mean nothing",
    "paper_tables": "The paper's main tables, in percent",
}
"""Analyses that the page shows as tables only: name -> heading."""
MAX_CELLS = 60_000
"""Most cells of a table that is part of the page; longer ones are linked as CSV."""


@dataclass(frozen=True)
class ReportTable:
    """A table of the page: one line of its constant columns, its other columns, and their rows.

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


def write_report(drawn: Sequence[DrawnFigure], results: Place, out: Place) -> Place:
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
        figures=[(figure, report_table(figure.name, "", figure.table)) for figure in drawn if figure.pictures],
        missing=[figure for figure in drawn if not figure.pictures],
        tables=_tables(results, out),
        overview=overview(checkpoints),
        checkpoints=report_table("provenance", "Checkpoints", _write_csv("provenance", checkpoints, out)),
        versions=checkpoints["versions"].unique().sort().to_list(),
        plans=plans(results),
    )
    put(page, text.encode())
    return page


def overview(checkpoints: pl.DataFrame) -> list[tuple[str, str]]:
    """Models, checkpoints, units and largest errors as (label, value), from the rows of `provenance`."""
    counts = checkpoints.select(pl.col("n_units", "n_failed").sum()).row(0, named=True)
    failed = f", and {counts['n_failed']:,} failed" if counts["n_failed"] else ""
    left_out = _reasons(checkpoints.filter(~pl.col("counts")))
    rows = [
        ("models", ", ".join(short_model(model) for model in checkpoints["model"].unique().sort())),
        ("checkpoints", str(len(checkpoints))),
        ("units", f"{counts['n_units']:,}{failed}"),
        ("left out", ", ".join(f"{short_model(m)} step {s} ({reason})" for m, s, reason in left_out) or "nothing"),
    ]
    for label, column in (
        ("parts against logits", "decomposition_error"),
        ("logits against the model", "forward_error"),
    ):
        worst = checkpoints[column].max()
        if isinstance(worst, float):
            rows.append((label, f"largest relative error {worst:.1e}"))
    return rows


def report_table(name: str, heading: str, table: pl.DataFrame) -> ReportTable:
    """A table as the page shows it: numbers to four digits, constant columns in one line above.

    Of one that is too long, without the rows of single templates if it has those of all prompts beside them.
    """
    constants, varying = _constant_and_varying(table)
    if not _fits(varying) and "template" in table.columns and "" in table["template"]:
        constants, varying = _constant_and_varying(table.filter(template="").drop("template"))
        constants = ", ".join(filter(None, [constants, f"all prompts (rows of single templates: {name}.csv)"]))
    rows = [[_cell(value) for value in row] for row in varying.iter_rows()] if _fits(varying) else []
    return ReportTable(name, heading, constants, varying.columns, rows, len(varying) if rows else len(table))


def _constant_and_varying(table: pl.DataFrame) -> tuple[str, pl.DataFrame]:
    """The columns that are the same in all rows, as one line, and a table of the others."""
    constant = [column for column in table.columns if len(table) > 1 and table[column].n_unique() == 1]
    return ", ".join(f"{column} = {_text(table[column][0])}" for column in constant), table.drop(constant)


def _fits(table: pl.DataFrame) -> bool:
    return table.height * table.width <= MAX_CELLS


def _tables(results: Place, out: Place) -> list[ReportTable]:
    """Those of `TABLES` that the results hold."""
    tables = []
    for name, heading in TABLES.items():
        try:
            table = analysis.rounded(analysis.run(name, results), DIGITS)
        except StoreError:
            continue
        if len(table):
            tables.append(report_table(name, heading, _write_csv(name, table, out)))
    return tables


def _write_csv(name: str, table: pl.DataFrame, out: Place) -> pl.DataFrame:
    put(out / f"{name}.csv", table.write_csv().encode())
    return table


def _reasons(left_out: pl.DataFrame) -> list[tuple[str, int, str]]:
    """(model, step, reason) of checkpoints that are left out."""
    reason = pl.when(pl.col("flags") == "").then(pl.lit("no finished unit")).otherwise("flags")
    return left_out.select("model", "step", reason).rows()


def _cell(value: object) -> object:
    """A value that JSON has: floats to four significant digits, lists and dates as text."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if value == value else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _text(value: object) -> str:
    cell = _cell(value)
    return "none" if cell is None or cell == "" else str(cell)
