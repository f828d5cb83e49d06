"""matplotlib over analysis tables: one file per figure, one line each in `FIGURES`. No statistic is computed here."""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name

import polars as pl
from matplotlib import rc_context
from matplotlib.figure import Figure

import analysis
from dynamics.errors import PlanError, StoreError, unknown
from dynamics.results.places import Place, put
from figures import style, wording
from figures.saving import rendered

FIGURES = {
    "emergence": "figures.emergence:FIGURE",
    "onsets": "figures.onsets:FIGURE",
    "leads": "figures.leads:FIGURE",
    "component_onsets": "figures.component_onsets:FIGURE",
    "reweighting_gain": "figures.reweighting_gain:FIGURE",
    "controls": "figures.controls:FIGURE",
    "component_heatmap": "figures.component_heatmap:FIGURE",
    "component_kinds": "figures.component_kinds:FIGURE",
    "diamond": "figures.diamond:FIGURE",
    "consistency": "figures.consistency:FIGURE",
    "contrast": "figures.contrast:FIGURE",
    "sensitivity": "figures.sensitivity:FIGURE",
    "churn": "figures.churn:FIGURE",
    "survival": "figures.survival:FIGURE",
    "weights": "figures.weights:FIGURE",
    "transfer": "figures.transfer:FIGURE",
    "transfer_weights": "figures.transfer_weights:FIGURE",
    "scaling": "figures.scaling:FIGURE",
    "seed_spread": "figures.seed_spread:FIGURE",
    "seed_matching": "figures.seed_matching:FIGURE",
    "paper_dynamics": "figures.paper_dynamics:FIGURE",
}
"""In the order of the report."""
DIGITS = 9
"""Of the numbers beside a figure: enough to read and plot, and the same in every run."""


@dataclass(frozen=True)
class FigureOf:
    """A figure: the analysis it draws, and how its table becomes pictures and words.

    Attributes:
        analysis: name of the analysis.
        question: what the figure answers, in one line; its heading in the report.
        draw: table -> picture name -> figure; empty where the table holds nothing to draw.
        caption: table -> what the pictures show, with the numbers that matter.
        missing: what these results lack, and what to sweep, where there is nothing to draw.
    """

    analysis: str
    question: str
    draw: Callable[[pl.DataFrame], dict[str, Figure]]
    caption: Callable[[pl.DataFrame], str]
    missing: str = "These results hold nothing for this figure."


@dataclass(frozen=True)
class Picture:
    """A picture that was written: its name without suffix, and its size in inches."""

    name: str
    width: float
    height: float


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn: its pictures, the table behind them, and all files written.

    `missing` says why where there was nothing to draw; then there is no picture.
    """

    name: str
    question: str
    caption: str
    table: pl.DataFrame
    pictures: tuple[Picture, ...]
    files: tuple[Place, ...]
    missing: str = ""


def draw(name: str, results: Place, out: Place) -> Drawn:
    """Draw one figure from results and write it as PNG, SVG and PDF, with the table behind it as CSV.

    Raises:
        PlanError: no such figure; the message lists what there is.
        StoreError: the folder holds no results, or not the table that the figure needs.
    """
    if name not in FIGURES:
        raise PlanError(unknown("figure", name, FIGURES))
    figure_of: FigureOf = resolve_name(FIGURES[name])
    table = analysis.rounded(analysis.run(figure_of.analysis, results), DIGITS)
    shown = untouched(table)
    with rc_context(style.house()):
        figures = figure_of.draw(shown) if len(shown) else {}
        files = {file: data for picture, figure in figures.items() for file, data in rendered(picture, figure).items()}
    files[f"{name}.csv"] = table.write_csv().encode()
    for file in sorted(files):
        put(out / file, files[file])
    pictures = tuple(Picture(name, *figure.get_size_inches().tolist()) for name, figure in figures.items())
    caption, missing = (figure_of.caption(shown) + wording.flags(shown), "") if figures else ("", figure_of.missing)
    written = tuple(out / file for file in sorted(files))
    return Drawn(name, figure_of.question, caption, table, pictures, written, missing)


def untouched(table: pl.DataFrame) -> pl.DataFrame:
    """The rows without a control, where there are any: ten seeds of each would be as many panels of no news.

    The figure `controls` draws them; the CSV beside every figure holds all rows.
    """
    if "control" not in table.columns or "none" not in table["control"]:
        return table
    return table.filter(control="none")


def draw_if_there(name: str, results: Place, out: Place) -> Drawn:
    """`draw`, for a figure among many: results that lack its tables leave it without a picture, and it says why."""
    try:
        return draw(name, results, out)
    except StoreError as error:
        return Drawn(name, resolve_name(FIGURES[name]).question, "", pl.DataFrame(), (), (), str(error))
