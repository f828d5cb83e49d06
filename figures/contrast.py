"""A small change of wording: the full model and the best components under a template and under its partner."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.reading.task_facts import CONTRAST
from figures.captions import at_last_step, format_number, join_panels, join_words, panel_name
from figures.layout import column_pages, set_title
from figures.spec import FigureSpec
from figures.style import CURVES, PANEL
from figures.training_axis import plot_curve, set_accuracy_axis

_LEGEND = {
    "T1": "T1: best under the upper template",
    "top-5": "top-5: mean of the five best there",
    "Full": "Full: the whole model",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per task and number of shots: above under the template that chose, below under the other one.

    A task without a contrastive pair shows its first pair of templates, and its title says so.
    """

    def title(panel: pl.DataFrame) -> str:
        row = panel.row(0, named=True)
        pair = "" if row["contrastive"] else "\n(no contrastive pair)"
        return f"{panel_name(panel, table)}{pair}\nunder “{row['template']}”"

    return column_pages(
        "contrast",
        [_one_pair(panel) for panel in table.partition_by(PANEL, maintain_order=True)],
        [("", _draw_template), ("", _draw_partner)],
        title,
        legend=_LEGEND,
        y_label="test accuracy",
        height=2.0,
        title_size=7.5,
    )


def _one_pair(panel: pl.DataFrame) -> pl.DataFrame:
    contrastive = panel.filter(pl.col("contrastive") & (pl.col("partner") == CONTRAST))
    first = (contrastive if len(contrastive) else panel).sort("template", "partner").row(0, named=True)
    return panel.filter(template=first["template"], partner=first["partner"])


def _draw_template(axes: Axes, panel: pl.DataFrame) -> None:
    for curve in ("top-5", "T1", "Full"):
        plot_curve(axes, panel.filter(curve=curve), CURVES[curve], curve, y="accuracy", sd="sd")
    set_accuracy_axis(axes, panel)


def _draw_partner(axes: Axes, panel: pl.DataFrame) -> None:
    _draw_template(
        axes, panel.select(pl.exclude("accuracy", "sd")).rename({"partner_accuracy": "accuracy", "partner_sd": "sd"})
    )
    set_title(axes, f"the same under “{panel['partner'][0]}”", size=7.5)


def caption(table: pl.DataFrame) -> str:
    """The accuracies under both wordings at the last step."""
    ends = []
    for last in at_last_step(table):
        rows = _one_pair(last).rows_by_key("curve", named=True, unique=True)
        curves = [
            f"{curve} {format_number(row['accuracy'])} → {format_number(row['partner_accuracy'])}"
            for curve, row in rows.items()
        ]
        ends.append(f"{panel_name(last, table)}: {join_words(curves)}")
    return (
        "Components chosen under one wording (above), scored under another (below), beside the full model; means over "
        f"demonstration seeds, shaded ±1 SD. At the last step: {join_panels(ends)}."
    )


FIGURE = FigureSpec(
    analysis="contrast",
    question="Does a small change of wording upset components as much as the model?",
    draw=draw,
    caption=caption,
    missing="No task here has two templates with the same seed: sweep more templates.",
)
