"""Which heads and MLPs solve a task, and from when: one row per component, one column per checkpoint."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

COLOURS, SPAN = "RdBu_r", Normalize(-1, 1)
WRONG = -0.1
"""Cells below it get a dot, on the way from chance (0) to always wrong (-1): in grey, red and blue look alike."""
MOST_ROWS, MOST_STEPS = 40, 26
"""Components and steps that get a label of their own; of more, layers and every few steps do."""


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """Accuracy above and below chance, white at chance; heads and MLPs only, layers from the bottom up."""
    candidates = table.filter(pl.col("kind").is_in(["head", "mlp"]))
    several = table["model"].n_unique() > 1
    pages = style.pages("component_heatmap", candidates.partition_by(style.PANEL, maintain_order=True), 6)
    return {name: _page(page, several_models=several) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    n_rows = max(panel["component"].n_unique() for panel in panels)
    height = 0.6 + 0.115 * n_rows if n_rows <= MOST_ROWS else 4.6
    figure, grid = style.panel_grid(len(panels), height=max(1.8, height), sharey=False, most_columns=2)
    for axes, panel in zip(grid, panels, strict=True):
        _panel(axes, panel)
        style.title(axes, style.panel_title(panel.row(0, named=True), several_models=several_models))
    bar = figure.colorbar(ScalarMappable(SPAN, COLOURS), ax=grid, shrink=0.9, aspect=30, pad=0.01)
    bar.set_ticks([-1, 0, 1], labels=["always\nwrong", "chance", "always\nright"])
    dots = "; dots: well below chance" if any(panel["component"].n_unique() <= MOST_ROWS for panel in panels) else ""
    style.x_label(figure, f"training step (one column a checkpoint, not to scale; hatched: left out{dots})")
    return figure


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    order = panel.select("layer", "kind", "head", "component").unique().sort("layer", "kind", "head")
    absent = style.left_out(panel)
    steps = sorted({*panel["step"], *absent})
    wide = panel.pivot("step", index="component", values="accuracy")
    wide = wide.with_columns(pl.lit(None, pl.Float64).alias(str(step)) for step in absent)
    values = order.join(wide, on="component", how="left", maintain_order="left").select(map(str, steps))
    above = (values.to_numpy().astype(float) - panel["chance"][0]) / (1 - panel["chance"][0])
    axes.imshow(above, aspect="auto", origin="lower", cmap=COLOURS, norm=SPAN, interpolation="nearest")
    if len(order) <= MOST_ROWS:
        rows, columns = np.nonzero(above < WRONG)
        axes.scatter(columns, rows, s=2.5, color="black", linewidths=0)
    for step in absent:
        axes.axvspan(
            steps.index(step) - 0.5, steps.index(step) + 0.5, fill=False, hatch="//////", edgecolor="0.6", lw=0
        )
    _label_rows(axes, order)
    every = -(-len(steps) // MOST_STEPS)
    shown = range(0, len(steps), every)
    axes.set_xticks(list(shown), [style.format_step(steps[i]) for i in shown], rotation=90, fontsize=5.5)


def _label_rows(axes: Axes, order: pl.DataFrame) -> None:
    """Every component by name, or every layer at its first head where there are too many."""
    if len(order) <= MOST_ROWS:
        axes.set_yticks(range(len(order)), order["component"].to_list(), fontsize=5.5)
        return
    first = order.with_row_index().group_by("layer").agg(pl.col("index").min()).sort("layer")
    every = -(-len(first) // 16)
    kept = first.gather_every(every)
    axes.set_yticks(kept["index"].to_numpy() - 0.5, [f"L{layer}" for layer in kept["layer"]], fontsize=6)


def caption(table: pl.DataFrame) -> str:
    """The best component of every panel at its last step."""
    best = []
    for last in wording.at_last_step(table.filter(pl.col("kind").is_in(["head", "mlp"]))):
        top = last.sort("accuracy", descending=True).row(0, named=True)
        best.append(f"{wording.name(last, table)}: {top['component']} ({wording.number(top['accuracy'])})")
    return (
        "Accuracy of every head and MLP as a classifier of its own, mean over prompts: red above chance, blue below. "
        f"Best on average at the last step: {wording.by_panel(best)}."
    )


FIGURE = FigureOf(
    analysis="component_heatmap",
    question="Which components solve a task, and from when?",
    draw=draw,
    caption=caption,
)
