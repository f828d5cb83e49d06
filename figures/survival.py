"""Since when have the final top components been on top?"""

import polars as pl
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

LOOKS = {
    "present": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "survived": {"color": "#D55E00", "marker": "s", "linestyle": "-"},
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots: share of the final top that is on top, and has been there ever since."""
    several = table["model"].n_unique() > 1
    pages = style.pages("survival", table.partition_by(style.PANEL, maintain_order=True), 9)
    return {name: _page(page, several_models=several) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    figure, grid = style.panel_grid(len(panels))
    for axes, panel in zip(grid, panels, strict=True):
        for share, look in LOOKS.items():
            style.curve(axes, panel, look, share, y=share, sd=f"{share}_sd", limits=(0, 1))
        style.curve(
            axes, panel, {"color": "0.45", "linewidth": 0.8, "linestyle": (0, (5, 3))}, "luck", y="by_luck", sd=None
        )
        style.time_axis(axes, panel)
        axes.set_ylim(-0.02, 1.02)
        first = panel.row(0, named=True)
        title = style.panel_title(first, several_models=several_models)
        style.title(axes, f"{title} ({wording.prompts(first['n_prompts'])})")
    top = panels[0]["top"][0]
    figure.supylabel(f"share of the final top {top}")
    style.x_label(figure, style.STEP_LABEL)
    names = {
        "present": f"among the top {top} at this step",
        "survived": "at this step and at every later one",
        "luck": "by luck: any components",
    }
    style.legend_above(figure, grid, names, columns=3)
    return figure


def caption(table: pl.DataFrame) -> str:
    """From when on half of the final top has stayed."""
    since = []
    for panel in table.partition_by(style.PANEL, maintain_order=True):
        half = panel.filter(pl.col("survived") >= 0.5).sort("step").row(0, named=True)
        since.append(f"{wording.name(panel, table)}: step {style.format_step(half['step'])}")
    return (
        "The components that are best at the last step, followed backwards; means over prompts, shaded ±1 SD. "
        f"Half of them have stayed on top from {wording.by_panel(since)}."
    )


FIGURE = FigureOf(
    analysis="survival",
    question="Since when have the final best components been best?",
    draw=draw,
    caption=caption,
)
