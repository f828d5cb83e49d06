"""Do components, or a few labels, show a task before the full model? Leads in doublings of training, with intervals."""

from functools import partial
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import curve_name, format_number, format_p, has_several_models, join_panels, panel_title
from figures.layout import panel_pages
from figures.onsets import CRITERIA, CURVE_KEYS, curves_in_order, label_criteria
from figures.spec import FigureSpec
from figures.style import CURVES, PANEL

_LEGEND = {"null": "onset: above chance (1 % over all steps)", "half": "onset: half way from chance to the last value"}
MAX_ROWS = 28


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per curve, a row per task and number of shots: its lead over the full model in doublings."""
    leads = table.filter(pl.col("criterion").is_in(list(CRITERIA)))
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
        height=0.8 + 0.24 * min(len(positions), MAX_ROWS),
        tick_label_width=0.8,
    )


def _panel(axes: Axes, rows: list[tuple[int, dict[str, Any]]], color: str) -> None:
    """The leads of one curve, each at its height."""
    leads = (row[column] for _, row in rows for column in ("lead", "low", "high"))
    values = [0.0, *(value for value in leads if value is not None)]
    margin = 0.06 * (max(values) - min(values)) + 0.05
    axes.set_xlim(min(values) - margin, max(values) + margin)
    for y, row in rows:
        _plot_lead(axes, row, y + (-0.16 if row["criterion"] == "null" else 0.16), color)
    label_criteria(axes)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.grid(axis="x", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)


def _plot_lead(axes: Axes, row: dict[str, Any], y: float, color: str) -> None:
    """The interval as a bar, to the edge where it has no end; an arrow for a bound, where an onset is outside.

    A curve whose interval is not known to cover has no bar: `undefined` is null then.
    """
    lead = row["lead"]
    low, high = (
        edge if row[end] is None else row[end] for end, edge in zip(("low", "high"), axes.get_xlim(), strict=True)
    )
    axes.plot([0, lead], [y, y], color=color, linewidth=0.5, alpha=0.5, zorder=1)
    if row["undefined"] is not None:
        axes.plot([low, high], [y, y], color=color, linewidth=1.8, alpha=0.45, solid_capstyle="butt", zorder=2)
    marker = {"at least": ">", "at most": "<"}.get(row["bound"], CRITERIA[row["criterion"]]["marker"])
    face = "white" if row["criterion"] == "half" else color
    axes.plot([lead], [y], marker=marker, markersize=4, color=color, markerfacecolor=face, zorder=3)


def caption(table: pl.DataFrame) -> str:
    """Leads of held-out T1 half way, with the sign test over seeds."""
    leads = []
    for row in table.filter(curve="Held-out T1", centred=False, criterion="half").iter_rows(named=True):
        title = panel_title(row, name_model=has_several_models(table))
        if row["lead"] is None:
            leads.append(f"{title}: not defined")
            continue
        low, high = ("…" if end is None else format_number(end) for end in (row["low"], row["high"]))
        bound = f"{row['bound']} " if row["bound"] else ""
        test = f"{row['n_seeds_ahead']} seeds ahead, {row['n_seeds_behind']} behind, {format_p(row['p_sign_seeds'])}"
        leads.append(f"{title}: {bound}{format_number(row['lead'])} ({low} to {high}; {test})")
    return (
        "log2 of the full model's onset less that of a curve, positive where the full model is later, 95 % intervals "
        "from the same replicates; an arrow: a bound, since an onset lies outside the steps there are. Held-out T1, "
        f"half way: {join_panels(leads)}."
    )


FIGURE = FigureSpec(
    analysis="leads",
    question="Do components, or a few labels, show a task before the full model?",
    draw=draw,
    caption=caption,
    missing="No curve here has more than one step.",
)
