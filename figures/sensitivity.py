"""How much of the spread between prompts is the wording, how much the demonstrations?"""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

SUBJECTS = {"Full": "full model", "T1": "best component", "components": "average component"}
SD_TICKS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
_LEGEND = {
    "template": "wording (template)",
    "demonstrations": "demonstrations",
    "rest": "rest: their combination",
    "test_rows": "finite test set",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per panel, one row per subject: variances by source, on an axis that reads in SDs of accuracy."""
    several = table["model"].n_unique() > 1
    pages = style.pages("sensitivity", table.partition_by(style.PANEL, maintain_order=True), 4)
    return {name: _page(page, several_models=several) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    figure, grid = style.column_grid(len(SUBJECTS), len(panels), 1.55, sharey="all")
    for column, panel in zip(grid.T, panels, strict=True):
        for axes, subject in zip(column, SUBJECTS, strict=True):
            _panel(axes, panel.filter(subject=subject), panel)
        style.title(column[0], style.panel_title(panel.row(0, named=True), several_models=several_models))
    for row, name in zip(grid, SUBJECTS.values(), strict=True):
        row[0].set_ylabel(name)
    figure.supylabel("SD of accuracy between prompts")
    style.x_label(figure, style.STEP_LABEL)
    style.legend_above(figure, list(grid.flat), _LEGEND, columns=4)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, panel: pl.DataFrame) -> None:
    axes.set_yscale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0)), np.square))
    for source, look in style.SOURCES.items():
        style.curve(axes, rows.filter(source=source), look, source, y="variance", sd=None)
    axes.set_yticks([sd**2 for sd in SD_TICKS], [f"{sd:g}" for sd in SD_TICKS])
    axes.set_ylim(0, 0.4**2)
    style.time_axis(axes, panel)


def caption(table: pl.DataFrame) -> str:
    """The larger source for the full model at the last step."""
    ends = []
    for last in wording.at_last_step(table):
        rows = last.filter(pl.col("subject") == "Full", pl.col("share").is_not_null())
        said = [f"{_LEGEND[row['source']]} {100 * row['share']:.0f} %" for row in rows.iter_rows(named=True)]
        if said:
            ends.append(f"{wording.name(last, table)}: {wording.listing(said)}")
    shares = f" Shares of the full model's variance at the last step: {wording.by_panel(ends)}." if ends else ""
    return (
        "Variance of accuracy between prompts split by source; unbiased estimates below zero are drawn at 0. The "
        f"finite test set's part would vanish with more rows.{shares}"
    )


FIGURE = FigureOf(
    analysis="sensitivity",
    question="Is it the wording or the demonstrations that accuracy hangs on?",
    draw=draw,
    caption=caption,
)
