"""Every method trained, with random weights and with shuffled labels, side by side: what is chance should look it."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

METHODS = {
    "full": "Full",
    "standard": "Standard",
    "prompt_selection": "PromptS",
    "calib_plus": "Calib+",
    "comp_rw": "COMP RW",
    "heldout_t1": "Held-out T1",
    "oracle_t1": "T1",
    "oracle_b1": "B1",
}
"""From top to bottom; the colour is the one that the method has everywhere."""
LOOKS: dict[str, dict[str, Any]] = {
    "trained": {"marker": "D", "markersize": 4.0},
    "step 0": {"marker": "v", "markersize": 4.0},
    "random_init": {"marker": "o", "markersize": 3.6, "markerfacecolor": "white"},
    "shuffled_labels": {"marker": "x", "markersize": 4.0},
    "expected": {"marker": "|", "markersize": 7.0, "color": "0.55"},
}
NAMES = {
    "trained": "trained",
    "step 0": "step 0 of the suite",
    "random_init": "random weights",
    "shuffled_labels": "shuffled labels",
    "expected": "guessing",
}
"""What the legend calls them."""
ROW = ["method", "variant", "n_labelled"]
PANEL = ["model", "dtype", "task", "n_shots"]
_APART = 0.22


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per model, task and shots, one row per method; bars are 95 % intervals over the seeds of a control.

    Of each control and of the trained model the last step is drawn.
    """
    several = table["model"].n_unique() > 1
    panels = table.partition_by(PANEL, maintain_order=True)
    return {name: _page(page, several_models=several) for name, page in style.pages("controls", panels, 6).items()}


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    order = pl.col("method").replace_strict({method: i for i, method in enumerate(METHODS)})
    rows = pl.concat([panel.select(ROW) for panel in panels]).unique().sort(order, *ROW).rows()
    figure, grid = style.panel_grid(len(panels), height=0.6 + 0.3 * len(rows), most_columns=2)
    for axes, panel in zip(grid, panels, strict=True):
        for y, row in enumerate(rows):
            _method(axes, panel.filter(*[pl.col(name) == value for name, value in zip(ROW, row, strict=True)]), y)
        axes.axvline(panel["chance"][0], color="0.45", linewidth=0.6, linestyle=(0, (5, 3)), zorder=0)
        axes.set_yticks(range(len(rows)), [_name(*row) for row in rows], fontsize=6.5)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        first = {**panel.row(0, named=True), "control": "none"}
        style.title(axes, style.panel_title(first, several_models=several_models), labels=1.1)
    for name in ("trained", *sorted({control for panel in panels for control in panel["control"]}), "expected"):
        grid[0].plot([], [], label=name, linestyle="none", **{"color": "0.2", **LOOKS[name]})
    style.x_label(figure, "test accuracy")
    style.legend_above(figure, grid, NAMES, columns=5)
    return figure


def _method(axes: Axes, rows: pl.DataFrame, y: int) -> None:
    """A method's trained accuracy, and under it its controls, each with its interval and what guessing gives."""
    last = {row["control"]: row for row in rows.sort("trained_step", "step").iter_rows(named=True)}
    trained = [row["trained_accuracy"] for row in last.values() if row["trained_accuracy"] is not None]
    for accuracy in trained[-1:]:
        axes.plot(accuracy, y - _APART, color=_colour(rows), **LOOKS["trained"])
    for i, name in enumerate(name for name in LOOKS if name in last):
        row, at = last[name], y + i * _APART
        axes.plot(row["expected"], at, zorder=1, **LOOKS["expected"])
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [at, at], color=_colour(rows), linewidth=1.6, zorder=2)
        axes.plot(row["accuracy"], at, color=_colour(rows), zorder=3, **LOOKS[name])


def _colour(rows: pl.DataFrame) -> str:
    return style.CURVES.get(METHODS[rows["method"][0]], {"color": "0.2"})["color"]


def _name(method: str, variant: str, n_labelled: int) -> str:
    """`COMP RW, K = 24, default`."""
    shown = [f"K = {n_labelled}"] if n_labelled else []
    shown += [variant.replace("_", " ").replace("/", ", ")] if variant else []
    return ", ".join([METHODS[method], *shown])


def caption(table: pl.DataFrame) -> str:
    """Which method lies furthest from guessing under a control."""
    under = table.filter(pl.col("control").is_in(["random_init", "shuffled_labels"]), pl.col("distance").is_not_null())
    text = (
        "Test accuracy trained and under controls, at the last step of each; bars: 95 % intervals over a control's "
        "seeds; ticks: what guessing gives."
    )
    if under.is_empty():
        return text
    far = under.sort(pl.col("distance").abs(), descending=True).row(0, named=True)
    method = _name(far["method"], far["variant"], far["n_labelled"])
    return (
        f"{text} Furthest from guessing under a control: {method} on {far['task']} with {NAMES[far['control']]}, "
        f"{wording.number(far['accuracy'])} against {wording.number(far['expected'])} ({far['distance']:+.1f} SD)."
    )


FIGURE = FigureOf(
    analysis="controls",
    question="What do the methods reach where nothing can be known?",
    draw=draw,
    caption=caption,
    missing="No control here, nor a step 0 before other steps: sweep a plan with `controls`.",
)
