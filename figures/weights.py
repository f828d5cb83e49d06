"""What does COMP RW use, and since when? Its weights over training."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

MEASURES = {"zero": "share of weights at 0", "change_cosine": "cosine to the final weights"}
K_LOOKS: list[dict[str, Any]] = [
    {"color": "#009E73", "marker": "^", "linestyle": "-"},
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#CC79A7", "marker": "s", "linestyle": "-"},
]
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"linestyle": (0, (3, 1.5)), "markerfacecolor": "white"},
    "official_code": {"linestyle": (0, (1, 1.2)), "markersize": 1.8},
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per panel: sparsity above, likeness to the final weights below, a curve per variant and K."""
    several = table["model"].n_unique() > 1
    numbers = table["n_labelled"].unique().sort().to_list()
    pages = style.pages("weights", table.partition_by(style.PANEL, maintain_order=True), 4)
    return {name: _page(page, numbers, several_models=several) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame], numbers: list[int], *, several_models: bool) -> Figure:
    figure, grid = style.column_grid(len(MEASURES), len(panels), 1.9)
    names: dict[str, str] = {}
    for column, panel in zip(grid.T, panels, strict=True):
        for axes, measure in zip(column, MEASURES, strict=True):
            names |= _panel(axes, panel, measure, numbers)
        style.title(column[0], style.panel_title(panel.row(0, named=True), several_models=several_models))
    for row, label in zip(grid, MEASURES.values(), strict=True):
        row[0].set_ylabel(label)
    style.x_label(figure, style.STEP_LABEL)
    style.legend_above(figure, list(grid.flat), dict(sorted(names.items())), columns=3)
    return figure


def _panel(axes: Axes, panel: pl.DataFrame, measure: str, numbers: list[int]) -> dict[str, str]:
    """Draw one measure; returns its legend."""
    legend = {}
    fits = panel.partition_by("variant", "n_labelled", as_dict=True)
    one = len(fits) == 1
    for (variant, k), rows in sorted(fits.items()):
        label = f"COMP RW, {str(variant).replace('_', ' ')}, K = {k}"
        legend[label] = label
        look = {**K_LOOKS[numbers.index(k) % len(K_LOOKS)], "linewidth": 1.1, "markersize": 2.8}
        look |= VARIANTS.get(str(variant), {})
        sd = f"{measure}_sd" if one else None
        rows = rows.filter(pl.col("step") != pl.col("final_step")) if measure == "change_cosine" else rows
        style.curve(axes, rows, look, label, y=measure, sd=sd, limits=(-1, 1))
    style.chance_line(axes, 0)
    style.time_axis(axes, panel)
    axes.set_ylim((-0.03, 1.03) if measure == "zero" else (-0.53, 1.03))
    return legend


def caption(table: pl.DataFrame) -> str:
    """Sparsity and share on heads at the last step."""
    ends = []
    for last in wording.at_last_step(table):
        row = last.sort("variant", "n_labelled").row(0, named=True)
        ends.append(
            f"{wording.name(last, table)}: {wording.number(row['zero'])} of {row['n_components']} weights at 0, "
            f"{wording.number(row['on_heads'])} of their size on heads ({row['variant']}, K = {row['n_labelled']})"
        )
    return (
        "Weights of COMP RW for every component. Above: the share that is 0. Below: cosine between what a fit changed "
        "(w − 1; all weights start at 1) and what it changed at the last step; means over prompts. At the last step: "
        f"{wording.by_panel(ends)}."
    )


FIGURE = FigureOf(
    analysis="weights",
    question="Which components does reweighting use, and since when?",
    draw=draw,
    caption=caption,
    missing="No weights were fitted: give the plan a [fits] table.",
)
