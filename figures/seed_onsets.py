"""When do curves emerge, and how far are they ahead, in training runs with other seeds? Every run, and all of them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import SEEDS_PANEL, format_number, join_panels, panel_title
from figures.layout import panel_pages
from figures.onsets import curves_in_order, form_name
from figures.spec import FigureSpec
from figures.style import CURVES
from figures.training_axis import format_step, set_step_axis

SHOWN = ("Full", "COMP RW", "Cross-seed T1", "Held-out T1")
HEIGHT = 0.34
"""Of the runs of one curve, above and below the middle of its row."""
_LEGEND = {
    "run": "one training run; an arrow: never",
    "all": "median over runs (onset), or mean and 95 % interval over runs (lead)",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """Onsets half way to the plateau, and leads by area: a panel per model, task and shots, a row per curve.

    Each run is a thin line between the two checkpoints around its onset, or a tick at its lead; all of them are a thick
    bar.
    """
    shown = table.filter(pl.col("curve").is_in(SHOWN))
    onsets = shown.filter(criterion="half")
    leads = shown.filter(pl.col("curve") != "Full", criterion="area")
    return {
        **_pictures("seed_onsets", onsets, _plot_onset, "training step (log scale), half way to the plateau"),
        **_pictures("seed_onsets_leads", leads, _plot_lead, "doublings of training ahead of the full model, by area"),
    }


def _pictures(
    name: str, table: pl.DataFrame, plot: Callable[[Axes, float, dict[str, Any], str], None], x_label: str
) -> dict[str, Figure]:
    panels = table.partition_by(SEEDS_PANEL, maintain_order=True)
    n_rows = max((len(curves_in_order(panel)) for panel in panels), default=0)
    return panel_pages(
        name,
        panels,
        partial(_panel, plot=plot),
        _title,
        legend=_LEGEND,
        x_label=x_label,
        legend_columns=1,
        per_page=6,
        height=0.7 + 0.26 * n_rows,
        title_size=7.5,
        tick_label_width=0.6,
    )


def _title(panel: pl.DataFrame) -> str:
    row = panel.row(0, named=True)
    return f"{panel_title(row, name_model=True)} ({panel['n_runs'].max()} {row['varies']}s)"


def _panel(axes: Axes, panel: pl.DataFrame, plot: Callable[[Axes, float, dict[str, Any], str], None]) -> None:
    curves = curves_in_order(panel)
    if plot is _plot_onset:
        set_step_axis(axes, [*panel["first_step"].drop_nulls(), *panel["last_step"].drop_nulls()])
    else:
        axes.axvline(0, color="0.3", linewidth=0.8)
    for y, curve in enumerate(curves):
        color = CURVES[curve["curve"][0]]["color"]
        runs = curve.filter(pl.col("run") != "").sort("run").to_dicts()
        for row, shift in zip(runs, np.linspace(HEIGHT, -HEIGHT, len(runs)), strict=True):
            plot(axes, y + shift, row, color)
        for row in curve.filter(run="").iter_rows(named=True):
            plot(axes, y, row, color)
    axes.plot([], [], color="0.3", linewidth=1.2, label="run")
    axes.plot([], [], color="0.3", linewidth=6, alpha=0.3, label="all")
    axes.set_yticks(range(len(curves)), [form_name(curve) for curve in curves], fontsize=6.5)
    axes.set_ylim(-0.6, len(curves) - 0.4)


def _plot_onset(axes: Axes, y: float, row: dict[str, Any], color: str) -> None:
    """From the checkpoint before the onset to the one after; an arrow at the edge where there is none."""
    left, right = axes.get_xlim()
    ends = [_position(row["step_before"], left), _position(row["step_after"], right)]
    if row["run"] == "":
        axes.plot(ends, [y, y], color=color, linewidth=9, alpha=0.3, solid_capstyle="butt", zorder=1)
        return
    axes.plot(ends, [y, y], color=color, linewidth=1.4, solid_capstyle="butt", zorder=2)
    for edge, marker, step in ((left, "<", row["step_before"]), (right, ">", row["step_after"])):
        if step is None:
            axes.plot([edge], [y], color=color, marker=marker, markersize=3.5, clip_on=False, zorder=3)


def _position(step: int | None, otherwise: float) -> float:
    return otherwise if step is None else float(np.log2(max(step, 0.5)))


def _plot_lead(axes: Axes, y: float, row: dict[str, Any], color: str) -> None:
    """A point per run; of all, the interval of the mean as a bar; nothing where there is no number."""
    if row["run"] != "":
        if row["lead"] is not None:
            axes.plot([row["lead"]], [y], color=color, marker="|", markersize=5, markeredgewidth=1.4, zorder=3)
    elif row["lead_low"] is not None:
        ends = [row["lead_low"], row["lead_high"]]
        axes.plot(ends, [y, y], color=color, linewidth=9, alpha=0.3, solid_capstyle="butt", zorder=1)
        axes.plot([row["lead"]], [y], color=color, marker="o", markersize=3.4, zorder=2)


def caption(table: pl.DataFrame) -> str:
    """The median onset of the full model, the runs in which it never emerges, and the mean lead of held-out T1."""
    panels = []
    for panel in table.filter(run="", centred=True).partition_by(SEEDS_PANEL, maintain_order=True):
        full = panel.filter(curve="Full", criterion="half").to_dicts()
        lead = panel.filter(curve="Held-out T1", criterion="area").to_dicts()
        if full and lead:
            panels.append(f"{_title(panel)}: Full {_onset(full[0])}; Held-out T1 {_lead(lead[0])}")
    return (
        "Training runs of one model with other seeds. An onset is known between two checkpoints only; the bar is from "
        "the median of the left ends over runs to that of the right ends, a run that never emerges counting as "
        f"infinity. Both less their label bias: {join_panels(panels)}."
    )


def _onset(row: dict[str, Any]) -> str:
    """`between steps 16 and 32, never in 0 of 3 runs (.00 to .71)`."""
    before, after = ("…" if row[end] is None else format_step(row[end]) for end in ("step_before", "step_after"))
    ends = " to ".join(format_number(row[end]) for end in ("never_low", "never_high"))
    return f"between steps {before} and {after}, never in {row['n_never']} of {row['n_runs']} runs ({ends})"


def _lead(row: dict[str, Any]) -> str:
    if row["lead"] is None:
        return f"no mean lead: {row['lead_reason']}"
    ends = (
        "" if row["lead_low"] is None else f" ({' to '.join(format_number(row[f'lead_{e}']) for e in ('low', 'high'))})"
    )
    return f"{format_number(row['lead'])}{ends} doublings ahead"


FIGURE = FigureSpec(
    analysis="seed_onsets",
    question="Do onsets and leads replicate in training runs with other seeds?",
    draw=draw,
    caption=caption,
    missing="No model here has a second seed: sweep jobs/plans/reference-seeds.toml or polypythias-160m.toml.",
)
