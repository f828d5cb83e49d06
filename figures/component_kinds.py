"""How many components are good, bad or label-biased, over training."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import at_last_step, count_prompts, format_number, join_panels, panel_name
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import KINDS, PANEL
from figures.training_axis import plot_curve, set_training_axis


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots: share of heads and MLPs of each kind, mean over prompts ±1 SD."""
    return panel_pages(
        "component_kinds",
        table.partition_by(PANEL, maintain_order=True),
        _panel,
        lambda panel: f"{panel_name(panel, table)} ({count_prompts(panel)})",
        legend=_legend(table["level"][0]),
        y_label="share of heads and MLPs",
    )


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    for kind, look in KINDS.items():
        plot_curve(axes, panel.filter(kind=kind), look, kind, y="share", sd="share_sd")
    set_training_axis(axes, panel)
    axes.set_ylim(-0.02, 1.02)


def _legend(level: float) -> dict[str, str]:
    return {
        "good": f"good: above the best with permuted labels (family-wise level {level:g})",
        "bad": f"bad: below the worst with permuted labels (family-wise level {level:g})",
        "label_biased": "label-biased: one label on all test rows",
        "nearly_label_biased": "the same on 95 % of them or more",
    }


def caption(table: pl.DataFrame) -> str:
    """The shares at the last step."""
    ends = []
    for last in at_last_step(table):
        share = {row["kind"]: format_number(row["share"]) for row in last.iter_rows(named=True)}
        ends.append(f"{panel_name(last, table)}: {share['good']} good, {share['label_biased']} label-biased")
    return f"Shares of heads and MLPs, means over prompts, shaded ±1 SD. At the last step: {join_panels(ends)}."


FIGURE = FigureSpec(
    analysis="component_kinds",
    question="How many components are good, bad or label-biased?",
    draw=draw,
    caption=caption,
)
