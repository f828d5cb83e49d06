"""Knowledge or label bias: a component's curve and the full model's, raw and centred, and their differences."""

import re
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import format_number, join_panels, panel_name
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import CURVES, PANEL, Look
from figures.training_axis import (
    format_step,
    largest_fit,
    plot_chance,
    plot_curve,
    set_accuracy_axis,
    set_training_axis,
    step_position,
)

SHOWN = ("Cross-seed T1", "Held-out T1", "COMP RW", "T1")
"""A picture each; the first that the results have is the figure's own."""
ACCURACIES = {"full": "raw", "centred_full": "centred", "raw": "raw", "centred": "centred"}
"""Column -> whether each label's mean logit is taken off."""
PARTS: dict[str, Look] = {
    "gap": {"color": "#7F7F7F", "marker": "o", "linestyle": (0, (4, 1.5)), "markerfacecolor": "white"},
    "bias": {"color": "#0072B2", "marker": "D", "linestyle": (0, (1, 1.2)), "markerfacecolor": "white"},
    "remaining": {"color": "#D55E00", "marker": "o", "linestyle": "-"},
}
"""Differences in the order they are drawn, the one that answers the question last."""


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """A column per model, task and number of shots: accuracies above, differences below; a picture for each curve.

    Below, the band around `remaining` holds over all steps at once with 95 %: where it leaves out 0, the curve has
    something that the full model lacks, label bias apart.
    """
    pictures: dict[str, Figure] = {}
    for curve in _shown(table):
        panels = [
            rows
            for panel in table.filter(curve=curve).partition_by(PANEL, maintain_order=True)
            if len(rows := largest_fit(panel)) and rows["remaining"].is_not_null().any()
        ]
        suffix = "" if not pictures else "_" + re.sub(r"\W", "_", curve.lower())
        pictures |= column_pages(
            f"bias_or_knowledge{suffix}",
            panels,
            [("test accuracy", partial(_accuracies, curve=curve)), ("difference", _differences)],
            lambda panel: panel_name(panel, table),
            legend=_legend(curve),
        )
    return pictures


def _shown(table: pl.DataFrame) -> list[str]:
    """The curves that have centred answers."""
    present = table.filter(pl.col("remaining").is_not_null())["curve"].unique()
    return [curve for curve in SHOWN if curve in present]


def _legend(curve: str) -> dict[str, str]:
    return {
        "full": "Full",
        "centred_full": "Full less its label bias",
        "raw": curve,
        "centred": f"{curve} less its label bias",
        "gap": f"{curve} − Full, as they are",
        "bias": "Full less its label bias − Full",
        "remaining": f"{curve} − Full, both less their label bias",
    }


def _accuracies(axes: Axes, panel: pl.DataFrame, *, curve: str) -> None:
    for column, form in ACCURACIES.items():
        look = CURVES["Full" if "full" in column else curve]
        raw = {"linestyle": (0, (1, 1.2)), "markerfacecolor": "white", "linewidth": 1.0} if form == "raw" else {}
        plot_curve(axes, panel, {**look, "linestyle": "-", **raw}, column, y=column, sd=None)
    set_accuracy_axis(axes, panel)


def _differences(axes: Axes, panel: pl.DataFrame) -> None:
    for part, look in PARTS.items():
        plot_curve(axes, panel, look, part, y=part, sd=None, limits=(-1, 1))
    later = panel.filter(pl.col("step") > 0, pl.col("remaining_band_low").is_not_null()).sort("step")
    x, low, high = step_position(later["step"].to_numpy()), later["remaining_band_low"], later["remaining_band_high"]
    axes.fill_between(x, low.to_numpy(), high.to_numpy(), color=PARTS["remaining"]["color"], alpha=0.2, linewidth=0)
    plot_chance(axes, 0.0)
    set_training_axis(axes, panel)


def caption(table: pl.DataFrame) -> str:
    """Where the gap is largest, and how much of it remains without label bias."""
    panels, headline = [], _shown(table)[0]
    for panel in table.filter(curve=headline).partition_by(PANEL, maintain_order=True):
        top = panel.filter(pl.col("gap").is_not_null()).sort("gap", descending=True).row(0, named=True)
        low, high = (format_number(top[f"remaining_{end}"]) for end in ("low", "high"))
        panels.append(
            f"{panel_name(panel, table)}: largest gap {format_number(top['gap'])} at step {format_step(top['step'])}; "
            f"both less their bias {format_number(top['remaining'])} ({low} to {high})"
        )
    return (
        "A label bias is each label's mean logit over the test rows; it is taken off without a gold label. Dotted: "
        "accuracies as they are, solid: less the label bias. The band around what remains holds over all steps at once "
        "with 95 %. What remains at step 0 already is no knowledge either: random directions tell words apart, and the "
        f"component is chosen with labels. {headline}: {join_panels(panels)}."
    )


FIGURE = FigureSpec(
    analysis="bias_or_knowledge",
    question="Do components know more than the full model, or is it less biased towards some labels?",
    draw=draw,
    caption=caption,
    missing="No answers without label bias here: `python -m jobs.derive RESULTS` adds them.",
)
