"""How many components are good, bad or label-biased, over training."""

import polars as pl
from matplotlib.figure import Figure

from figures import FigureOf, style, wording


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots: share of heads and MLPs of each kind, mean over prompts +-1 SD."""
    several = table["model"].n_unique() > 1
    pages = style.pages("component_kinds", table.partition_by(style.PANEL, maintain_order=True), 9)
    return {name: _page(page, several_models=several) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    figure, grid = style.panel_grid(len(panels))
    for axes, panel in zip(grid, panels, strict=True):
        for kind, look in style.KINDS.items():
            style.curve(axes, panel.filter(kind=kind), look, kind, y="share", sd="share_sd", limits=(0, 1))
        style.time_axis(axes, panel)
        axes.set_ylim(-0.02, 1.02)
        first = panel.row(0, named=True)
        title = style.panel_title(first, several_models=several_models)
        style.title(axes, f"{title} ({wording.prompts(first['n_prompts'])})")
    figure.supylabel("share of heads and MLPs")
    style.x_label(figure, style.STEP_LABEL)
    style.legend_above(figure, grid, _legend(panels[0]["level"][0]))
    return figure


def _legend(level: float) -> dict[str, str]:
    return {
        "good": f"good: above the best by luck (family-wise level {level:g})",
        "bad": f"bad: below the worst by luck (family-wise level {level:g})",
        "label_biased": "label-biased: one label on all test rows",
        "nearly_label_biased": "the same on 95 % of them or more",
    }


def caption(table: pl.DataFrame) -> str:
    """The shares at the last step."""
    ends = []
    for last in wording.at_last_step(table):
        share = {row["kind"]: wording.number(row["share"]) for row in last.iter_rows(named=True)}
        ends.append(f"{wording.name(last, table)}: {share['good']} good, {share['label_biased']} label-biased")
    return f"Shares of heads and MLPs, means over prompts, shaded ±1 SD. At the last step: {wording.by_panel(ends)}."


FIGURE = FigureOf(
    analysis="component_kinds",
    question="How many components are good, bad or label-biased?",
    draw=draw,
    caption=caption,
)
