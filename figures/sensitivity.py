"""How much of the spread between prompts is the wording, how much the demonstrations?"""

from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import at_last_step, join_panels, join_words, panel_name
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import PANEL, SOURCES
from figures.training_axis import plot_curve, set_training_axis

SUBJECTS = {"Full": "full model", "T1": "best component", "components": "average component"}
SD_TICKS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
_LEGEND = {
    "template": "wording (template)",
    "demonstrations": "demonstrations",
    "rest": "rest: their combination",
    "test_rows": "finite test set",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per panel, one row per subject: variances by source, on an axis labelled in SDs of accuracy."""
    return column_pages(
        "sensitivity",
        table.partition_by(PANEL, maintain_order=True),
        [(label, partial(_panel, subject=subject)) for subject, label in SUBJECTS.items()],
        lambda panel: panel_name(panel, table),
        legend=_LEGEND,
        y_label="SD of accuracy between prompts",
        height=1.55,
        sharey="all",
        legend_columns=4,
    )


def _panel(axes: Axes, panel: pl.DataFrame, *, subject: str) -> None:
    axes.set_yscale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0)), np.square))
    for source, look in SOURCES.items():
        plot_curve(axes, panel.filter(subject=subject, source=source), look, source, y="variance", sd=None)
    axes.set_yticks([sd**2 for sd in SD_TICKS], [f"{sd:g}" for sd in SD_TICKS])
    axes.set_ylim(0, 0.4**2)
    set_training_axis(axes, panel)


def caption(table: pl.DataFrame) -> str:
    """The share of each source for the full model at the last step."""
    ends = []
    for last in at_last_step(table):
        rows = last.filter(pl.col("subject") == "Full", pl.col("share").is_not_null())
        shares = [f"{_LEGEND[row['source']]} {100 * row['share']:.0f} %" for row in rows.iter_rows(named=True)]
        if shares:
            ends.append(f"{panel_name(last, table)}: {join_words(shares)}")
    of_full = f" Shares of the full model's variance at the last step: {join_panels(ends)}." if ends else ""
    return (
        "Variance of accuracy between prompts split by source; unbiased estimates below zero are drawn at 0. The "
        f"finite test set's part would vanish with more rows.{of_full}"
    )


FIGURE = FigureSpec(
    analysis="sensitivity",
    question="Does accuracy depend on the wording or on the demonstrations?",
    draw=draw,
    caption=caption,
)
