"""Which components are below chance, and why? Shares of each class over training."""

from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.bad_components import TOGETHER
from figures.captions import count_prompts, join_panels, panel_name
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import CLASSES, PANEL
from figures.training_axis import format_step, set_training_axis, step_position

LEGEND = {
    "label-biased": "label-biased: wrong threshold, ranks rows correctly or not at all",
    "anti-copying": "anti-copying: lowers the labels that it attends to",
    "wrong-label attention": "wrong-label attention: raises the labels that it attends to, attends to the others",
    "opposed": "opposed: contradicts a good component row by row",
    "unexplained": "unexplained: ranks rows wrongly, none of these",
    "cannot be told": "cannot be told: ranks rows wrongly; attention not measured, or answers a label's rows alike",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """A column per task and number of shots: shares of each class, stacked; prompt by prompt, and over all prompts."""
    known = table.filter(pl.col("share").is_not_null())
    stacks = known.group_by(*PANEL, "step", "scope").agg(pl.col("share").sum())["share"]
    top = 1.05 * max(0.25, *stacks.to_list())
    return column_pages(
        "bad_components",
        known.partition_by(PANEL, maintain_order=True),
        [(scope, partial(_panel, scope=scope, top=top)) for scope in known["scope"].unique().sort(descending=True)],
        lambda panel: f"{panel_name(panel, table)} ({count_prompts(panel)})",
        legend=LEGEND,
        y_label="share of heads and MLPs below chance",
        height=1.5,
        sharey="all",
        legend_columns=1,
    )


def _panel(axes: Axes, panel: pl.DataFrame, scope: str, top: float) -> None:
    panel = panel.filter(scope=scope)
    steps = panel["step"].unique().sort().to_list()
    x, is_zero = step_position(steps), np.array(steps) == 0
    below = np.zeros(len(steps))
    for name, look in CLASSES.items():
        rows = panel.filter(pl.col("class") == name).sort("step")
        share = rows["share"].to_numpy()
        if not share.any():
            continue
        above = below + share
        axes.fill_between(x[~is_zero], below[~is_zero], above[~is_zero], label=name, **look)
        axes.bar(x[is_zero], share[is_zero], 0.7, below[is_zero], **look)
        below = above
    set_training_axis(axes, panel)
    axes.set_ylim(0, top)


def caption(table: pl.DataFrame) -> str:
    """The step with most components below chance, and the last one."""
    known = table.filter(pl.col("share").is_not_null(), scope=TOGETHER)
    panels = []
    for panel in known.partition_by(PANEL, maintain_order=True):
        total = panel.group_by("step").agg(pl.col("n").sum(), pl.col("n_components").first()).sort("step")
        most, last = total.sort("n", descending=True, maintain_order=True).row(0), total.row(-1)
        named = panel.filter(pl.col("step") == most[0], pl.col("n") > 0).sort("n", descending=True, maintain_order=True)
        what = ", ".join(f"{row['n']:g} {row['class']}" for row in named.iter_rows(named=True)) or "none"
        panels.append(
            f"{panel_name(panel, table)}: most at step {format_step(most[0])} ({what}), at the last step "
            f"{last[1]:g} of {last[2]}"
        )
    return (
        "Heads and MLPs whose accuracy or area under the ROC curve is below chance with a 95 % interval over "
        "demonstration seeds and test rows, by what explains it; of guessing ones at most .05 are expected. "
        f"{join_panels(panels)}."
    )


FIGURE = FigureSpec(
    analysis="bad_component_shares",
    question="Which components are below chance, and why?",
    draw=draw,
    caption=caption,
    missing="No intervals here: sweep two or more demonstration seeds.",
)
