"""Does the order of curves change with the metric? t50 of Full and of honest curves by accuracy, margin and AUC."""

from functools import partial
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.metric_onsets import BEFORE
from figures.captions import format_number, has_several_models, join_panels, join_words, panel_name, panel_title
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import CURVES, PANEL
from figures.training_axis import largest_fit, set_step_axis

ORDER = ("COMP RW", "Cross-seed T1", "Held-out T1", "Full")
"""From the top down; the full model at the bottom, its line through all of them."""
METRICS = {"accuracy": "accuracy", "auc": "area under\nthe ROC curve", "margin": "margin of\nthe gold label"}
PICTURES = {False: "metric_onsets", True: "metric_onsets_centred"}
_LEGEND = {"full": "half way: the full model, by the same metric; to the left of its line a curve is earlier"}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """A column per model, task and shots, a row per metric: t50 of each curve with its interval, Full's as a line.

    A picture of its own for curves less their label bias. Curves without t50 have no marker, or an arrow where they are
    half way before the first checkpoint.
    """
    pictures: dict[str, Figure] = {}
    for centred, name in PICTURES.items():
        panels = table.filter(~pl.col("is_component"), centred=centred).partition_by(PANEL, maintain_order=True)
        pictures |= column_pages(
            name,
            panels,
            [(label, partial(_panel, metric)) for metric, label in METRICS.items()],
            partial(panel_name, table=table),
            legend=_LEGEND,
            x_label="training step (log scale); bars: 95 % intervals, no narrower than the grid; Cross-seed T1: none",
            height=1.25,
            legend_columns=1,
        )
    return pictures


def _panel(metric: str, axes: Axes, panel: pl.DataFrame) -> None:
    set_step_axis(axes, panel.select("first_step", "last_step").row(0))
    curves = {name: largest_fit(panel.filter(curve=name, metric=metric)) for name in ORDER}
    for y, (name, rows) in enumerate(reversed(curves.items())):
        for row in rows.iter_rows(named=True):
            _plot(axes, row, y, CURVES[name])
    full = curves["Full"]["t50"].drop_nulls()
    if len(full):
        line = {"color": CURVES["Full"]["color"], "linewidth": 0.9, "linestyle": (0, (4, 2)), "zorder": 0}
        axes.axvline(_position(full[0], 0), label="full", **line)
    axes.set_yticks(range(len(ORDER)), list(reversed(ORDER)), fontsize=6.5)
    axes.set_ylim(-0.6, len(ORDER) - 0.4)


def _plot(axes: Axes, row: dict[str, Any], y: float, look: dict[str, Any]) -> None:
    """t50 and its interval, if it has one, to the edge where that has no end; an arrow: before the first checkpoint."""
    left, _ = axes.get_xlim()
    if row["t50"] is None:
        if row["t50_reason"] == BEFORE:
            axes.plot([left], [y], color=look["color"], marker="<", markersize=4, clip_on=False)
        return
    ends = row["t50_low"], row["t50_high"]
    if ends != (None, None):
        low_high = [_position(end, edge) for end, edge in zip(ends, axes.get_xlim(), strict=True)]
        axes.plot(low_high, [y, y], color=look["color"], linewidth=1.8, alpha=0.45, solid_capstyle="butt")
    axes.plot([_position(row["t50"], left)], [y], color=look["color"], marker=look["marker"], markersize=4)


def _position(step: float | None, otherwise: float) -> float:
    return otherwise if step is None else float(np.log2(max(step, 0.5)))


def caption(table: pl.DataFrame) -> str:
    """The lead of Held-out T1 less its label bias by area, by every metric."""
    rows = table.filter(~pl.col("is_component"), curve="Held-out T1", centred=True)
    sentences = []
    for panel in rows.partition_by(PANEL, maintain_order=True):
        by_metric = {row["metric"]: row for row in panel.iter_rows(named=True)}
        leads = [f"{metric} {_lead(by_metric[metric])}" for metric in METRICS if metric in by_metric]
        title = panel_title(panel.row(0, named=True), name_model=has_several_models(table))
        sentences.append(f"{title}: {join_words(leads)}")
    return (
        "Accuracy counts a row once its gold label is the largest, so that a gradual change can look sudden or late; "
        "the margin and the area have no such threshold. The margin is in logits, whose scale grows in training, so "
        "that it is half way late. A component is chosen by accuracy, and followed under every metric; its choice is "
        "in no interval, and the t50 of Cross-seed T1 has none, since it would cover too little. An arrow: half way "
        "before the first checkpoint; no marker: the plateau is not above the band of permuted labels. Lead "
        f"of Held-out T1 by area, both less their label bias: {join_panels(sentences)}."
    )


def _lead(row: dict[str, Any]) -> str:
    """`.50 (.25 to 1.00)`, `none`."""
    if row["lead_area"] is None:
        return "none"
    ends = ("…" if row[end] is None else format_number(row[end]) for end in ("lead_area_low", "lead_area_high"))
    return f"{format_number(row['lead_area'])} ({' to '.join(ends)})"


FIGURE = FigureSpec(
    analysis="metric_onsets",
    question="Does the order of curves change with the metric?",
    draw=draw,
    caption=caption,
    missing="These results hold no contributions of all prompts at every step; sweep again, with the same command.",
    only_by_name=True,
)
