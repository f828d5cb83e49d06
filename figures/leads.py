"""Do components, or a few labels, show a task before the full model? Leads in doublings of training, with intervals."""

from functools import partial
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import curve_name, format_number, has_several_models, join_panels, panel_title
from figures.layout import panel_pages
from figures.onsets import CURVE_KEYS, curves_in_order
from figures.spec import FigureSpec
from figures.style import CURVES, PANEL, Look

CRITERIA: dict[str, Look] = {"area": {"marker": "s"}, "half": {"marker": "o"}, "null": {"marker": "D"}}
HEIGHTS = {"area": -0.27, "half": 0.0, "null": 0.27}
"""Above and below the middle of a row."""
HOLLOW = "half"
FEW_TEMPLATES = 6
"""Below this, Student's t is more than 2.7 standard errors wide on each side."""
_LEGEND = {
    "area": "area between the curves",
    "half": "onset: half way from the null to the plateau",
    "null": "onset: above chance (1 % over all steps)",
    "template": "one template alone, by area",
    "grid_limited": "grid-limited: half of the checkpoints give another lead",
}
MAX_ROWS = 28
OVER_OWN_FULL = (pl.col("over") == "Full") & (pl.col("over_centred") == pl.col("centred"))
"""Leads over Full in the curve's own form."""


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per curve, a row per task and number of shots: its lead over the full model in doublings."""
    leads = table.filter(OVER_OWN_FULL, pl.col("criterion").is_in(list(CRITERIA)))
    names = partial(panel_title, name_model=has_several_models(table))
    rows = leads.select(PANEL).unique().sort(PANEL).iter_rows(named=True)
    positions = {names(row): i for i, row in enumerate(rows)}

    def draw_panel(axes: Axes, curve: pl.DataFrame) -> None:
        lead_rows = curve.filter(pl.col("lead").is_not_null()).iter_rows(named=True)
        _panel(axes, [(positions[names(row)], row) for row in lead_rows], CURVES[curve["curve"][0]]["color"])
        axes.set_yticks(range(len(positions)), list(positions), fontsize=6.5)
        axes.set_ylim(len(positions) - 0.4, -0.6)

    return panel_pages(
        "leads",
        curves_in_order(leads),
        draw_panel,
        lambda curve: curve_name(*curve.select(CURVE_KEYS).row(0)),
        legend=_LEGEND,
        x_label="doublings of training ahead of the full model; bars: 95 % intervals",
        per_page=6,
        height=0.8 + 0.34 * min(len(positions), MAX_ROWS),
        tick_label_width=1.0,
    )


def _panel(axes: Axes, rows: list[tuple[int, dict[str, Any]]], color: str) -> None:
    """The leads of one curve, each at its height; those of single templates as ticks at that of the area."""
    pooled = [(y, row) for y, row in rows if not row["template"]]
    single = [(y, row["lead"]) for y, row in rows if row["template"] and row["criterion"] == "area"]
    values = [0.0, *(lead for _, lead in single)]
    values += [row[name] for _, row in pooled for name in ("lead", "low", "high") if row[name] is not None]
    margin = 0.06 * (max(values) - min(values)) + 0.05
    axes.set_xlim(min(values) - margin, max(values) + margin)
    for y, row in pooled:
        _plot_lead(axes, row, y + HEIGHTS[row["criterion"]], color)
    if single:
        heights, leads = [y + HEIGHTS["area"] for y, _ in single], [lead for _, lead in single]
        axes.plot(leads, heights, linestyle="none", marker="|", markersize=6, color="0.3", label="template", zorder=2.5)
    for criterion, look in CRITERIA.items():
        face = "white" if criterion == HOLLOW else "0.3"
        axes.plot([], [], color="0.3", linestyle="none", markerfacecolor=face, label=criterion, **look)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.grid(axis="x", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)


def _plot_lead(axes: Axes, row: dict[str, Any], y: float, color: str) -> None:
    """The interval as a bar, to the edge where it has no end; an arrow for a bound, where an onset is outside.

    A curve whose interval is not known to cover has no bar: `undefined` is null then. A lead that the grid limits is
    crossed out.
    """
    lead = row["lead"]
    low, high = (
        edge if row[end] is None else row[end] for end, edge in zip(("low", "high"), axes.get_xlim(), strict=True)
    )
    axes.plot([0, lead], [y, y], color=color, linewidth=0.5, alpha=0.5, zorder=1)
    if row["undefined"] is not None:
        axes.plot([low, high], [y, y], color=color, linewidth=1.8, alpha=0.45, solid_capstyle="butt", zorder=2)
    marker = {"at least": ">", "at most": "<"}.get(row["bound"], CRITERIA[row["criterion"]]["marker"])
    face = "white" if row["criterion"] == HOLLOW else color
    axes.plot([lead], [y], marker=marker, markersize=4, color=color, markerfacecolor=face, zorder=3)
    if row["grid_limited"]:
        look = {"marker": "x", "markersize": 6, "color": "0.2", "linestyle": "none"}
        axes.plot([lead], [y], label="grid_limited", zorder=4, **look)


def caption(table: pl.DataFrame) -> str:
    """Leads of held-out T1 by area, whether the grid limits them, and what they are over templates."""
    rows = table.filter(OVER_OWN_FULL, curve="Held-out T1", criterion="area", template="").sort(
        PANEL, maintain_order=True
    )
    forms = {False: "", True: ", both less their label bias"}
    leads = [
        f"{panel_title(row, name_model=has_several_models(table))}{forms[row['centred']]}: {_lead(row)}"
        for row in rows.iter_rows(named=True)
    ]
    return (
        "Doublings of training by which a curve is ahead of the full model, with 95 % intervals from the same "
        "replicates: the area between the two curves, each as a share of its rise from the first checkpoint to its "
        "plateau, and log2 of the full model's onset less that of the curve. An arrow: a bound, as an onset is after "
        "the last checkpoint. A cross: every second checkpoint and the others give leads further apart than the "
        "interval is wide. Templates are fixed in the intervals; ticks: each template alone. Held-out T1, by area: "
        f"{join_panels(leads)}."
    )


def _lead(row: dict[str, Any]) -> str:
    """`.50 (.25 to 1.00; over 3 templates, which are few, −.40 to 1.20; grid-limited)`, `none: neither emerges`."""
    if row["lead"] is None:
        return f"none: {row['reason']}"
    low, high = ("…" if end is None else format_number(end) for end in (row["low"], row["high"]))
    notes = [f"{low} to {high}"]
    if row["templates_low"] is not None:
        ends = " to ".join(format_number(row[end]) for end in ("templates_low", "templates_high"))
        few = ", which are few," if row["n_templates"] < FEW_TEMPLATES else ""
        notes.append(f"over {row['n_templates']} templates{few} {ends}")
    if row["grid_limited"]:
        notes.append("grid-limited")
    return f"{format_number(row['lead'])} ({'; '.join(notes)})"


FIGURE = FigureSpec(
    analysis="leads",
    question="Do components, or a few labels, show a task before the full model?",
    draw=draw,
    caption=caption,
    missing="No curve here has more than one step.",
)
