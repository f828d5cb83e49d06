"""Every method trained, with random weights and with shuffled labels, side by side: controls should be at chance."""

from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import fit_name, format_number, has_several_models, panel_title
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import CURVES, Look

METHODS = {
    "full": "Full",
    "centred_full": "Full, centred",
    "batch_calibration": "Batch calibration",
    "standard": "Standard",
    "prompt_selection": "PromptS",
    "contextual_calibration": "Contextual calibration",
    "domain_context_calibration": "Domain-context calibration",
    "calib_plus": "Calib+",
    "comp_rw": "COMP RW",
    "centred_comp_rw": "COMP RW, centred",
    "heldout_t1": "Held-out T1",
    "centred_heldout_t1": "Held-out T1, centred",
    "oracle_t1": "T1",
    "centred_oracle_t1": "T1, centred",
    "oracle_b1": "B1",
}
"""From top to bottom; the colour is the one that the method has everywhere."""
LOOKS: dict[str, Look] = {
    "trained": {"marker": "D", "markersize": 4.0},
    "step 0": {"marker": "v", "markersize": 4.0},
    "random_init": {"marker": "o", "markersize": 3.6, "markerfacecolor": "white"},
    "shuffled_labels": {"marker": "x", "markersize": 4.0},
    "expected": {"marker": "|", "markersize": 7.0, "color": "0.55"},
}
LEGEND = {
    "trained": "trained",
    "step 0": "step 0 of the suite",
    "random_init": "random weights",
    "shuffled_labels": "shuffled labels",
    "expected": "guessing",
}
METHOD = ["method", "variant", "n_labelled"]
PANEL = ["model", "dtype", "task", "n_shots"]
_OFFSET = 0.22
"""Vertical distance between the markers of one method."""


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per model, task and shots, one row per method; bars are 95 % intervals over the seeds of a control.

    Of each control and of the trained model the last step is drawn.
    """
    table = table.filter(pl.col("method").is_in(list(METHODS)))
    order = pl.col("method").replace_strict({method: i for i, method in enumerate(METHODS)})
    methods = table.select(METHOD).unique().sort(order, *METHOD).rows()
    name_model = has_several_models(table)
    return panel_pages(
        "controls",
        table.partition_by(PANEL, maintain_order=True),
        partial(_panel, methods=methods),
        lambda panel: panel_title({**panel.row(0, named=True), "control": "none"}, name_model=name_model),
        legend=LEGEND,
        x_label="test accuracy",
        per_page=6,
        max_columns=2,
        height=0.6 + 0.3 * len(methods),
        tick_label_width=1.1,
        legend_columns=5,
    )


def _panel(axes: Axes, panel: pl.DataFrame, *, methods: list[tuple]) -> None:
    for y, (method, variant, n_labelled) in enumerate(methods):
        _plot_method(axes, panel.filter(method=method, variant=variant, n_labelled=n_labelled), y)
    axes.axvline(panel["chance"][0], color="0.45", linewidth=0.6, linestyle=(0, (5, 3)), zorder=0)
    axes.set_yticks(range(len(methods)), [_method_name(*method) for method in methods], fontsize=6.5)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    for name in ("trained", *sorted(set(panel["control"])), "expected"):
        axes.plot([], [], label=name, linestyle="none", **{"color": "0.2", **LOOKS[name]})


def _plot_method(axes: Axes, rows: pl.DataFrame, y: int) -> None:
    """A method's trained accuracy, and under it its controls, each with its interval and the accuracy of guessing."""
    last = {row["control"]: row for row in rows.sort("trained_step", "step").iter_rows(named=True)}
    trained = [row["trained_accuracy"] for row in last.values() if row["trained_accuracy"] is not None]
    for accuracy in trained[-1:]:
        axes.plot(accuracy, y - _OFFSET, color=_colour(rows), **LOOKS["trained"])
    for i, control in enumerate(control for control in LOOKS if control in last):
        row, height = last[control], y + i * _OFFSET
        axes.plot(row["expected"], height, zorder=1, **LOOKS["expected"])
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [height, height], color=_colour(rows), linewidth=1.6, zorder=2)
        axes.plot(row["accuracy"], height, color=_colour(rows), zorder=3, **LOOKS[control])


def _colour(rows: pl.DataFrame) -> str:
    return CURVES.get(METHODS[rows["method"][0]].removesuffix(", centred"), {"color": "0.2"})["color"]


def _method_name(method: str, variant: str, n_labelled: int) -> str:
    return fit_name(METHODS[method], variant, n_labelled)


def caption(table: pl.DataFrame) -> str:
    """The method that is furthest from guessing under a control."""
    shown = table.filter(pl.col("method").is_in(list(METHODS)))
    under = shown.filter(pl.col("control").is_in(["random_init", "shuffled_labels"]), pl.col("distance").is_not_null())
    text = (
        "Test accuracy trained and under controls, at the last step of each; bars: 95 % intervals over a control's "
        "seeds; ticks: the accuracy of guessing."
    )
    if under.is_empty():
        return text
    far = under.sort(pl.col("distance").abs(), descending=True).row(0, named=True)
    method = _method_name(far["method"], far["variant"], far["n_labelled"])
    return (
        f"{text} Furthest from guessing under a control: {method} on {far['task']} with {LEGEND[far['control']]}, "
        f"{format_number(far['accuracy'])} against {format_number(far['expected'])} ({far['distance']:+.1f} SD)."
    )


FIGURE = FigureSpec(
    analysis="controls",
    question="What do the methods reach where nothing can be known?",
    draw=draw,
    caption=caption,
    missing="No control here, nor a step 0 before other steps: sweep a plan with `controls`.",
)
