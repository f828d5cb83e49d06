"""A run of Pythia-6.9B on AGNews beside the paper's training dynamics."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.paper_dynamics import CURVES
from figures import FigureOf, style, wording

_LEGEND = {
    "T1": "T1: best component",
    "Last-T1": "Last-T1: final best, traced back",
    "Full": "Full: the whole model",
    "B1": "B1: worst component",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """The paper's points hollow, the run's curves filled; beside them their differences in SDs over prompts.

    Without a run, the paper's points alone.
    """
    runs = table.partition_by(style.PANEL, maintain_order=True)
    return {
        name: _page(run, compared=run["mean"].is_not_null().any())
        for name, (run,) in style.pages("paper_dynamics", runs, 1).items()
    }


def _page(run: pl.DataFrame, *, compared: bool) -> Figure:
    figure, grid = style.panel_grid(2 if compared else 1, height=2.5, sharey=False)
    _curves(grid[0], run)
    if compared:
        style.title(grid[0], f"{style.panel_title(run.row(0, named=True), several_models=True)}; hollow: the paper")
        _differences(grid[1], run)
        style.title(grid[1], "run less paper, in SDs over prompts")
    else:
        style.title(grid[0], "pythia-6.9b: agnews, 4-shot, as published (no run here)")
    style.x_label(figure, style.STEP_LABEL)
    style.legend_above(figure, grid, _LEGEND, columns=2)
    return figure


def _curves(axes: Axes, run: pl.DataFrame) -> None:
    for curve in CURVES:
        rows, look = run.filter(curve=curve), style.CURVES[curve]
        ours, theirs = rows.filter(pl.col("mean").is_not_null()), rows.filter(pl.col("published").is_not_null())
        hollow = {**look, "markerfacecolor": "white", "linewidth": 0.7}
        style.curve(
            axes, theirs, hollow, curve if ours.is_empty() else f"{curve}, paper", y="published", sd="published_sd"
        )
        style.curve(axes, ours, look, curve, y="mean", sd="sd")
    style.chance_line(axes, 0.25)
    style.time_axis(axes, run)
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("test accuracy")


def _differences(axes: Axes, run: pl.DataFrame) -> None:
    for curve in CURVES:
        rows = run.filter(pl.col("curve") == curve, pl.col("in_sds").is_not_null())
        style.curve(axes, rows, style.CURVES[curve], curve, y="in_sds", sd=None)
    axes.axhspan(-1, 1, color=style.NULL_COLOUR, alpha=0.35, linewidth=0, zorder=0)
    style.chance_line(axes, 0)
    style.time_axis(axes, run)


def caption(table: pl.DataFrame) -> str:
    """Where the run lies furthest from the paper, or that there is no run."""
    source = (
        "Published means (arXiv 2406.13131), 7 of the paper's 32 checkpoints; band: its SD, published for Full only."
    )
    compared = table.filter(pl.col("in_sds").is_not_null())
    if compared.is_empty():
        plan = "jobs/plans/pythia-6.9b-agnews.toml"
        return f"{source} These results have no run of EleutherAI/pythia-6.9b on agnews, 4-shot: sweep {plan}."
    far = compared.sort(pl.col("in_sds").abs(), descending=True).row(0, named=True)
    return (
        f"{source} Grey on the right: within one SD over prompts (the paper's for Full where it is above zero, "
        f"else the run's own). Furthest apart: {far['curve']} at step {style.format_step(far['step'])}, "
        f"{wording.number(far['mean'])} against {wording.number(far['published'])} ({far['in_sds']:+.1f} SD)."
    )


FIGURE = FigureOf(
    analysis="paper_dynamics",
    question="Does Pythia-6.9B on AGNews show the paper's training dynamics?",
    draw=draw,
    caption=caption,
)
