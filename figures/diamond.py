"""Good, bad and label-biased components as a picture (paper, Figure 1), as small multiples over training."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from figures.captions import panel_name
from figures.layout import pages, wrap_to
from figures.spec import FigureSpec
from figures.style import PANEL, TWO_COLUMNS
from figures.training_axis import format_step, plot_chance

MAX_STEPS = 7
COLOURS, SPAN = "cividis_r", Normalize(0.25, 1)
MARKERS = {"head": ("o", 9.0), "mlp": ("s", 15.0)}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One row per task and number of shots, one column per step; at most `MAX_STEPS` steps, evenly spaced.

    A dot is a head, a square an MLP, each a mean over prompts; the grey outline is what balanced rows allow.
    """
    steps = spread(table["step"].unique().sort().to_list())
    panels = {panel_name(panel, table): panel for panel in table.partition_by(PANEL, maintain_order=True)}
    by_page = pages("diamond", list(panels.items()), 6)
    return {name: _page(dict(page), steps) for name, page in by_page.items()}


def _page(panels: dict[str, pl.DataFrame], shown: list[int]) -> Figure:
    figure = Figure(figsize=(min(TWO_COLUMNS, 1.6 + 1.05 * len(shown)), 0.5 + 1.25 * len(panels)))
    grid = figure.subplots(len(panels), len(shown), squeeze=False, sharey=True, sharex="row")
    for row, (name, panel) in zip(grid, panels.items(), strict=True):
        n_labels = panel["n_labels"][0]
        for axes, step in zip(row, shown, strict=True):
            _panel(axes, panel.filter(step=step), n_labels)
            axes.set_title(f"step {format_step(step)}", loc="left", fontsize=7)
        row[0].annotate(name, (0, 1), (0, 18), "axes fraction", "offset points", fontsize=8, annotation_clip=False)
        share = "share answered with label 1" if n_labels == 2 else "share of the label answered most"
        row[len(row) // 2].set_xlabel(share, fontsize=7)
    figure.supylabel("test accuracy")
    bar = figure.colorbar(ScalarMappable(SPAN, COLOURS), ax=grid, shrink=0.8, aspect=30, pad=0.01)
    what = "share of each prompt's most frequent answer (1: label-biased)"
    bar.set_label(wrap_to(what, figure.get_figheight()))
    return figure


def spread(steps: list[int], max_steps: int = MAX_STEPS) -> list[int]:
    """The first and the last step and others evenly between them, at most `max_steps` in all."""
    indices = np.unique(np.linspace(0, len(steps) - 1, min(max_steps, len(steps))).round().astype(int))
    return [steps[i] for i in indices]


def _panel(axes: Axes, rows: pl.DataFrame, n_labels: int) -> None:
    _outline(axes, n_labels)
    column = "share" if n_labels == 2 else "top_share"
    for kind, (marker, size) in MARKERS.items():
        dots = rows.filter(kind=kind, label=1)
        axes.scatter(
            dots[column].to_numpy(),
            dots["accuracy"].to_numpy(),
            size,
            dots["top_share"].to_numpy(),
            marker=marker,
            cmap=COLOURS,
            norm=SPAN,
            linewidths=0.3,
            edgecolors="0.2",
        )
    plot_chance(axes, 1 / n_labels)
    low = 0 if n_labels == 2 else 1 / n_labels
    axes.set_xticks([low, 1], ["0" if n_labels == 2 else f"1/{n_labels}", "1"])
    axes.set_yticks([0, 0.5, 1])


def _outline(axes: Axes, n_labels: int) -> None:
    """What balanced test rows allow: a diamond for two labels, the right half of one for more."""
    k = n_labels
    if k == 2:
        x, y = [0, 0.5, 1, 0.5, 0], [0.5, 1, 0.5, 0, 0.5]
    else:
        x, y = [1 / k, 1 / k, 1, 1 - 1 / k, 1 / k], [0, 1, 1 / k, 0, 0]
    axes.plot(x, y, color="0.6", linewidth=0.7, zorder=0)


def caption(table: pl.DataFrame) -> str:
    """The axes, and how many steps are shown."""
    steps = table["step"].unique().sort().to_list()
    shown = f" {len(spread(steps))} of {len(steps)} steps are shown." if len(steps) > MAX_STEPS else ""
    return (
        "Every component (dot: head, square: MLP) by its answers and its accuracy, means over prompts: "
        "good components at the top, bad ones at the bottom, label-biased ones in the corners at chance; the outline "
        f"is what balanced test rows allow.{shown}"
    )


FIGURE = FigureSpec(
    analysis="diamond",
    question="Are components right, wrong, or do they always give the same answer?",
    draw=draw,
    caption=caption,
)
