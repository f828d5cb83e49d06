"""The gain by a few labels over training: Full, label-free baselines, Calib+, COMP RW and held-out T1 in one panel."""

from functools import partial
from typing import NamedTuple

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.reweighting_gain import LABEL_FREE_BASELINES
from figures.captions import format_number, join_panels, panel_name
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import CURVES, PANEL, VARIANT_LOOKS, Look
from figures.training_axis import format_step, plot_chance, plot_curve, set_accuracy_axis, set_training_axis, step_label

NAMES = {
    "full": "Full",
    "centred_full": "Full, centred",
    "batch_calibration": "Batch calibration",
    "contextual_calibration": "Contextual calibration",
    "domain_context_calibration": "Domain-context calibration",
    "calib_plus": "Calib+",
    "comp_rw": "COMP RW",
    "heldout_t1": "Held-out T1",
}
_WITHOUT_LABELS = pl.col("method").is_in(["full", *LABEL_FREE_BASELINES]) | (pl.col("variant") == "split_half")


class Panel(NamedTuple):
    """The rows of one panel, and their number of labelled examples; None where no method here uses labels."""

    rows: pl.DataFrame
    n_labelled: int | None


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task, shots and number of labelled examples: accuracies, and the gain over the full model.

    Means over prompts; a band of ±1 SD only around gains of the default variants: more would hide each other.
    """
    panels = [
        Panel(panel.filter(_belongs(k)), k)
        for panel in table.partition_by(PANEL, maintain_order=True)
        for k in numbers_of_labels(panel)
    ]
    gains = [Panel(rows.filter(pl.col("method") != "full"), k) for rows, k in panels if k is not None]
    labels = sorted(curve_label(*row) for row in table.select("method", "variant").unique().rows())

    def title(panel: Panel) -> str:
        name = panel_name(panel.rows, table)
        return name if panel.n_labelled is None else f"{name}, K = {panel.n_labelled}"

    pages = partial(
        panel_pages,
        title=title,
        legend={label: label for label in labels},
        x_label=f"{step_label(has_step_zero=0 in table['step'])}{_missing_methods(table)}",
        title_size=7.5,
        legend_columns=3,
    )
    pictures = pages("reweighting_gain", panels, _draw_accuracy, y_label="test accuracy")
    y_label = "accuracy gained over the full model"
    return pictures | pages("reweighting_gain_over_full", gains, _draw_gain, y_label=y_label)


def numbers_of_labels(panel: pl.DataFrame) -> list[int | None]:
    """The numbers of labelled examples that get a panel each; None where no method here uses labels."""
    with_labels = panel.filter(~_WITHOUT_LABELS)
    return with_labels["n_labelled"].unique().sort().to_list() or [None]


def _belongs(k: int | None) -> pl.Expr:
    return _WITHOUT_LABELS if k is None else _WITHOUT_LABELS | (pl.col("n_labelled") == k)


def _missing_methods(table: pl.DataFrame) -> str:
    missing = [name for method, name in NAMES.items() if method not in table["method"]]
    return f"\nnot in these results: {', '.join(missing)}" if missing else ""


def _draw_accuracy(axes: Axes, panel: Panel) -> None:
    _plot_methods(axes, panel.rows, y="accuracy")
    set_accuracy_axis(axes, panel.rows)


def _draw_gain(axes: Axes, panel: Panel) -> None:
    _plot_methods(axes, panel.rows, y="gain", sd="gain_sd")
    plot_chance(axes, 0.0)
    set_training_axis(axes, panel.rows)


def _plot_methods(axes: Axes, rows: pl.DataFrame, *, y: str, sd: str | None = None) -> None:
    for method, name in NAMES.items():
        by_variant = rows.filter(method=method).partition_by("variant", as_dict=True)
        for (variant,), curve in sorted(by_variant.items()):
            variant = str(variant)
            band = sd if variant == "default" else None
            label = curve_label(method, variant)
            plot_curve(axes, curve, variant_look(name, variant), label, y=y, sd=band, limits=(-1, 1))


def curve_label(method: str, variant: str) -> str:
    """`COMP RW, official code`."""
    return f"{NAMES[method]}, {variant.replace('_', ' ')}" if variant else NAMES[method]


def variant_look(name: str, variant: str) -> Look:
    """A method's look, its variants told apart by dash and filling; one without variants keeps its own dash."""
    dash = {"linestyle": "-"} if variant else {}
    return {**CURVES[name], **dash, "linewidth": 1.1, "markersize": 2.8, **VARIANT_LOOKS.get(variant, {})}


def caption(table: pl.DataFrame) -> str:
    """The largest gain of COMP RW in every panel, and when."""
    panels = []
    for panel in table.partition_by(PANEL, maintain_order=True):
        gains = panel.filter(pl.col("method") == "comp_rw", pl.col("gain").is_not_null())
        if len(gains):
            top = gains.sort("gain", descending=True).row(0, named=True)
            gain = f"{format_number(top['gain'])} at step {format_step(top['step'])} (K = {top['n_labelled']})"
            panels.append(f"{panel_name(panel, table)}: {gain}")
    largest = f" Largest gain of COMP RW over the full model: {join_panels(panels)}." if panels else ""
    return f"Accuracy with K labelled examples, beside the full model, means over prompts.{largest}"


FIGURE = FigureSpec(
    analysis="reweighting_gain",
    question="What do a few labels unlock, and when in training?",
    draw=draw,
    caption=caption,
)
