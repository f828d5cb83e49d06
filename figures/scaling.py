"""Scaling: the lead of components in larger models, and the tokens until each emerges."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import format_number, join_panels, join_words, panel_title, short_model
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import CURVES
from figures.training_axis import largest_fit, plot_chance

PANEL = ["dtype", "control", "task", "n_shots"]
LEAD, ONSET = "area", "half"
"""The criteria of the leads and of the onsets that are drawn."""
LEADS = ("T1", "Held-out T1", "Cross-seed T1", "COMP RW")
ONSETS = ("Full", "Held-out T1", "COMP RW")
_LEGEND = {
    "T1": "T1: best component",
    "Held-out T1": "Held-out T1: chosen on other test rows",
    "Cross-seed T1": "Cross-seed T1: chosen under other demonstrations",
    "COMP RW": "COMP RW: components reweighted",
    "Full": "Full: the whole model",
    "grid_limited": "grid-limited: half of the checkpoints give another lead",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per task and number of shots: lead over the full model above, onset in tokens below, against size."""
    shown = table.filter(pl.col("criterion").is_in([LEAD, ONSET]), ~pl.col("centred"))
    return column_pages(
        "scaling",
        shown.partition_by(PANEL, maintain_order=True),
        [("lead over Full, doublings", _draw_leads), ("tokens until half way", _draw_onsets)],
        lambda panel: panel_title({**panel.row(0, named=True), "model": ""}, name_model=False),
        legend=_LEGEND,
        x_label="parameters (log scale); bars: 95 % intervals",
        height=2.0,
    )


def _draw_leads(axes: Axes, panel: pl.DataFrame) -> None:
    for curve in LEADS:
        rows = _plot_over_size(axes, panel.filter(criterion=LEAD), curve, "lead")
        limited = rows.filter("grid_limited")
        if len(limited):
            look = {"marker": "x", "linestyle": "none", "color": "0.2", "markersize": 6, "label": "grid_limited"}
            axes.plot(np.log10(limited["n_parameters"].to_numpy()), limited["lead"].to_numpy(), **look)
    plot_chance(axes, 0)


def _draw_onsets(axes: Axes, panel: pl.DataFrame) -> None:
    for curve in ONSETS:
        _plot_over_size(axes, panel.filter(criterion=ONSET), curve, "onset_tokens")
    axes.set_yscale("log")
    sizes = panel["n_parameters"].unique().sort().to_list()
    axes.set_xticks(np.log10(sizes), [_format_size(size) for size in sizes], rotation=45, fontsize=6.5)


def _plot_over_size(axes: Axes, panel: pl.DataFrame, curve: str, y: str) -> pl.DataFrame:
    """The column `y` of a curve's largest fit, with its interval; the rows that are drawn."""
    rows = largest_fit(panel.filter(curve=curve)).filter(pl.col(y).is_not_null()).sort("n_parameters")
    if rows.is_empty():
        return rows
    look = CURVES[curve]
    x, values = np.log10(rows["n_parameters"].to_numpy()), rows[y].to_numpy()
    axes.plot(x, values, label=curve, **look)
    low, high = (rows[f"{y}_{end}"].fill_null(rows[y]).to_numpy() for end in ("low", "high"))
    axes.vlines(x, low, high, color=look["color"], linewidth=0.9)
    return rows


def _format_size(n: int) -> str:
    """`160M`, `1.4B`."""
    return f"{n / 1e9:g}B" if n >= 10**9 else f"{n / 1e6:g}M"


def caption(table: pl.DataFrame) -> str:
    """Leads of held-out T1 in the smallest and in the largest model."""
    panels = []
    for panel in table.filter(criterion=LEAD, centred=False, curve="Held-out T1").partition_by(
        PANEL, maintain_order=True
    ):
        rows = panel.sort("n_parameters")
        smallest, largest = rows.row(0, named=True), rows.row(-1, named=True)
        ends = [f"{short_model(row['model'])} {format_number(row['lead'])}" for row in (smallest, largest)]
        panels.append(f"{panel['task'][0]}, {panel['n_shots'][0]}-shot: {join_words(ends)}")
    return (
        "Lead of components over the full model, the area between their curves in doublings of training, and tokens "
        "seen until a curve is half way from the null to its plateau, against the size in the model's name; a cross: "
        "half of the checkpoints give another lead. Lead of held-out T1: "
        f"{join_panels(panels)}."
    )


FIGURE = FigureSpec(
    analysis="scaling",
    question="Is the lead of components longer in larger models?",
    draw=draw,
    caption=caption,
    missing="Fewer than two model sizes here: sweep jobs/plans/pythia-scaling.toml.",
)
