"""Curves of agreement between the accuracies of components: a correlation above, the overlap of the best below."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import panel_name
from figures.layout import column_pages
from figures.style import PANEL, Look
from figures.training_axis import plot_chance, plot_curve, set_training_axis


class Measure(NamedTuple):
    """A measure of agreement: its column, the label of its axis, its limits, and the column of its value by chance."""

    column: str
    label: str
    limits: tuple[float, float]
    by_chance: str | None = None


IOU = Measure("iou", "IoU of the top components", (0.0, 1.0), "iou_by_luck")


def agreement_pages(
    name: str,
    table: pl.DataFrame,
    correlation: Measure,
    compared: str,
    looks: Mapping[str, Look],
    legend: Mapping[str, str],
    *,
    legend_columns: int,
) -> dict[str, Figure]:
    """One column per panel: a correlation above, IoU below; means ±1 SD, a curve per value of the column `compared`."""
    return column_pages(
        name,
        table.partition_by(PANEL, maintain_order=True),
        [
            (measure.label, partial(_panel, measure=measure, compared=compared, looks=looks))
            for measure in (correlation, IOU)
        ],
        lambda panel: panel_name(panel, table),
        legend=legend,
        legend_columns=legend_columns,
    )


def _panel(axes: Axes, panel: pl.DataFrame, *, measure: Measure, compared: str, looks: Mapping[str, Look]) -> None:
    column, limits = measure.column, measure.limits
    for value, look in looks.items():
        rows = panel.filter(pl.col(compared) == value)
        if len(rows):
            plot_curve(axes, rows, look, value, y=column, sd=f"{column}_sd", limits=limits)
    plot_chance(axes, panel[measure.by_chance][0] if measure.by_chance else 0.0, "chance")
    set_training_axis(axes, panel)
    axes.set_ylim(limits[0] - 0.03, limits[1] + 0.03)
