"""Are the same components good under another prompt? Pearson's r and overlap of the best five, over training."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

MEASURES = {"r": ("Pearson r", (-1.0, 1.0)), "iou": ("IoU of the top components", (0.0, 1.0))}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per task and number of shots: r above, IoU below; means over pairs of prompts +-1 SD."""
    panels = table.partition_by(style.PANEL, maintain_order=True)
    several = table["model"].n_unique() > 1
    pages = style.pages("consistency", panels, 4)
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
    names = {
        "demonstrations": "other demonstrations, same template",
        "templates": "other template, same seed",
        "contrast": "contrastive template, same seed",
        "luck": "by luck: unrelated prompts",
    }
    style.legend_above(figure, list(grid.flat), names)
    return figure


def _panel(axes: Axes, panel: pl.DataFrame, measure: str) -> None:
    _, limits = MEASURES[measure]
    for across, look in style.PAIRS.items():
        rows = panel.filter(across=across)
        if len(rows):
            style.curve(axes, rows, look, across, y=measure, sd=f"{measure}_sd", limits=limits)
    luck = panel["iou_by_luck"][0] if measure == "iou" else 0.0
    style.chance_line(axes, luck, "luck")
    style.time_axis(axes, panel)
    axes.set_ylim(limits[0] - 0.03, limits[1] + 0.03)


def caption(table: pl.DataFrame) -> str:
    """Agreement at the last step."""
    ends = []
    for last in wording.at_last_step(table):
        said = [f"{row['across']} r {wording.number(row['r'])}" for row in last.iter_rows(named=True)]
        ends.append(f"{wording.name(last, table)}: across {wording.listing(said)}")
    return (
        "Agreement between pairs of prompts on which components are accurate: Pearson's r of all components' "
        f"accuracies and overlap (IoU) of the {table['top'][0]} best; means over pairs, shaded ±1 SD. "
        f"At the last step: {wording.by_panel(ends)}."
    )


FIGURE = FigureOf(
    analysis="consistency",
    question="Are the same components good under another prompt?",
    draw=draw,
    caption=caption,
    missing="No two prompts of one task to compare: sweep more seeds or templates.",
)
