"""A small change of wording: the full model and the best components under a template and under its partner."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.reading.task_facts import CONTRAST
from figures import FigureOf, style, wording

ROWS = {"accuracy": "sd", "partner_accuracy": "partner_sd"}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per task and number of shots: above under the template that chose, below under the other one.

    A task without a contrastive pair shows its first pair of templates, and says so.
    """
    panels = [_one_pair(panel) for panel in table.partition_by(style.PANEL, maintain_order=True)]
    several = table["model"].n_unique() > 1
    pages = style.pages("contrast", panels, 4)
    return {name: _page(page, several_models=several) for name, page in pages.items()}


def _one_pair(panel: pl.DataFrame) -> pl.DataFrame:
    pairs = panel.filter(pl.col("contrastive") & (pl.col("partner") == CONTRAST))
    first = (pairs if len(pairs) else panel).sort("template", "partner").row(0, named=True)
    return panel.filter(template=first["template"], partner=first["partner"])


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    figure, grid = style.column_grid(len(ROWS), len(panels), 2.0)
    for column, panel in zip(grid.T, panels, strict=True):
        first = panel.row(0, named=True)
        for axes, (accuracy, sd) in zip(column, ROWS.items(), strict=True):
            _panel(axes, panel, accuracy, sd)
        pair = "" if first["contrastive"] else "\n(no contrastive pair)"
        title = style.panel_title(first, several_models=several_models)
        style.title(column[0], f"{title}{pair}\nunder “{first['template']}”", size=7.5)
        style.title(column[1], f"the same under “{first['partner']}”", size=7.5)
    figure.supylabel("test accuracy")
    style.x_label(figure, style.STEP_LABEL)
    names = {
        "T1": "T1: best under the upper template",
        "top-5": "top-5: mean of the five best there",
        "Full": "Full: the whole model",
    }
    style.legend_above(figure, list(grid.flat), names)
    return figure


def _panel(axes: Axes, panel: pl.DataFrame, accuracy: str, sd: str) -> None:
    for curve in ("top-5", "T1", "Full"):
        style.curve(axes, panel.filter(curve=curve), style.CURVES[curve], curve, y=accuracy, sd=sd, limits=(0, 1))
    style.time_axis(axes, panel)
    axes.set_ylim(-0.02, 1.02)


def caption(table: pl.DataFrame) -> str:
    """What the other wording costs at the last step."""
    ends = []
    for last in wording.at_last_step(table):
        rows = _one_pair(last).rows_by_key("curve", named=True, unique=True)
        said = [
            f"{c} {wording.number(r['accuracy'])} → {wording.number(r['partner_accuracy'])}" for c, r in rows.items()
        ]
        ends.append(f"{wording.name(last, table)}: {wording.listing(said)}")
    return (
        "Components chosen under one wording (above), scored under another (below), beside the full model; means over "
        f"demonstration seeds, shaded ±1 SD. At the last step: {wording.by_panel(ends)}."
    )


FIGURE = FigureOf(
    analysis="contrast",
    question="Does a small change of wording upset components as much as the model?",
    draw=draw,
    caption=caption,
    missing="No task here has two templates with the same seed: sweep more templates.",
)
