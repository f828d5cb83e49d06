"""The report, a page that opens from disk: figures with captions, their tables, and where the numbers come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import analysis
from analysis.provenance import plans
from dynamics.errors import StoreError
from dynamics.results.places import Place, put
from figures.captions import short_model
from figures.drawing import DIGITS, DrawnFigure, without_controls
from figures.explorer.content import Content, as_json, explorer_content
from figures.explorer.libraries import datatables, vega
from figures.reading import TERMS
from figures.records import FOLDER
from figures.summary import MAX_SHOWN, summary, to_try

TABLES = {
    "false_emergence": "How many curves emerge whose labels mean nothing?",
    "paper_tables": "The paper's main tables, in percent",
}
"""Analyses that the page shows as tables only: name -> heading."""
MAX_CELLS = 60_000
"""Most cells of a table that is part of the page; longer ones are linked as CSV."""
MAX_INLINE = 20_000_000
"""Most bytes of the explorer's numbers in the page; beyond, they are in a file beside it."""
EXPLORER_TABLES = ("emergence", "bias_or_knowledge", "component_onsets", "mechanisms")
"""Analyses, and the figures of the same name, that the explorer shows beside `component_curves`."""
SUMMARY_TABLES = ("emergence", "onsets", "component_onsets")
EXPLORER_SCRIPTS = ("decode", "state", "charts", "components", "take", "draw", "main", "controls")
SIDECAR = "explorer-data.js"


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
    def data(self) -> dict[str, object]:
        """Columns and rows for the page's script."""
        return {"columns": self.columns, "rows": self.rows}


def write_report(drawn: Sequence[DrawnFigure], results: Place, out: Place) -> Place:
    """Write `index.html` beside the pictures, and the CSV of every table that has no figure.

    The page begins with the explorer and needs nothing but the files beside it: no network, no other script or style.
    Where the explorer's numbers are more than `MAX_INLINE`, they are in `explorer-data.js`.

    Args:
        drawn: the figures, in the order of the page; those without a picture are listed at its end.
        results: folder that a sweep wrote.
        out: folder of the pictures.

    Returns:
        The page.
    """
    checkpoints = analysis.run("provenance", results)
    explorer = _explorer(drawn, checkpoints, results)
    sidecar = explorer is not None and explorer.n_bytes > MAX_INLINE
    if explorer and sidecar:
        put(out / SIDECAR, f"window.explorerBlocks={as_json(list(explorer.blocks))};".encode())
    said = summary({figure.name: without_controls(figure.table) for figure in drawn if figure.name in SUMMARY_TABLES})
    page = out / "index.html"
    text = (
        _environment()
        .get_template("report.html")
        .render(
            figures=[(figure, report_table(figure.name, "", figure.table)) for figure in drawn if figure.pictures],
            missing=[figure for figure in drawn if not figure.pictures],
            tables=_tables(results, out),
            summary=said,
            max_shown=MAX_SHOWN,
            terms=TERMS,
            to_try=to_try(said),
            overview=overview(checkpoints),
            checkpoints=report_table("provenance", "Checkpoints", _write_csv("provenance", checkpoints, out)),
            versions=checkpoints["versions"].unique().sort().to_list(),
            plans=plans(results),
            explorer=explorer,
            sidecar=sidecar,
            style=_asset("explorer.css"),
            scripts=[_asset(f"{name}.js") for name in ("tables", *(EXPLORER_SCRIPTS if explorer else ()))],
            datatables=as_json(datatables()),
            vega=vega(out / FOLDER) if explorer else "",
        )
    )
    put(page, text.encode())
    return page


def _environment() -> Environment:
    """Templates in which every text is escaped; `inert` is JSON for a script element that is only read."""
    loader = PackageLoader("figures", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["inert"] = lambda content: Markup(as_json(content))
    return environment


def _explorer(drawn: Sequence[DrawnFigure], checkpoints: pl.DataFrame, results: Place) -> Content | None:
    """What the explorer shows; None where no component has a score."""
    try:
        curves = analysis.run("component_curves", results)
    except StoreError:
        return None
    tables = {figure.name: figure.table for figure in drawn if figure.name in EXPLORER_TABLES}
    return explorer_content(curves, tables, checkpoints, results) if len(curves) else None


def _asset(name: str) -> str:
    return files("figures.explorer").joinpath(name).read_text(encoding="utf-8")


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
    rows = _rows(varying) if _fits(varying) else []
    return ReportTable(name, heading, constants, varying.columns, rows, len(varying) if rows else len(table))


def _constant_and_varying(table: pl.DataFrame) -> tuple[str, pl.DataFrame]:
    """The columns that are the same in all rows, as one line, and a table of the others."""
    constant = [column for column in table.columns if len(table) > 1 and table[column].n_unique() == 1]
    return ", ".join(f"{column} = {_text(table[column][0])}" for column in constant), table.drop(constant)


def _rows(table: pl.DataFrame) -> list[tuple[object, ...]]:
    """The rows as JSON has them; column by column, since most columns hold texts or whole numbers, kept as they are."""
    as_they_are = (pl.String, pl.Boolean, pl.Int64, pl.UInt32)
    columns = [
        column.to_list() if column.dtype in as_they_are else [_cell(value) for value in column] for column in table
    ]
    return list(zip(*columns, strict=True))


def _fits(table: pl.DataFrame) -> bool:
    return table.height * table.width <= MAX_CELLS


def _tables(results: Place, out: Place) -> list[ReportTable]:
    """Those of `TABLES` that the results hold; the paper's only where a row has a value of the paper."""
    tables = []
    for name, heading in TABLES.items():
        try:
            table = analysis.rounded(analysis.run(name, results), DIGITS)
        except StoreError:
            continue
        no_paper = name == "paper_tables" and table["paper"].null_count() == len(table)
        if len(table) and not no_paper:
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
