"""What the full model loses without its best, worst and random components, over training."""

from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import format_number, join_panels, panel_name
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import PANEL, Look
from figures.training_axis import plot_curve, set_training_axis, step_position

SETS: dict[str, Look] = {
    "random": {"color": "#7F7F7F", "marker": "o", "linestyle": (0, (1, 1.2))},
    "bottom": {"color": "#0072B2", "marker": "v", "linestyle": (0, (4, 1.5))},
    "top": {"color": "#D55E00", "marker": "^", "linestyle": "-"},
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """A column per model, task and shots: accuracy lost as it is, and less the label bias; shaded 95 % over seeds."""
    panels = table.partition_by([*PANEL, "replacement", "k"], maintain_order=True)
    rows = [("accuracy lost", partial(_lost, name="lost")), ("less label bias", partial(_lost, name="centred_lost"))]
    k = table["k"].max()
    legend = {
        "top": f"without the best {k}, chosen on training rows",
        "bottom": f"without the worst {k}",
        "random": f"without a random {k} of the others",
    }
    return column_pages("ablations", panels, rows, lambda panel: panel_name(panel, table), legend=legend, sharey="all")


def _lost(axes: Axes, panel: pl.DataFrame, *, name: str) -> None:
    for selection, look in SETS.items():
        rows = panel.filter(selection=selection).sort("step")
        plot_curve(axes, rows, look, selection, y=name, sd=None, limits=(-1, 1))
        shaded = rows.filter(pl.col("step") > 0, pl.col(f"{name}_low").is_not_null())
        x = step_position(shaded["step"].to_numpy())
        low, high = (shaded[f"{name}_{end}"].to_numpy() for end in ("low", "high"))
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.axhline(0, color="0.3", linewidth=0.8)
    set_training_axis(axes, panel)


def caption(table: pl.DataFrame) -> str:
    """The largest loss, and what of it is label bias."""
    panels = []
    for panel in table.filter(selection="top").partition_by(PANEL, maintain_order=True):
        row = panel.sort("lost", descending=True).row(0, named=True)
        panels.append(
            f"{panel_name(panel, table)}: most is lost at step {row['step']}, {format_number(row['lost'])} as it is "
            f"and {format_number(row['centred_lost'])} less label bias"
        )
    replacement = "their means over the unit's rows" if table["replacement"][0] == "mean" else "zero"
    return (
        f"Outputs of components at the last token are replaced by {replacement}, and later layers computed anew; "
        "accuracy of the full model before less after, shaded 95 % over demonstration seeds. Where something is lost "
        f"as it is and nothing less label bias, the components moved the bias. {join_panels(panels)}."
    )


FIGURE = FigureSpec(
    analysis="ablations",
    question="What does the full model lose without its best components?",
    draw=draw,
    caption=caption,
    missing='No ablations here: plan key `mechanisms = ["ablation"]` makes them.',
)
