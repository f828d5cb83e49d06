"""Since when have the final top components been on top?"""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import count_prompts, format_number, join_panels, panel_name
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import PANEL
from figures.training_axis import format_step, plot_curve, set_training_axis

LOOKS = {
    "present": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "survived": {"color": "#D55E00", "marker": "s", "linestyle": "-"},
}
_ACROSS_LOOK = {"color": "#56B4E9", "linewidth": 0.9, "linestyle": (0, (3, 1.5))}
_CEILING_LOOK = {"color": "0.25", "linewidth": 0.8, "linestyle": (0, (1, 1.2))}
_CHANCE_LOOK = {"color": "0.45", "linewidth": 0.8, "linestyle": (0, (5, 3))}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots: share of the final top that is on top, and has been there ever since."""
    top = table["top"][0]
    return panel_pages(
        "survival",
        table.partition_by(PANEL, maintain_order=True),
        _panel,
        lambda panel: f"{panel_name(panel, table)} ({count_prompts(panel)})",
        legend={
            "present": f"among the top {top} at this step",
            "survived": "at this step and at every later one",
            "across": "at this step, final top and top chosen on different halves of the test rows",
            "ceiling": "the same at the last step: what noise leaves",
            "chance": "by chance: any components",
        },
        y_label=f"share of the final top {top}",
        legend_columns=2,
    )


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    for share, look in LOOKS.items():
        plot_curve(axes, panel, look, share, y=share, sd=f"{share}_sd")
    plot_curve(axes, panel, _CHANCE_LOOK, "chance", y="by_luck", sd=None)
    plot_curve(axes, panel, _ACROSS_LOOK, "across", y="across_halves", sd=None)
    plot_curve(axes, panel, _CEILING_LOOK, "ceiling", y="ceiling", sd=None)
    set_training_axis(axes, panel)
    axes.set_ylim(-0.02, 1.02)


def caption(table: pl.DataFrame) -> str:
    """The step from which on half of the final top has stayed."""
    since = []
    for panel in table.partition_by(PANEL, maintain_order=True):
        half = panel.filter(pl.col("survived") >= 0.5).sort("step").row(0, named=True)
        ceiling = f"noise leaves {format_number(half['ceiling'])}"
        since.append(f"{panel_name(panel, table)}: step {format_step(half['step'])} ({ceiling})")
    return (
        "The components that are best at the last step, followed backwards; means over prompts, shaded ±1 SD. "
        f"Half of them have stayed on top from {join_panels(since)}. What noise leaves is the overlap of the final top "
        "on one half of the test rows with that on the other."
    )


FIGURE = FigureSpec(
    analysis="survival",
    question="Since when have the final best components been best?",
    draw=draw,
    caption=caption,
)
