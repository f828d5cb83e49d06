"""Which heads and MLPs solve a task, and from when: one row per component, one column per checkpoint."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from figures.captions import at_last_step, format_number, join_panels, panel_name
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import PANEL
from figures.training_axis import flagged_and_missing, format_step

COLOURS, SPAN = "RdBu_r", Normalize(-1, 1)
DOT_BELOW = -0.1
"""Cells below it get a dot, on the way from chance (0) to always wrong (-1): in grey, red and blue look alike."""
MAX_ROWS, MAX_STEPS = 40, 26
"""Most components, and most steps, that are each labelled; beyond, layers and every few steps are."""


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """Accuracy above and below chance, white at chance; heads and MLPs only, layers from the bottom up."""
    candidates = table.filter(pl.col("kind").is_in(["head", "mlp"]))
    panels = candidates.partition_by(PANEL, maintain_order=True)
    n_rows = [panel["component"].n_unique() for panel in panels]
    dots = "; dots: well below chance" if min(n_rows) <= MAX_ROWS else ""
    pictures = panel_pages(
        "component_heatmap",
        panels,
        _panel,
        lambda panel: panel_name(panel, table),
        legend={},
        x_label=f"training step (one column a checkpoint, not to scale; hatched: left out{dots})",
        per_page=6,
        max_columns=2,
        height=max(1.8, 0.6 + 0.115 * max(n_rows) if max(n_rows) <= MAX_ROWS else 4.6),
        sharey=False,
    )
    for figure in pictures.values():
        bar = figure.colorbar(ScalarMappable(SPAN, COLOURS), ax=figure.axes, shrink=0.9, aspect=30, pad=0.01)
        bar.set_ticks([-1, 0, 1], labels=["always\nwrong", "chance", "always\nright"])
    return pictures


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    order = panel.select("layer", "kind", "head", "component").unique().sort("layer", "kind", "head")
    missing = flagged_and_missing(panel)
    steps = sorted({*panel["step"], *missing})
    wide = panel.pivot("step", index="component", values="accuracy")
    wide = wide.with_columns(pl.lit(None, pl.Float64).alias(str(step)) for step in missing)
    values = order.join(wide, on="component", how="left", maintain_order="left").select(map(str, steps))
    above_chance = (values.to_numpy().astype(float) - panel["chance"][0]) / (1 - panel["chance"][0])
    axes.imshow(above_chance, aspect="auto", origin="lower", cmap=COLOURS, norm=SPAN, interpolation="nearest")
    if len(order) <= MAX_ROWS:
        rows, columns = np.nonzero(above_chance < DOT_BELOW)
        axes.scatter(columns, rows, s=2.5, color="black", linewidths=0)
    for step in missing:
        left = steps.index(step) - 0.5
        axes.axvspan(left, left + 1, fill=False, hatch="//////", edgecolor="0.6", lw=0)
    _label_rows(axes, order)
    labelled = range(0, len(steps), -(-len(steps) // MAX_STEPS))
    axes.set_xticks(list(labelled), [format_step(steps[i]) for i in labelled], rotation=90, fontsize=5.5)


def _label_rows(axes: Axes, order: pl.DataFrame) -> None:
    """Every component by name, or every layer at its first head where there are too many."""
    if len(order) <= MAX_ROWS:
        axes.set_yticks(range(len(order)), order["component"].to_list(), fontsize=5.5)
        return
    first_rows = order.with_row_index().group_by("layer").agg(pl.col("index").min()).sort("layer")
    labelled = first_rows.gather_every(-(-len(first_rows) // 16))
    axes.set_yticks(labelled["index"].to_numpy() - 0.5, [f"L{layer}" for layer in labelled["layer"]], fontsize=6)


def caption(table: pl.DataFrame) -> str:
    """The best component of every panel at its last step."""
    best = []
    for last in at_last_step(table.filter(pl.col("kind").is_in(["head", "mlp"]))):
        top = last.sort("accuracy", descending=True).row(0, named=True)
        best.append(f"{panel_name(last, table)}: {top['component']} ({format_number(top['accuracy'])})")
    return (
        "Accuracy of every head and MLP as a classifier of its own, mean over prompts: red above chance, blue below. "
        f"Best on average at the last step: {join_panels(best)}."
    )


FIGURE = FigureSpec(
    analysis="component_heatmap",
    question="Which components solve a task, and from when?",
    draw=draw,
    caption=caption,
)
