"""When does each curve emerge? Lollipops: the onset with its interval, above luck and half way."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

ORDER = (
    "Full", "COMP RW", "Calib+", "Labelled T1", "Cross-seed T1", "Held-out T1", "Last-T1", "First-T1", "T1",
)  # fmt: skip
"""From the top down."""
CRITERIA: dict[str, dict[str, Any]] = {"null": {"marker": "D"}, "half": {"marker": "o"}}
_LEGEND = {"null": "from here on above luck (1 % over all steps)", "half": "half way from chance to the last value"}
ROW_KEYS = ["curve", "variant", "n_labelled"]


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots, a row per curve; arrows where an end lies outside the steps there are."""
    several = table["model"].n_unique() > 1
    panels = table.partition_by(style.PANEL, maintain_order=True)
    most_rows = max(panel.select(ROW_KEYS).n_unique() for panel in panels)
    pages = style.pages("onsets", panels, 6 if most_rows <= 12 else 2)
    return {name: _page(page, several_models=several) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    n_rows = max(panel.select(ROW_KEYS).n_unique() for panel in panels)
    figure, grid = style.panel_grid(len(panels), height=0.75 + 0.2 * n_rows, sharey=False, most_columns=2)
    for axes, panel in zip(grid, panels, strict=True):
        _panel(axes, panel)
        style.title(axes, style.panel_title(panel.row(0, named=True), several_models=several_models), labels=1.5)
    style.x_label(figure, "training step (log scale); bars: 95 % intervals")
    style.legend_above(figure, grid, _LEGEND)
    return figure


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    rows = lines_of(panel)
    style.step_axis(axes, panel.select("first_step", "last_step").row(0))
    left, right = axes.get_xlim()
    for y, line in enumerate(rows):
        look = style.CURVES[line["curve"][0]]
        for criterion, marker in CRITERIA.items():
            for row in line.filter(criterion=criterion).iter_rows(named=True):
                at = y + (0.16 if criterion == "null" else -0.16)
                lollipop(axes, row, at, {**marker, "color": look["color"]}, (left, right), hollow=criterion == "half")
    for criterion, marker in CRITERIA.items():
        face = "white" if criterion == "half" else "0.3"
        axes.plot([], [], color="0.3", linestyle="none", markerfacecolor=face, label=criterion, **marker)
    axes.set_yticks(range(len(rows)), [name(line) for line in rows], fontsize=6.5)
    axes.set_ylim(-0.6, len(rows) - 0.4)


def lines_of(panel: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of every curve, from the bottom up."""
    found = panel.filter(pl.col("curve").is_in(ORDER)).partition_by(ROW_KEYS, maintain_order=True)
    return sorted(found, key=lambda rows: (-ORDER.index(rows["curve"][0]), *rows.select(ROW_KEYS[1:]).row(0)))


def name(rows: pl.DataFrame) -> str:
    """`COMP RW, default, K = 24`."""
    curve, variant, k = rows.select(ROW_KEYS).row(0)
    said = [curve, variant.replace("_", " ") if variant else "", f"K = {k}" if k else ""]
    return ", ".join(filter(None, said))


def lollipop(
    axes: Axes, row: dict[str, Any], y: float, look: dict[str, Any], ends: tuple[float, float], *, hollow: bool
) -> None:
    """A stem from the left, the interval as a bar, the onset as a head; an arrow at an end that lies outside.

    Args:
        row: t, low, high in steps, and censored: `never`, `before` or empty.
        ends: of the x axis.
    """
    left, right = ends
    emerged = row["censored"] != "never"
    x = _position(row["t"], right if row["censored"] == "never" else left)
    low, high = _position(row["low"], left), _position(row["high"], right)
    color = look["color"]
    axes.plot([left, x], [y, y], color=color, linewidth=0.5, alpha=0.5, zorder=1)
    if row["low"] is not None or row["high"] is not None:
        axes.plot([low, high], [y, y], color=color, linewidth=1.8, alpha=0.45, solid_capstyle="butt", zorder=2)
    marker = look["marker"] if row["t"] is not None else (">" if not emerged else "<")
    face = "white" if hollow or row["t"] is None else color
    axes.plot([x], [y], marker=marker, markersize=4, color=color, markerfacecolor=face, clip_on=False, zorder=3)


def _position(step: float | None, otherwise: float) -> float:
    return otherwise if step is None else float(np.log2(max(step, 0.5)))


def caption(table: pl.DataFrame) -> str:
    """When the full model and the best component are half way."""
    said = []
    for panel in table.filter(criterion="half").partition_by(style.PANEL, maintain_order=True):
        found = [f"{curve} {_when(panel.filter(curve=curve))}" for curve in ("T1", "Held-out T1", "Full")]
        said.append(f"{wording.name(panel, table)}: {wording.listing(found)}")
    return (
        "First step from which a curve stays above what permuted labels reach anywhere with probability 1 % (filled), "
        "and above half way from chance to its last value (hollow), with 95 % intervals. An arrow to the right: never; "
        f"to the left: before the first step. Half way: {wording.by_panel(said)}."
    )


def _when(rows: pl.DataFrame) -> str:
    if rows.is_empty():
        return "?"
    row = rows.row(0, named=True)
    if row["t"] is None:
        return {"never": "never", "before": "before the first step"}.get(row["censored"], "?")
    low, high = ("…" if end is None else f"{end:.0f}" for end in (row["low"], row["high"]))
    return f"step {row['t']:.0f} ({low} to {high})"


FIGURE = FigureOf(
    analysis="onsets",
    question="At which step does each curve emerge?",
    draw=draw,
    caption=caption,
    missing="No curve here has more than one step.",
)
