"""How many components are good, bad or label-biased, over training."""

import polars as pl
from matplotlib.figure import Figure

from figures import FigureOf, style


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots: share of heads and MLPs of each kind, mean over prompts +-1 SD."""
    panels = table.partition_by(style.PANEL, maintain_order=True)
    figure, grid = style.panel_grid(len(panels))
    for axes, panel in zip(grid, panels, strict=True):
        for kind, look in style.KINDS.items():
            style.curve(axes, panel.filter(kind=kind), look, kind, y="share", sd="share_sd", limits=(0, 1))
        style.step_axis(axes, panel["step"].to_list())
        axes.set_ylim(-0.02, 1.02)
        first = panel.row(0, named=True)
        title = style.panel_title(first, several_models=table["model"].n_unique() > 1)
        axes.set_title(f"{title} ({first['n_prompts']} prompts)", loc="left")
    figure.supylabel("share of heads and MLPs")
    figure.supxlabel("training step (log scale; 0 apart)")
    style.legend_above(figure, grid, _legend(table["level"][0]))
    return {"component_kinds": figure}


def _legend(level: float) -> dict[str, str]:
    return {
        "good": f"good: above the best by luck (family-wise level {level:g})",
        "bad": f"bad: below the worst by luck (family-wise level {level:g})",
        "label_biased": "label-biased: one label on all test rows",
        "nearly_label_biased": "the same on 95 % of them or more",
    }


FIGURE = FigureOf(analysis="component_kinds", draw=draw)
