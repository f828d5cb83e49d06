"""A small change of wording: the full model and the best components under a template and under its partner."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pairs import CONTRAST
from figures import FigureOf, style

ROWS = {"accuracy": "sd", "partner_accuracy": "partner_sd"}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per task and number of shots: above under the template that chose, below under the other one.

    A task without a contrastive pair shows its first pair of templates, and says so.
    """
    if table.is_empty():
        return {"contrast": style.notice("No task here has two templates with the same seed: sweep more templates.")}
    panels = [_one_pair(panel) for panel in table.partition_by(style.PANEL, maintain_order=True)]
    several = table["model"].n_unique() > 1
    pages = style.pages("contrast", panels, 4)
    return {name: _page(page, several_models=several) for name, page in pages.items()}


def _one_pair(panel: pl.DataFrame) -> pl.DataFrame:
    pairs = panel.filter(pl.col("contrastive") & (pl.col("partner") == CONTRAST))
    first = (pairs if len(pairs) else panel).sort("template", "partner").row(0, named=True)
    return panel.filter(template=first["template"], partner=first["partner"])


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    figure = Figure(figsize=(style.TWO_COLUMNS if len(panels) > 1 else style.ONE_COLUMN, 4.4))
    grid = figure.subplots(2, len(panels), squeeze=False, sharey=True, sharex="col")
    for column, panel in zip(grid.T, panels, strict=True):
        first = panel.row(0, named=True)
        for axes, (accuracy, sd) in zip(column, ROWS.items(), strict=True):
            _panel(axes, panel, accuracy, sd)
        pair = "" if first["contrastive"] else "\n(no contrastive pair)"
        title = style.panel_title(first, several_models=several_models)
        column[0].set_title(f"{title}{pair}\nunder “{first['template']}”", loc="left", fontsize=7.5)
        column[1].set_title(f"the same under “{first['partner']}”", loc="left", fontsize=7.5)
    figure.supylabel("test accuracy")
    figure.supxlabel("training step (log scale; 0 apart)")
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
    style.step_axis(axes, panel["step"].to_list())
    axes.tick_params(axis="x", labelsize=6)
    axes.set_ylim(-0.02, 1.02)


FIGURE = FigureOf(analysis="contrast", draw=draw)
