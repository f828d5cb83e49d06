"""Do the labels unlock anything? COMP RW and Calib+ beside the same fits on shuffled training labels."""

from typing import NamedTuple

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import join_panels, panel_name
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import CURVES, NULL_COLOUR, PANEL
from figures.training_axis import format_step, largest_fit, plot_curve, plot_interval, set_accuracy_axis

METHODS = {"comp_rw": "COMP RW", "centred_comp_rw": "COMP RW, centred", "calib_plus": "Calib+"}
_NULL_LOOK = {"color": "0.35", "linewidth": 0.9, "linestyle": (0, (1, 1.2))}


class Panel(NamedTuple):
    """One method's rows in one panel."""

    rows: pl.DataFrame
    method: str


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task, shots and method: accuracy, and from the mean of the refits to their band over all steps."""
    panels = [
        Panel(largest_fit(panel.filter(method=method)), method)
        for panel in table.partition_by(PANEL, maintain_order=True)
        for method in METHODS
        if method in panel["method"]
    ]
    return panel_pages(
        "refit_null",
        panels,
        _draw_panel,
        lambda panel: f"{panel_name(panel.rows, table)}: {METHODS[panel.method]}, K = {panel.rows['n_labelled'][0]}",
        legend={
            **{name: name for method, name in METHODS.items() if method in table["method"]},
            "refits": "shuffled training labels: mean, up to the band of 1 %",
        },
        y_label="test accuracy",
        title_size=7.5,
    )


def _draw_panel(axes: Axes, panel: Panel) -> None:
    name = METHODS[panel.method]
    rows = panel.rows.with_columns(low="refit_null_mean", high="band")
    plot_interval(axes, rows, {"color": NULL_COLOUR})
    plot_curve(axes, rows, _NULL_LOOK, "refits", y="refit_null_mean", sd=None)
    look = CURVES[name.split(",")[0]] | ({"linestyle": (0, (3, 1.5))} if "," in name else {})
    plot_curve(axes, rows, look, name, y="accuracy", sd=None)
    set_accuracy_axis(axes, rows)


def caption(table: pl.DataFrame) -> str:
    """From where each method exceeds what its refits reach."""
    since = []
    for panel in table.partition_by(PANEL, maintain_order=True):
        rows = largest_fit(panel.filter(method="comp_rw"))
        above = rows.filter("above").sort("step")
        if len(rows):
            first = f"first at step {format_step(above['step'][0])}" if len(above) else "at no step"
            since.append(f"{panel_name(panel, table)}: {first}, at {len(above)} of {len(rows)}")
    fits = f" COMP RW is above its band: {join_panels(since)}." if since else ""
    shuffles = f"{table['n_shuffles'][0]} shuffles within each seed"
    return (
        f"Fits on K labelled examples beside the same fits on shuffled labels ({shuffles}), scored on true test "
        "labels. What demonstrations tell the model, it knows under any labels; what is above the band is due to the "
        f"labels.{fits}"
    )


FIGURE = FigureSpec(
    analysis="refit_null",
    question="Do the labels unlock anything, or does fitting alone?",
    draw=draw,
    caption=caption,
    missing="These results hold no fits of a built-in variant, or no contributions; sweep with both.",
    only_by_name=True,
)
