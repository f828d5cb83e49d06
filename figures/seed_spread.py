"""How far apart are training runs with other seeds? Mean and range over seeds."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import SEEDS_PANEL, format_number, join_panels, seeds_name
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import CURVES
from figures.training_axis import format_step, plot_curve, plot_interval, set_accuracy_axis

ORDER = ("B1", "Held-out T1", "Full", "T1")
_LEGEND = {
    "T1": "T1: each training's best component",
    "Held-out T1": "Held-out T1: chosen on other test rows",
    "Full": "Full: the whole model",
    "B1": "B1: each training's worst component",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per model, what its seeds change, task and shots: mean over seeds, shaded from lowest to highest."""
    panels = table.partition_by(SEEDS_PANEL, maintain_order=True)
    y_label = "test accuracy, mean over prompts"
    return panel_pages("seed_spread", panels, _panel, seeds_name, legend=_LEGEND, y_label=y_label, title_size=7.5)


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    for curve in ORDER:
        rows = panel.filter(curve=curve)
        plot_curve(axes, rows, CURVES[curve], curve, y="mean", sd=None)
        plot_interval(axes, rows, CURVES[curve])
    set_accuracy_axis(axes, panel)


def caption(table: pl.DataFrame) -> str:
    """The step at which the full model's range over seeds is widest."""
    widest = []
    for panel in table.filter(curve="Full").partition_by(SEEDS_PANEL, maintain_order=True):
        row = panel.sort(pl.col("high") - pl.col("low"), descending=True).row(0, named=True)
        ends = f"{format_number(row['low'])} to {format_number(row['high'])}"
        widest.append(f"{seeds_name(panel)}: {ends} at step {format_step(row['step'])}")
    return (
        "Accuracy of the same model trained with other seeds: mean over seeds, shaded from the lowest to the highest. "
        f"The full model's range is widest at {join_panels(widest)}."
    )


FIGURE = FigureSpec(
    analysis="seed_spread",
    question="How far apart are trainings with other seeds?",
    draw=draw,
    caption=caption,
    missing="No model here has a second seed: sweep jobs/plans/polypythias-160m.toml.",
)
