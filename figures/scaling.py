"""The size axis: how far components lead in larger models, and at how many tokens each emerges."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

PANEL = ["dtype", "control", "task", "n_shots"]
CRITERION = "half"
LEADS = ("T1", "Held-out T1", "Cross-seed T1", "COMP RW")
ONSETS = ("Full", "Held-out T1", "COMP RW")
_LEGEND = {
    "T1": "T1: best component",
    "Held-out T1": "Held-out T1: chosen on other test rows",
    "Cross-seed T1": "Cross-seed T1: chosen under other demonstrations",
    "COMP RW": "COMP RW: components reweighted",
    "Full": "Full: the whole model",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per task and number of shots: lead over the full model above, onset in tokens below, against size."""
    half = table.filter(criterion=CRITERION)
    pages = style.pages("scaling", half.partition_by(PANEL, maintain_order=True), 4)
    return {name: _page(page) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame]) -> Figure:
    figure, grid = style.column_grid(2, len(panels), 2.0)
    for column, panel in zip(grid.T, panels, strict=True):
        for curve in LEADS:
            _curve(column[0], style.one_fit(panel.filter(curve=curve)), curve, "lead", ("lead_low", "lead_high"))
        tokens = ("onset_tokens_low", "onset_tokens_high")
        for curve in ONSETS:
            _curve(column[1], style.one_fit(panel.filter(curve=curve)), curve, "onset_tokens", tokens)
        style.chance_line(column[0], 0)
        column[1].set_yscale("log")
        _size_axis(column[1], panel)
        style.title(column[0], style.panel_title({**panel.row(0, named=True), "model": ""}, several_models=False))
    grid[0, 0].set_ylabel("lead over Full, doublings")
    grid[1, 0].set_ylabel("tokens until half way")
    style.x_label(figure, "parameters (log scale); bars: 95 % intervals")
    style.legend_above(figure, list(grid.flat), _LEGEND)
    return figure


def _curve(axes: Axes, rows: pl.DataFrame, curve: str, y: str, ends: tuple[str, str]) -> None:
    rows = rows.filter(pl.col(y).is_not_null()).sort("n_parameters")
    if rows.is_empty():
        return
    look = style.CURVES[curve]
    x, middle = np.log10(rows["n_parameters"].to_numpy()), rows[y].to_numpy()
    axes.plot(x, middle, label=curve, **look)
    low, high = (rows[end].fill_null(rows[y]).to_numpy() for end in ends)
    axes.vlines(x, low, high, color=look["color"], linewidth=0.9)


def _size_axis(axes: Axes, panel: pl.DataFrame) -> None:
    sizes = panel["n_parameters"].unique().sort().to_list()
    axes.set_xticks(np.log10(sizes), [_size(size) for size in sizes], rotation=45, fontsize=6.5)


def _size(n: int) -> str:
    """`160M`, `1.4B`."""
    return f"{n / 1e9:g}B" if n >= 10**9 else f"{n / 1e6:g}M"


def caption(table: pl.DataFrame) -> str:
    """Leads of held-out T1 in the smallest and in the largest model."""
    said = []
    for panel in table.filter(criterion=CRITERION, curve="Held-out T1").partition_by(PANEL, maintain_order=True):
        rows = panel.sort("n_parameters")
        smallest, largest = rows.row(0, named=True), rows.row(-1, named=True)
        ends = [f"{style.short(row['model'])} {wording.number(row['lead'])}" for row in (smallest, largest)]
        said.append(f"{panel['task'][0]}, {panel['n_shots'][0]}-shot: {wording.listing(ends)}")
    return (
        "Lead of components over the full model in doublings of training, and tokens seen until a curve is half way "
        "from chance to its last value, against the size in the model's name. Lead of held-out T1: "
        f"{wording.by_panel(said)}."
    )


FIGURE = FigureOf(
    analysis="scaling",
    question="Is the lead of components longer in larger models?",
    draw=draw,
    caption=caption,
    missing="Fewer than two model sizes here: sweep jobs/plans/pythia-scaling.toml.",
)
