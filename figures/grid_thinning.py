"""Is the grid of checkpoints fine enough? What every k-th checkpoint alone gives for t50 and lead, over all offsets."""

from functools import partial
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import format_number, join_panels, panel_name
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import CURVES, PANEL
from figures.training_axis import format_step, largest_fit

SHOWN = ("Full", "Cross-seed T1", "Held-out T1", "COMP RW")
HAS_VALUE = (pl.col("t50_median").is_not_null(), pl.col("lead_median").is_not_null())
OFFSETS: dict[str, float] = dict(zip(SHOWN, (-0.24, -0.08, 0.08, 0.24), strict=True))
"""Beside each k, so that bars do not hide each other."""
PICTURES = {False: "grid_thinning", True: "grid_thinning_centred"}
_LEGEND = {
    "Full": "Full: the whole model",
    "Cross-seed T1": "Cross-seed T1",
    "Held-out T1": "Held-out T1",
    "COMP RW": "COMP RW",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """A column per model, task and shots: t50 above, the lead by area below, by how many checkpoints are left out.

    Bars from the least to the largest over offsets, a marker at the median. A picture of its own for curves less their
    label bias. Panels without a value are left out.
    """
    pictures: dict[str, Figure] = {}
    for centred, name in PICTURES.items():
        form = table.filter(pl.col("curve").is_in(SHOWN), centred=centred)
        form = form.filter(pl.any_horizontal(HAS_VALUE).any().over(PANEL))
        pictures |= column_pages(
            name,
            form.partition_by(PANEL, maintain_order=True),
            [("half way, training step", partial(_panel, "t50")), ("lead, doublings", partial(_panel, "lead"))],
            partial(panel_name, table=table),
            legend=_LEGEND,
            x_label="every k-th checkpoint (k = 1: all); bars: from the least to the largest over the k offsets",
        )
    return pictures


def _panel(measure: str, axes: Axes, panel: pl.DataFrame) -> None:
    for curve in SHOWN:
        _bars(axes, measure, largest_fit(panel.filter(curve=curve)), CURVES[curve], curve)
    if measure == "t50":
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda step, _: format_step(int(step)))
    else:
        axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xticks(panel["every"].unique().sort().to_list())
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)


def _bars(axes: Axes, measure: str, rows: pl.DataFrame, look: dict[str, Any], label: str) -> None:
    rows = rows.filter(pl.col(f"{measure}_median").is_not_null()).sort("every")
    if rows.is_empty():
        return
    x = (rows["every"] + OFFSETS[label]).to_numpy()
    low, median, high = (rows[f"{measure}_{name}"].to_numpy() for name in ("min", "median", "max"))
    axes.vlines(x, low, high, color=look["color"], linewidth=1.8, alpha=0.45)
    axes.plot(x, median, **{**look, "linestyle": "none"}, label=label)


def caption(table: pl.DataFrame) -> str:
    """How far the lead of held-out T1 moves with half of the checkpoints."""
    panels = []
    for panel in table.partition_by(PANEL, maintain_order=True):
        rows = panel.filter(curve="Held-out T1", centred=False).sort("every")
        panels.append(f"{panel_name(panel, table)}: {_moves(rows)}")
    return (
        "t50, and the lead by area over the full model, from every k-th checkpoint alone, for all k offsets. Where "
        "bars stay short, the grid does not decide the number. An offset on which a curve does not emerge, or is half "
        f"way before the first checkpoint, has no value. Lead of Held-out T1: {join_panels(panels)}."
    )


def _moves(rows: pl.DataFrame) -> str:
    """`.53 from all checkpoints, .31 to .85 from every second`."""
    by_every = {row["every"]: row for row in rows.iter_rows(named=True)}
    whole, half = by_every.get(1), by_every.get(2)
    if whole is None or whole["lead_median"] is None:
        return "none"
    if half is None or half["lead_median"] is None:
        return f"{format_number(whole['lead_median'])} from all checkpoints, none from every second"
    ends = f"{format_number(half['lead_min'])} to {format_number(half['lead_max'])}"
    return f"{format_number(whole['lead_median'])} from all checkpoints, {ends} from every second"


def missing(table: pl.DataFrame) -> str:
    """Why there is neither t50 nor a lead."""
    if table.is_empty():
        return "No curve here has more than one step."
    return "No curve here has a t50: each does not emerge, or is half way before the first checkpoint."


FIGURE = FigureSpec(
    analysis="grid_thinning",
    question="Is the grid of checkpoints fine enough?",
    draw=draw,
    caption=caption,
    missing=missing,
)
