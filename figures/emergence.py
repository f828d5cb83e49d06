"""Training dynamics: best component, full model and worst component over training, with the null band of the best."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import at_last_step, count_prompts, format_number, join_panels, panel_name
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import CURVES, NULL_COLOUR, PANEL
from figures.training_axis import largest_fit, plot_curve, plot_interval, set_accuracy_axis, step_position

ORDER = ("B1", "Last-T1", "Full", "T1")
HELD_OUT = ("COMP RW", "Cross-seed T1", "Held-out T1", "Full")
"""Curves that are not chosen on the rows they are scored on."""
_LEGEND = {
    "T1": "T1: best component, chosen on these test rows",
    "Full": "Full: the whole model",
    "Last-T1": "Last-T1: the final step's best, traced back",
    "B1": "B1: worst component, chosen on these test rows",
    "null": "null: T1 with permuted labels (chance to 99th percentile)",
}
_LEGEND_HELD_OUT = {
    "Held-out T1": "Held-out T1: best component on the other half of the test rows",
    "Cross-seed T1": "Cross-seed T1: … under the other demonstration seeds as well",
    "COMP RW": "COMP RW: components reweighted on K labels",
    "Full": "Full: the whole model",
    "null": "Held-out T1 with permuted labels: above it at any step in 1 % of runs",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per model, task and number of shots, means over prompts.

    `emergence`: the paper's curves, shaded ±1 SD; grey: null of T1 up to 99 %. `emergence_held_out`: components chosen
    on other rows, shaded 95 % intervals; grey: the band that permuted labels exceed at any step with probability 1 %.
    """
    table = table.filter(~pl.col("centred"))
    panels = table.partition_by(PANEL, maintain_order=True)

    def title(panel: pl.DataFrame) -> str:
        return f"{panel_name(panel, table)} ({count_prompts(panel)})"

    y_label = "test accuracy"
    pictures = panel_pages("emergence", panels, _panel, title, legend=_LEGEND, y_label=y_label)
    return pictures | panel_pages(
        "emergence_held_out",
        panels,
        _panel_held_out,
        title,
        legend=_LEGEND_HELD_OUT,
        y_label=y_label,
        legend_columns=1,
    )


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    for curve in ORDER:
        plot_curve(axes, panel.filter(curve=curve), CURVES[curve], curve, y="mean", sd="sd")
    _plot_null(axes, panel.filter(curve="T1").sort("step"), "null_q99")
    set_accuracy_axis(axes, panel)


def _panel_held_out(axes: Axes, panel: pl.DataFrame) -> None:
    for curve in HELD_OUT:
        rows = largest_fit(panel.filter(curve=curve))
        plot_curve(axes, rows, CURVES[curve], curve, y="mean", sd=None)
        plot_interval(axes, rows, CURVES[curve])
    _plot_null(axes, panel.filter(curve="Held-out T1").sort("step"), "band")
    set_accuracy_axis(axes, panel)


def _plot_null(axes: Axes, rows: pl.DataFrame, top: str) -> None:
    """A band from chance to a column of the table; a single step, and step 0, as a bar."""
    look = {"color": NULL_COLOUR, "alpha": 0.8, "linewidth": 0, "zorder": 0.5}
    zero, later = rows.filter(pl.col("step") == 0), rows.filter(pl.col("step") > 0)
    zero, later = (rows, later.clear()) if len(later) == 1 else (zero, later)
    x = step_position(zero["step"].to_numpy()).repeat(2) + np.tile([-0.3, 0.3], len(zero))
    axes.fill_between(x, zero["chance"].to_numpy().repeat(2), zero[top].to_numpy().repeat(2), **look)
    x = step_position(later["step"].to_numpy())
    axes.fill_between(x, later["chance"].to_numpy(), later[top].to_numpy(), label="null", **look)


def caption(table: pl.DataFrame) -> str:
    """What the curves are, and their values at the last step."""
    ends = []
    for last in at_last_step(table.filter(~pl.col("centred"))):
        full, best = (last.filter(curve=curve).row(0, named=True) for curve in ("Full", "T1"))
        ends.append(
            f"{panel_name(last, table)}: T1 {format_number(best['mean'])}, Full {format_number(full['mean'])} "
            f"(chance {format_number(best['chance'])}, T1 with permuted labels {format_number(best['null_q99'])})"
        )
    return (
        "Accuracy on the test rows, means over prompts, shaded ±1 SD. T1 and B1 are chosen on the rows they are scored "
        "on; the grey band is T1 where predictions have nothing to do with labels. The second picture shows curves "
        f"that are chosen on other rows, with 95 % intervals. At the last step: {join_panels(ends)}."
    )


FIGURE = FigureSpec(
    analysis="emergence",
    question="When do the best component and the full model solve a task?",
    draw=draw,
    caption=caption,
    missing="No finished unit has predictions of components.",
)
