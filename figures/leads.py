"""Do components, or a few labels, show a task before the full model? Leads in doublings of training, with intervals."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording
from figures.onsets import CRITERIA, ORDER, ROW_KEYS, name

_LEGEND = {"null": "onset: above luck (1 % over all steps)", "half": "onset: half way from chance to the last value"}
MOST_ROWS = 28


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per curve, a row per task and number of shots: how many doublings it is ahead of the full model."""
    shown = table.filter(pl.col("criterion").is_in(list(CRITERIA)), pl.col("curve").is_in(ORDER))
    curves = sorted(shown.partition_by(ROW_KEYS), key=lambda rows: (-ORDER.index(rows["curve"][0]), name(rows)))
    several = table["model"].n_unique() > 1
    pages = style.pages("leads", curves, 6)
    return {picture: _page(page, several_models=several) for picture, page in pages.items()}


def _page(curves: list[pl.DataFrame], *, several_models: bool) -> Figure:
    n_rows = max(curve.select(style.PANEL).n_unique() for curve in curves)
    figure, grid = style.panel_grid(len(curves), height=0.8 + 0.24 * min(n_rows, MOST_ROWS), sharey=True)
    titles = _titles(curves, several_models=several_models)
    for axes, curve in zip(grid, curves, strict=True):
        _panel(axes, curve, titles)
        style.title(axes, name(curve))
    grid[0].set_ylim(len(titles) - 0.4, -0.6)
    style.x_label(figure, "doublings of training ahead of the full model; bars: 95 % intervals")
    style.legend_above(figure, grid, _LEGEND)
    return figure


def _titles(curves: list[pl.DataFrame], *, several_models: bool) -> dict[str, int]:
    """What each row is called, and where it stands, the same in all panels."""
    rows = pl.concat(curves).select(style.PANEL).unique().sort(style.PANEL)
    said = [style.panel_title(row, several_models=several_models) for row in rows.iter_rows(named=True)]
    return {title: i for i, title in enumerate(said)}


def _panel(axes: Axes, curve: pl.DataFrame, titles: dict[str, int]) -> None:
    color = style.CURVES[curve["curve"][0]]["color"]
    several = any(":" in title for title in titles)
    there = curve.filter(pl.col("lead").is_not_null())
    values = [0.0, *there.unpivot(["lead", "low", "high"])["value"].drop_nulls()]
    margin = 0.06 * (max(values) - min(values)) + 0.05
    ends = (min(values) - margin, max(values) + margin)
    axes.set_xlim(*ends)
    for row in there.iter_rows(named=True):
        y = titles[style.panel_title(row, several_models=several)] + (-0.16 if row["criterion"] == "null" else 0.16)
        _lead(axes, row, y, color, ends)
    for criterion, marker in CRITERIA.items():
        face = "white" if criterion == "half" else "0.3"
        axes.plot([], [], color="0.3", linestyle="none", markerfacecolor=face, label=criterion, **marker)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.grid(axis="x", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(titles)), list(titles), fontsize=6.5)


def _lead(axes: Axes, row: dict[str, Any], y: float, color: str, ends: tuple[float, float]) -> None:
    """The interval as a bar, to the edge where it has no end; an arrow for a bound, where an onset is outside.

    A curve whose interval is not known to cover has no bar: `undefined` is null then.
    """
    lead = row["lead"]
    low, high = (end if row[name] is None else row[name] for name, end in zip(("low", "high"), ends, strict=True))
    axes.plot([0, lead], [y, y], color=color, linewidth=0.5, alpha=0.5, zorder=1)
    if row["undefined"] is not None:
        axes.plot([low, high], [y, y], color=color, linewidth=1.8, alpha=0.45, solid_capstyle="butt", zorder=2)
    marker = {"at least": ">", "at most": "<"}.get(row["bound"], CRITERIA[row["criterion"]]["marker"])
    face = "white" if row["criterion"] == "half" else color
    axes.plot([lead], [y], marker=marker, markersize=4, color=color, markerfacecolor=face, zorder=3)


def caption(table: pl.DataFrame) -> str:
    """Leads of held-out T1 half way, with the sign test over seeds."""
    said = []
    for row in table.filter(pl.col("curve") == "Held-out T1", pl.col("criterion") == "half").iter_rows(named=True):
        title = style.panel_title(row, several_models=table["model"].n_unique() > 1)
        if row["lead"] is None:
            said.append(f"{title}: not defined")
            continue
        low, high = ("…" if end is None else wording.number(end) for end in (row["low"], row["high"]))
        bound = f"{row['bound']} " if row["bound"] else ""
        votes = f"{row['n_seeds_ahead']} seeds ahead, {row['n_seeds_behind']} behind, {wording.p(row['p_sign_seeds'])}"
        said.append(f"{title}: {bound}{wording.number(row['lead'])} ({low} to {high}; {votes})")
    return (
        "log2 of the full model's onset less that of a curve, positive where the full model is later, 95 % intervals "
        "from the same replicates; an arrow: a bound, since an onset lies outside the steps there are. Held-out T1, "
        f"half way: {wording.by_panel(said)}."
    )


FIGURE = FigureOf(
    analysis="leads",
    question="Do components, or a few labels, show a task before the full model?",
    draw=draw,
    caption=caption,
    missing="No curve here has more than one step.",
)
