"""Label bias over training: how one-sided the answers are, and how well rows are ranked meanwhile."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import format_number, join_panels, panel_name
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import CURVES, PANEL, Look
from figures.training_axis import plot_chance, plot_curve, set_accuracy_axis, set_training_axis

_COMPONENTS: Look = {"color": "#7F7F7F", "marker": "s", "linestyle": (0, (4, 1.5))}
_RAW: Look = {"linestyle": (0, (1, 1.2)), "markerfacecolor": "white"}
SHARES: dict[str, Look] = {"label_share_max": CURVES["Full"], "component_label_share_max": _COMPONENTS}
RANKING: dict[str, Look] = {
    "accuracy": {**CURVES["Full"], **_RAW},
    "centred_accuracy": CURVES["Full"],
    "auc": {**CURVES["COMP RW"], "marker": "^"},
}
SIMILARITY: dict[str, Look] = {"similarity_to_previous": {"color": "#E69F00", "marker": "^", "linestyle": "-"}}
LEGEND = {
    "label_share_max": "share of rows on which Full says its commonest label",
    "component_label_share_max": "the same of a head or MLP, their mean",
    "accuracy": "accuracy of Full",
    "centred_accuracy": "accuracy of Full less its label bias",
    "auc": "area under the ROC curve of Full",
    "similarity_to_previous": "cosine of the bias with that of the step before",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """A column per model, task and number of shots: one-sidedness, ranking, and whether the bias turns."""
    return column_pages(
        "label_bias",
        table.partition_by(PANEL, maintain_order=True),
        [("largest label share", _draw_shares), ("ranking", _draw_ranking), ("similarity", _draw_similarity)],
        lambda panel: panel_name(panel, table),
        legend=LEGEND,
        height=1.5,
    )


def _draw_shares(axes: Axes, panel: pl.DataFrame) -> None:
    for column, look in SHARES.items():
        plot_curve(axes, panel, look, column, y=column, sd=None)
    set_accuracy_axis(axes, panel)


def _draw_ranking(axes: Axes, panel: pl.DataFrame) -> None:
    for column, look in RANKING.items():
        plot_curve(axes, panel, look, column, y=column, sd=None)
    set_accuracy_axis(axes, panel)


def _draw_similarity(axes: Axes, panel: pl.DataFrame) -> None:
    for column, look in SIMILARITY.items():
        plot_curve(axes, panel, look, column, y=column, sd=f"{column}_sd", limits=(-1, 1))
    plot_chance(axes, 0.0)
    set_training_axis(axes, panel)
    axes.set_ylim(-1.05, 1.05)


def caption(table: pl.DataFrame) -> str:
    """The step with the largest difference between ranking and accuracy."""
    panels = []
    for panel in table.partition_by(PANEL, maintain_order=True):
        widest = panel.sort(pl.col("auc") - pl.col("accuracy"), descending=True, nulls_last=True).row(0, named=True)
        panels.append(
            f"{panel_name(panel, table)}: step {widest['step']}, area {format_number(widest['auc'])}, accuracy "
            f"{format_number(widest['accuracy'])}, {format_number(widest['label_share_max'])} of rows one label"
        )
    return (
        "The bias is each label's mean logit over the test rows. The area under the ROC curve and the accuracy less "
        "the bias do not depend on it; the accuracy does. The cosine tells whether a prompt's bias keeps its direction "
        f"from one checkpoint to the next; shaded ±1 SD over prompts. Furthest apart: {join_panels(panels)}."
    )


FIGURE = FigureSpec(
    analysis="label_bias",
    question="Does the label bias wander while the model learns to rank?",
    draw=draw,
    caption=caption,
    missing="No label means here: `pythia-emergence derive RESULTS` adds them.",
)
