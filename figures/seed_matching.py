"""Does a component have a counterpart in a training with another seed?"""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording
from figures.seed_spread import PANEL, title

KAPPAS: dict[str, dict[str, Any]] = {
    "kappa_matched": {"color": "#009E73", "marker": "^", "linestyle": "-"},
    "kappa_same_place": {"color": "#CC79A7", "marker": "s", "linestyle": (0, (4, 1.5))},
    "kappa_any": {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
}
ACCURACIES: dict[str, dict[str, Any]] = {
    "best": {"color": "#D55E00", "marker": "o", "linestyle": "-"},
    "counterpart": KAPPAS["kappa_matched"],
    "same_place": KAPPAS["kappa_same_place"],
}
_LEGEND = {
    "best": "the best component of one seed",
    "kappa_matched": "matched by what components do",
    "kappa_same_place": "the same layer and head",
    "kappa_any": "any two components",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per panel: agreement (kappa) of paired components above; accuracy of the best and its pair below."""
    pages = style.pages("seed_matching", table.partition_by(PANEL, maintain_order=True), 4)
    return {name: _page(page) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame]) -> Figure:
    figure, grid = style.column_grid(2, len(panels), 1.9)
    for column, panel in zip(grid.T, panels, strict=True):
        _panel(column[0], panel, KAPPAS)
        _panel(column[1], panel, ACCURACIES)
        style.chance_line(column[1], panel["chance"][0])
        style.title(column[0], title(panel), size=7.5)
    grid[0, 0].set_ylabel("agreement (kappa)")
    grid[1, 0].set_ylabel("test accuracy")
    style.x_label(figure, style.STEP_LABEL)
    style.legend_above(figure, list(grid.flat), _LEGEND)
    return figure


def _panel(axes: Axes, panel: pl.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    for measure, look in looks.items():
        style.curve(axes, panel, look, measure, y=measure, sd=f"{measure}_sd")
    style.time_axis(axes, panel)
    axes.set_ylim(-0.12, 1.02)


def caption(table: pl.DataFrame) -> str:
    """At the last step: the best component, its counterpart, and the component at its place."""
    ends = []
    for panel in table.partition_by(PANEL, maintain_order=True):
        row = panel.sort("step").row(-1, named=True)
        best, counterpart, place = (wording.number(row[name]) for name in ("best", "counterpart", "same_place"))
        ends.append(f"{title(panel)}: {best}, {counterpart} and {place}")
    return (
        "Components of two trainings are matched one to one by their answers on half of the test rows; all that is "
        "drawn is from the other half; means over pairs of seeds, shaded ±1 SD. Accuracy at the last step of a "
        "training's best component, of its counterpart in another, and of the component at the same place: "
        f"{wording.by_panel(ends)}."
    )


FIGURE = FigureOf(
    analysis="seed_matching",
    question="Does a component have a counterpart under another seed, and is it at the same place?",
    draw=draw,
    caption=caption,
    missing="No model here has a second seed: sweep jobs/plans/polypythias-160m.toml.",
)
