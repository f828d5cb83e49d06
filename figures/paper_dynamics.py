"""A run of Pythia-6.9B on AGNews beside the paper's training dynamics."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.paper_dynamics import CURVES
from figures.captions import format_number, panel_title
from figures.layout import legend_above, pages, panel_grid, set_step_label, set_title
from figures.spec import FigureSpec
from figures.style import CURVES as LOOKS
from figures.style import NULL_COLOUR, PANEL
from figures.training_axis import format_step, plot_chance, plot_curve, set_accuracy_axis, set_training_axis

_LEGEND = {
    "T1": "T1: best component",
    "Last-T1": "Last-T1: final best, traced back",
    "Full": "Full: the whole model",
    "B1": "B1: worst component",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """The paper's points hollow, the run's curves filled; beside them their differences in SDs over prompts.

    Nothing without a run: the paper's points alone are no result.
    """
    compared = table.filter(pl.col("mean").is_not_null().any().over(PANEL))
    runs = compared.partition_by(PANEL, maintain_order=True)
    return {name: _page(run) for name, (run,) in pages("paper_dynamics", runs, 1).items()}


def _page(run: pl.DataFrame) -> Figure:
    figure, grid = panel_grid(2, height=2.5, sharey=False)
    _curves(grid[0], run)
    set_title(grid[0], f"{panel_title(run.row(0, named=True), name_model=True)}; hollow: the paper")
    _differences(grid[1], run)
    set_title(grid[1], "run less paper, in SDs over prompts")
    set_step_label(figure, grid)
    legend_above(figure, grid, _LEGEND)
    return figure


def _curves(axes: Axes, run: pl.DataFrame) -> None:
    for curve in CURVES:
        rows, look = run.filter(curve=curve), LOOKS[curve]
        own, published = rows.filter(pl.col("mean").is_not_null()), rows.filter(pl.col("published").is_not_null())
        hollow = {**look, "markerfacecolor": "white", "linewidth": 0.7}
        plot_curve(axes, published, hollow, f"{curve}, paper", y="published", sd="published_sd")
        plot_curve(axes, own, look, curve, y="mean", sd="sd")
    plot_chance(axes, 0.25)
    set_accuracy_axis(axes, run)
    axes.set_ylabel("test accuracy")


def _differences(axes: Axes, run: pl.DataFrame) -> None:
    for curve in CURVES:
        rows = run.filter(pl.col("curve") == curve, pl.col("in_sds").is_not_null())
        plot_curve(axes, rows, LOOKS[curve], curve, y="in_sds", sd=None)
    axes.axhspan(-1, 1, color=NULL_COLOUR, alpha=0.35, linewidth=0, zorder=0)
    plot_chance(axes, 0)
    set_training_axis(axes, run)


def caption(table: pl.DataFrame) -> str:
    """The largest difference between the run and the paper."""
    source = (
        "Published means (arXiv 2406.13131), 7 of the paper's 32 checkpoints; band: its SD, published for Full only."
    )
    compared = table.filter(pl.col("in_sds").is_not_null())
    if compared.is_empty():
        return f"{source} The run has none of these checkpoints."
    far = compared.sort(pl.col("in_sds").abs(), descending=True).row(0, named=True)
    return (
        f"{source} Grey on the right: within one SD over prompts (the paper's for Full where it is above zero, "
        f"else the run's own). Largest difference: {far['curve']} at step {format_step(far['step'])}, "
        f"{format_number(far['mean'])} against {format_number(far['published'])} ({far['in_sds']:+.1f} SD)."
    )


FIGURE = FigureSpec(
    analysis="paper_dynamics",
    question="Does Pythia-6.9B on AGNews show the paper's training dynamics?",
    draw=draw,
    caption=caption,
    missing="No run of EleutherAI/pythia-6.9b on agnews, 4-shot, here: sweep jobs/plans/pythia-6.9b-agnews.toml.",
)
