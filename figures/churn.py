"""Do the same components stay ahead? Every step against the last one and against the one before."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

MEASURES = {"rank_correlation": ("rank correlation", (-1.0, 1.0)), "iou": ("IoU of the top components", (0.0, 1.0))}
_LEGEND = {
    "final": "with the last step",
    "previous": "with the step before",
    "luck": "by luck: unrelated steps",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per panel: rank correlation of accuracies above, overlap of the best below; means +-1 SD."""
    several = table["model"].n_unique() > 1
    pages = style.pages("churn", table.partition_by(style.PANEL, maintain_order=True), 4)
    return {name: _page(page, several_models=several) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    figure, grid = style.column_grid(len(MEASURES), len(panels), 1.9)
    for column, panel in zip(grid.T, panels, strict=True):
        for axes, measure in zip(column, MEASURES, strict=True):
            _panel(axes, panel, measure)
        style.title(column[0], style.panel_title(panel.row(0, named=True), several_models=several_models))
    for row, (label, _) in zip(grid, MEASURES.values(), strict=True):
        row[0].set_ylabel(label)
    style.x_label(figure, style.STEP_LABEL)
    style.legend_above(figure, list(grid.flat), _LEGEND, columns=3)
    return figure


def _panel(axes: Axes, panel: pl.DataFrame, measure: str) -> None:
    _, limits = MEASURES[measure]
    for against, look in style.AGAINST.items():
        rows = panel.filter(pl.col("against") == against, pl.col("step") != pl.col("other_step"))
        style.curve(axes, rows, look, against, y=measure, sd=f"{measure}_sd", limits=limits)
    style.chance_line(axes, panel["iou_by_luck"][0] if measure == "iou" else 0.0, "luck")
    style.time_axis(axes, panel)
    axes.set_ylim(limits[0] - 0.03, limits[1] + 0.03)


def caption(table: pl.DataFrame) -> str:
    """How much the last two steps agree."""
    ends = [
        f"{wording.name(last, table)}: rank correlation {wording.number(row['rank_correlation'])}, "
        f"IoU {wording.number(row['iou'])}"
        for last in wording.at_last_step(table)
        for row in last.filter(against="previous").iter_rows(named=True)
    ]
    agree = f" Between the last two steps: {wording.by_panel(ends)}." if ends else ""
    return (
        "Spearman's rank correlation of all components' accuracies, and overlap (IoU) of the "
        f"{table['top'][0]} best, between a step and another; means over prompts, shaded ±1 SD.{agree}"
    )


FIGURE = FigureOf(
    analysis="churn",
    question="Do the same components stay ahead, or do they change places?",
    draw=draw,
    caption=caption,
    missing="No task here has a prompt at two steps.",
)
