"""Direct against total effect of single components, at the last step and over training."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import at_last_step, format_number, join_panels, panel_name
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import PANEL, Look
from figures.training_axis import plot_curve, set_training_axis

N_NAMED = 3
"""Components that are drawn by name: those of the largest total effect at the last step."""
TOTAL: Look = {"marker": "o", "linestyle": "-"}
DIRECT: Look = {"marker": "D", "linestyle": (0, (1, 1.2)), "markerfacecolor": "white"}
COLOURS = ("#D55E00", "#0072B2", "#009E73")


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """Per model, task and shots: total against direct effect of all components at the last step; both over training."""
    panels = table.partition_by([*PANEL, "replacement", "k"], maintain_order=True)

    def title(panel: pl.DataFrame) -> str:
        return panel_name(panel, table)

    legend = {"total": "total effect", "direct": "direct effect"}
    scatter = panel_pages(
        "direct_total",
        panels,
        _scatter,
        title,
        legend={"line": "no self-repair: total = direct"},
        x_label="direct effect at the last step (logits)",
        y_label="total effect (logits)",
        sharey=False,
    )
    return scatter | panel_pages(
        "direct_total_training", panels, _over_training, title, legend=legend, y_label="effect (logits)", sharey=False
    )


def _scatter(axes: Axes, panel: pl.DataFrame) -> None:
    last = panel.filter(step=panel["step"].max())
    direct, total = last["direct_effect"].to_numpy(), last["total_effect"].to_numpy()
    ends = np.array([min(direct.min(), total.min(), 0), max(direct.max(), total.max(), 0)])
    axes.plot(ends, ends, color="0.5", linewidth=0.8, linestyle=(0, (2, 2)), label="line")
    axes.plot(direct, total, linestyle="none", marker="o", color="0.45")
    for row in _named(panel).iter_rows(named=True):
        axes.annotate(
            row["component"],
            (row["direct_effect"], row["total_effect"]),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            fontsize=6,
        )
    axes.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.6, zorder=0)


def _over_training(axes: Axes, panel: pl.DataFrame) -> None:
    for colour, component in zip(COLOURS, _named(panel)["component"], strict=False):
        rows = panel.filter(component=component)
        for name, look in (("direct", DIRECT), ("total", TOTAL)):
            own = {**look, "color": colour}
            plot_curve(axes, rows, own, name, y=f"{name}_effect", sd=None, limits=(-1e9, 1e9))
        axes.plot([], [], color=colour, marker="o", label=component)
    handles, labels = axes.get_legend_handles_labels()
    named = [(handle, label) for handle, label in zip(handles, labels, strict=True) if label not in ("direct", "total")]
    axes.legend([h for h, _ in named], [label for _, label in named], loc="upper left", fontsize=6, handlelength=1.2)
    axes.axhline(0, color="0.3", linewidth=0.8)
    set_training_axis(axes, panel)


def _named(panel: pl.DataFrame) -> pl.DataFrame:
    last = panel.filter(step=panel["step"].max()).with_columns(size=pl.col("total_effect").abs())
    return last.sort("size", "component", descending=[True, False]).head(N_NAMED)


def caption(table: pl.DataFrame) -> str:
    """The component of the largest total effect at the last step."""
    ends = []
    for last in at_last_step(table):
        row = _named(last).row(0, named=True)
        ends.append(
            f"{panel_name(last, table)}: {row['component']} direct {format_number(row['direct_effect'])}, total "
            f"{format_number(row['total_effect'])}"
        )
    return (
        "Mean margin that is lost without one component's output at the last token: direct, its contribution alone "
        "replaced; total, with later layers computed anew. Below the diagonal later components make up for the loss "
        f"(self-repair). At the last step: {join_panels(ends)}."
    )


FIGURE = FigureSpec(
    analysis="direct_total",
    question="Does a component's contribution tell what the model loses without it?",
    draw=draw,
    caption=caption,
    missing='No ablations here: plan key `mechanisms = ["ablation"]` makes them.',
)
