"""Training dynamics: curves that are chosen on other rows, raw and less label bias; and the paper's curves."""

from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import at_last_step, count_prompts, format_number, join_panels, panel_name
from figures.layout import column_pages, panel_pages
from figures.spec import FigureSpec
from figures.style import CURVES, NULL_COLOUR, PANEL, faint
from figures.training_axis import largest_fit, plot_curve, plot_interval, set_accuracy_axis, step_position

HEADLINE = ("Calib+", "COMP RW", "Cross-seed T1", "Held-out T1", "Full")
"""Curves that are not chosen on the rows they are scored on."""
ORDER = ("B1", "Last-T1", "Full", "T1")
"""The curves of the paper."""
OPTIMISTIC = ("T1", "B1")
"""Chosen on the rows they are scored on."""
FORMS = {"as they are": False, "less label bias": True}
"""Row of the first picture -> whether each label's mean logit over the test rows is taken off."""
_LEGEND = {
    "Full": "Full: the whole model",
    "Held-out T1": "Held-out T1: chosen on other test rows",
    "Cross-seed T1": "Cross-seed T1: under other demonstrations too",
    "COMP RW": "COMP RW: components reweighted on K labels",
    "Calib+": "Calib+: Full rescaled on K labels",
    "T1": "T1: chosen on these test rows, an optimistic bound",
    "null": "null of Held-out T1: exceeded at any step in 1 %",
}
_LEGEND_PAPER = {
    "Full": "Full: the whole model",
    "Last-T1": "Last-T1: the final step's best, traced back",
    "T1": "T1: best component on these test rows, an optimistic bound",
    "B1": "B1: worst component on these test rows, likewise",
    "null": "null: T1 with permuted labels (chance to 99th percentile)",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per model, task and number of shots, means over prompts.

    `emergence`: curves that are chosen on other rows, as they are above and less their label bias below, shaded 95 %
    intervals; grey: the band that permuted labels exceed at any step with probability 1 %. `emergence_paper`: the
    paper's curves, as they are, shaded ±1 SD; grey: null of T1 up to 99 %. T1 and B1 are faint.
    """
    panels = table.partition_by(PANEL, maintain_order=True)

    def title(panel: pl.DataFrame) -> str:
        return f"{panel_name(panel, table)} ({count_prompts(panel)})"

    rows = [
        (name, partial(_headline, centred=centred)) for name, centred in FORMS.items() if centred in table["centred"]
    ]
    pictures = column_pages(
        "emergence", panels, rows, title, legend=_LEGEND, y_label="test accuracy", sharey="all", per_page=2, height=2.3
    )
    return pictures | panel_pages(
        "emergence_paper", panels, _paper, title, legend=_LEGEND_PAPER, y_label="test accuracy, as they are"
    )


def _headline(axes: Axes, panel: pl.DataFrame, *, centred: bool) -> None:
    in_form = panel.filter(centred=centred)
    plot_curve(axes, in_form.filter(curve="T1"), faint(CURVES["T1"]), "T1", y="mean", sd=None)
    for curve in HEADLINE:
        rows = largest_fit(in_form.filter(curve=curve))
        plot_curve(axes, rows, CURVES[curve], curve, y="mean", sd=None)
        plot_interval(axes, rows, CURVES[curve])
    _plot_null(axes, in_form.filter(curve="Held-out T1").sort("step"), "band")
    set_accuracy_axis(axes, panel)


def _paper(axes: Axes, panel: pl.DataFrame) -> None:
    raw = panel.filter(centred=False)
    for curve in ORDER:
        look = faint(CURVES[curve]) if curve in OPTIMISTIC else CURVES[curve]
        plot_curve(axes, raw.filter(curve=curve), look, curve, y="mean", sd="sd")
    _plot_null(axes, raw.filter(curve="T1").sort("step"), "null_q99")
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
        full, held_out, best = (last.filter(curve=curve) for curve in ("Full", "Held-out T1", "T1"))
        chance, of_null = best.select("chance", "null_q99").row(0)
        values = ", ".join(f"{rows['curve'][0]} {format_number(rows['mean'][0])}" for rows in (held_out, full, best))
        ends.append(
            f"{panel_name(last, table)}: {values} (chance {format_number(chance)}, T1 with permuted labels "
            f"{format_number(of_null)})"
        )
    return (
        "Accuracy on the test rows, means over prompts. The first picture has curves that are chosen or fitted on "
        "other rows than they are scored on, with 95 % intervals: above, raw, from the logits as they are; below, less "
        "their label bias, each label's mean logit over the test rows, for which no gold label is needed (Calib+ has "
        "no logits). T1, faint, is chosen on the rows it is scored on, an optimistic bound. The second picture has the "
        "paper's curves, raw, shaded ±1 SD; T1 and B1 are chosen on the rows they are scored on, and the grey band is "
        "T1 where predictions have nothing to do with labels. At the last step, raw: "
        f"{join_panels(ends)}."
    )


FIGURE = FigureSpec(
    analysis="emergence",
    question="When do components and the full model solve a task, as they are and less their label bias?",
    draw=draw,
    caption=caption,
    missing="No finished unit has predictions of components.",
)
