"""How far trainings with other seeds lie apart: mean and range over seeds."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

PANEL = ["model", "varies", *style.PANEL[1:]]
ORDER = ("B1", "Held-out T1", "Full", "T1")
_LEGEND = {
    "T1": "T1: each training's best component",
    "Held-out T1": "Held-out T1: chosen on other test rows",
    "Full": "Full: the whole model",
    "B1": "B1: each training's worst component",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per model, what its seeds change, task and shots: mean over seeds, shaded from lowest to highest."""
    pages = style.pages("seed_spread", table.partition_by(PANEL, maintain_order=True), 9)
    return {name: _page(page) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame]) -> Figure:
    figure, grid = style.panel_grid(len(panels))
    for axes, panel in zip(grid, panels, strict=True):
        _panel(axes, panel)
        style.title(axes, title(panel), size=7.5)
    figure.supylabel("test accuracy, mean over prompts")
    style.x_label(figure, style.STEP_LABEL)
    style.legend_above(figure, grid, _LEGEND)
    return figure


def title(panel: pl.DataFrame) -> str:
    """`pythia-160m: sst2, 4-shot (10 seeds)`."""
    first = panel.row(0, named=True)
    return f"{style.panel_title(first, several_models=True)} ({panel['n_seeds'].max()} {first['varies']}s)"


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    for curve in ORDER:
        rows, look = panel.filter(curve=curve).sort("step"), style.CURVES[curve]
        style.curve(axes, rows, look, curve, y="mean", sd=None)
        after, zero = rows.filter(pl.col("step") > 0), rows.filter(pl.col("step") == 0)
        x = style.step_position(after["step"].to_numpy())
        low, high = after["low"].to_numpy(), after["high"].to_numpy()
        axes.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)
        x = style.step_position(zero["step"].to_numpy())
        axes.vlines(x, zero["low"].to_numpy(), zero["high"].to_numpy(), color=look["color"], linewidth=0.8)
    style.chance_line(axes, panel["chance"][0])
    style.time_axis(axes, panel)
    axes.set_ylim(-0.02, 1.02)


def caption(table: pl.DataFrame) -> str:
    """Where the full model's range over seeds is widest."""
    widest = []
    for panel in table.filter(curve="Full").partition_by(PANEL, maintain_order=True):
        row = panel.sort(pl.col("high") - pl.col("low"), descending=True).row(0, named=True)
        ends = f"{wording.number(row['low'])} to {wording.number(row['high'])}"
        widest.append(f"{title(panel)}: {ends} at step {style.format_step(row['step'])}")
    return (
        "Accuracy of the same model trained with other seeds: mean over seeds, shaded from the lowest to the highest. "
        f"The full model's range is widest at {wording.by_panel(widest)}."
    )


FIGURE = FigureOf(
    analysis="seed_spread",
    question="How far apart are trainings with other seeds?",
    draw=draw,
    caption=caption,
    missing="No model here has a second seed: sweep jobs/plans/polypythias-160m.toml.",
)
