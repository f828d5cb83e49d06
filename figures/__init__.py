"""matplotlib over analysis tables: one file per figure, one line each in `FIGURES`. No statistic is computed here."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pkgutil import resolve_name

import polars as pl
from matplotlib import rc_context
from matplotlib.figure import Figure

import analysis
from dynamics.errors import PlanError, unknown
from dynamics.storage import Place, put
from figures import style

FIGURES = {
    "component_heatmap": "figures.component_heatmap:FIGURE",
    "component_kinds": "figures.component_kinds:FIGURE",
    "consistency": "figures.consistency:FIGURE",
    "contrast": "figures.contrast:FIGURE",
    "controls": "figures.controls:FIGURE",
    "diamond": "figures.diamond:FIGURE",
    "emergence": "figures.emergence:FIGURE",
    "reweighting_gain": "figures.reweighting_gain:FIGURE",
    "transfer": "figures.transfer:FIGURE",
}
FORMATS = ("png", "svg")


@dataclass(frozen=True)
class FigureOf:
    """A figure: the analysis it draws, and how its table becomes one or more named pictures."""

    analysis: str
    draw: Callable[[pl.DataFrame], dict[str, Figure]]


def draw(name: str, results: Place, out: Place) -> list[Place]:
    """Draw one figure from results and write it as PNG and SVG, with the table behind it as CSV.

    Returns:
        The files written, sorted.

    Raises:
        PlanError: no such figure; the message lists what there is.
        StoreError: the folder holds no results.
    """
    if name not in FIGURES:
        raise PlanError(unknown("figure", name, FIGURES))
    figure_of: FigureOf = resolve_name(FIGURES[name])
    table = analysis.run(figure_of.analysis, results)
    files = {f"{name}.csv": table.write_csv().encode()}
    with rc_context(style.house()):
        for picture, figure in figure_of.draw(untouched(table)).items():
            for suffix in FORMATS:
                drawn = BytesIO()
                figure.savefig(drawn, format=suffix, metadata={"Date": None} if suffix == "svg" else None)
                files[f"{picture}.{suffix}"] = drawn.getvalue()
    for file in sorted(files):
        put(out / file, files[file])
    return [out / file for file in sorted(files)]


def untouched(table: pl.DataFrame) -> pl.DataFrame:
    """The rows without a control, where there are any: ten seeds of each would be as many panels of no news.

    The figure `controls` draws them; the CSV beside every figure holds all rows.
    """
    if "control" not in table.columns or "none" not in table["control"]:
        return table
    return table.filter(control="none")
