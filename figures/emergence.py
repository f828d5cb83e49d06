"""Training dynamics: best component, full model and worst component over training, with the null band of the best."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

ORDER = ("B1", "Last-T1", "Full", "T1")
ELSEWHERE = ("COMP RW", "Cross-seed T1", "Held-out T1", "Full")
"""Curves that are not chosen on the rows they are scored on."""
_LEGEND = {
    "T1": "T1: best component, chosen on these test rows",
    "Full": "Full: the whole model",
    "Last-T1": "Last-T1: the final step's best, traced back",
    "B1": "B1: worst component, chosen on these test rows",
    "null": "T1 with permuted labels, up to the 99th percentile",
}
_LEGEND_ELSEWHERE = {
    "Held-out T1": "Held-out T1: best component on the other half of the test rows",
    "Cross-seed T1": "Cross-seed T1: … under the other demonstration seeds as well",
    "COMP RW": "COMP RW: components reweighted on K labels",
    "Full": "Full: the whole model",
    "null": "Held-out T1 with permuted labels: above it at any step in 1 % of runs",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per model, task and number of shots, means over prompts.

    `emergence`: the paper's curves, shaded +-1 SD; grey: null of T1 up to 99 %. `emergence_held_out`: components chosen
    elsewhere, shaded 95 % intervals; grey: the band that permuted labels exceed at any step with probability 1 %.
    """
    several = table["model"].n_unique() > 1
    panels = table.partition_by(style.PANEL, maintain_order=True)
    pictures = {}
    for name, elsewhere in (("emergence", False), ("emergence_held_out", True)):
        for picture, page in style.pages(name, panels, 9).items():
            pictures[picture] = _page(page, several_models=several, elsewhere=elsewhere)
    return pictures


def _page(panels: list[pl.DataFrame], *, several_models: bool, elsewhere: bool) -> Figure:
    figure, grid = style.panel_grid(len(panels))
    for axes, panel in zip(grid, panels, strict=True):
        (_panel_elsewhere if elsewhere else _panel)(axes, panel)
        first = panel.row(0, named=True)
        title = style.panel_title(first, several_models=several_models)
        style.title(axes, f"{title} ({wording.prompts(first['n_prompts'])})")
    figure.supylabel("test accuracy")
    style.x_label(figure, style.STEP_LABEL)
    style.legend_above(figure, grid, _LEGEND_ELSEWHERE if elsewhere else _LEGEND, columns=1 if elsewhere else 2)
    return figure


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    for curve in ORDER:
        rows = panel.filter(curve=curve)
        style.curve(axes, rows, style.CURVES[curve], curve, y="mean", sd="sd", limits=(0, 1))
    _null(axes, panel.filter(curve="T1").sort("step"), "null_q99")
    style.chance_line(axes, panel["chance"][0])
    style.time_axis(axes, panel)
    axes.set_ylim(-0.02, 1.02)


def _panel_elsewhere(axes: Axes, panel: pl.DataFrame) -> None:
    for curve in ELSEWHERE:
        rows = style.one_fit(panel.filter(curve=curve))
        style.curve(axes, rows, style.CURVES[curve], curve, y="mean", sd=None)
        style.interval(axes, rows, style.CURVES[curve])
    _null(axes, panel.filter(curve="Held-out T1").sort("step"), "band")
    style.chance_line(axes, panel["chance"][0])
    style.time_axis(axes, panel)
    axes.set_ylim(-0.02, 1.02)


def _null(axes: Axes, rows: pl.DataFrame, top: str) -> None:
    """A band from chance to a column of the table; a single step, and step 0, as a bar."""
    look = {"color": style.NULL_COLOUR, "alpha": 0.8, "linewidth": 0, "zorder": 0.5}
    zero, later = rows.filter(pl.col("step") == 0), rows.filter(pl.col("step") > 0)
    zero, later = (rows, later.clear()) if len(later) == 1 else (zero, later)
    x = style.step_position(zero["step"].to_numpy()).repeat(2) + np.tile([-0.3, 0.3], len(zero))
    axes.fill_between(x, zero["chance"].to_numpy().repeat(2), zero[top].to_numpy().repeat(2), **look)
    x = style.step_position(later["step"].to_numpy())
    axes.fill_between(x, later["chance"].to_numpy(), later[top].to_numpy(), label="null", **look)


def caption(table: pl.DataFrame) -> str:
    """What the curves are, and where they end."""
    ends = []
    for last in wording.at_last_step(table):
        full, best = (last.filter(curve=curve).row(0, named=True) for curve in ("Full", "T1"))
        ends.append(
            f"{wording.name(last, table)}: T1 {wording.number(best['mean'])}, Full {wording.number(full['mean'])} "
            f"(chance {wording.number(best['chance'])}, luck {wording.number(best['null_q99'])})"
        )
    return (
        "Accuracy on the test rows, means over prompts, shaded ±1 SD. T1 and B1 are chosen on the rows they are scored "
        "on; the grey band is where T1 lies when predictions have nothing to do with labels. The second picture has "
        "curves that are chosen on other rows, with 95 % intervals. At the last step: "
        f"{wording.by_panel(ends)}."
    )


FIGURE = FigureOf(
    analysis="emergence",
    question="When do the best component and the full model solve a task?",
    draw=draw,
    caption=caption,
    missing="No finished unit has predictions of components.",
)
