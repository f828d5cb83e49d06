"""Do the weights fitted on one task help another? Over training, one panel per pair of tasks."""

import polars as pl
from matplotlib.figure import Figure

from figures import FigureOf, style, wording
from figures.transfer import SETTING

CURVES = {"COMP RW": "own_rw", "Full": "full", "Transfer-1": "transfer_rw"}
_LEGEND = {
    "COMP RW": "COMP RW: weights fitted on this task",
    "Transfer-1": "weights fitted on the other task",
    "Full": "Full: the whole model, no weights",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per pair of tasks, the published pairs where there are any; of several fits that with most labels."""
    panels = [style.one_fit(panel) for panel in _pairs(table).partition_by(*SETTING, "source", "target")]
    panels.sort(key=lambda panel: panel.select(*SETTING, "source", "target").row(0))
    several = table["model"].n_unique() > 1
    pages = style.pages("transfer_weights", panels, 9)
    return {name: _page(page, several_models=several) for name, page in pages.items()}


def _pairs(table: pl.DataFrame) -> pl.DataFrame:
    across = table.filter(pl.col("matched") == "task", pl.col("source") != pl.col("target"))
    published = table.filter(matched="prompt")
    return across if published.is_empty() else published


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    figure, grid = style.panel_grid(len(panels), height=2.3)
    for axes, panel in zip(grid, panels, strict=True):
        first = panel.row(0, named=True)
        for curve, column in CURVES.items():
            style.curve(axes, panel, style.CURVES[curve], curve, y=column, sd=f"{column}_sd")
        style.chance_line(axes, first["chance"])
        style.time_axis(axes, panel)
        axes.set_ylim(-0.02, 1.02)
        tasks = {**first, "task": f"{first['source']} → {first['target']}"}
        title = style.panel_title(tasks, several_models=several_models)
        style.title(axes, f"{title}, K = {first['n_labelled']}", size=7.5)
    figure.supylabel("accuracy on the second task")
    style.x_label(figure, style.STEP_LABEL)
    style.legend_above(figure, grid, _LEGEND)
    return figure


def caption(table: pl.DataFrame) -> str:
    """What the other task's weights gain or lose at the last step."""
    last = _pairs(table).filter(pl.col("step") == pl.col("step").max().over("model"))
    said = [
        f"{row['source']} → {row['target']} {wording.number(row['transfer_rw'])} against {wording.number(row['full'])}"
        for row in last.sort("gain", descending=True).iter_rows(named=True)
    ]
    return (
        "Test accuracy with the mean weights that COMP RW fitted on another task, with the task's own, and without; "
        f"means over prompts, shaded ±1 SD. At the last step, against the full model: {wording.listing(said)}."
    )


FIGURE = FigureOf(
    analysis="transfer_weights",
    question="Do the weights fitted on one task help another?",
    draw=draw,
    caption=caption,
    missing="No two tasks here have equally many labels and shots, fitted weights and stored contributions.",
)
