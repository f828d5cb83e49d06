"""Training dynamics: best component, full model and worst component over training, with the null band of the best."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style

ORDER = ("B1", "Last-T1", "Full", "T1")


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots: mean over prompts, shaded +-1 SD; grey: null of T1 up to its 99 %."""
    panels = table.partition_by(style.PANEL, maintain_order=True)
    figure, grid = style.panel_grid(len(panels))
    for axes, panel in zip(grid, panels, strict=True):
        _panel(axes, panel, several_models=table["model"].n_unique() > 1)
    figure.supylabel("test accuracy")
    figure.supxlabel("training step (log scale; 0 apart)")
    handles, labels = grid[0].get_legend_handles_labels()
    labels = list(map(str, labels))
    order = sorted(range(len(labels)), key=lambda i: list(_LEGEND).index(labels[i]))
    figure.legend(
        [handles[i] for i in order],
        [_LEGEND[labels[i]] for i in order],
        loc="outside upper center",
        ncols=2,
    )
    return {"emergence": figure}


_LEGEND = {
    "T1": "T1: best component, chosen on these test rows",
    "Last-T1": "Last-T1: the final step's best, traced back",
    "Full": "Full: the whole model",
    "B1": "B1: worst component, chosen on these test rows",
    "null": "T1 with permuted labels, up to the 99th percentile",
}


def _panel(axes: Axes, panel: pl.DataFrame, *, several_models: bool) -> None:
    first = panel.row(0, named=True)
    for curve in ORDER:
        rows = panel.filter(curve=curve)
        style.curve(axes, rows, style.CURVES[curve], curve, y="mean", sd="sd", limits=(0, 1))
    _null(axes, panel.filter(curve="T1").sort("step"))
    axes.axhline(first["chance"], color="0.45", linewidth=0.6, linestyle=(0, (5, 3)), zorder=0)
    style.step_axis(axes, panel["step"].to_list())
    axes.set_ylim(-0.02, 1.02)
    model = f"{first['model']}: " if several_models else ""
    axes.set_title(f"{model}{first['task']}, {first['n_shots']}-shot ({first['n_prompts']} prompts)", loc="left")


def _null(axes: Axes, rows: pl.DataFrame) -> None:
    for part, name in ((rows.filter(pl.col("step") == 0), None), (rows.filter(pl.col("step") > 0), "null")):
        x = style.step_position(part["step"].to_numpy())
        if name is None:
            x = x[:, None] + [-0.3, 0.3] if len(x) else x
            low, high = (part[c].to_numpy().repeat(2) for c in ("chance", "null_q99"))
            x = x.reshape(-1)
        else:
            low, high = part["chance"].to_numpy(), part["null_q99"].to_numpy()
        axes.fill_between(x, low, high, color=style.NULL_COLOUR, alpha=0.8, linewidth=0, label=name, zorder=0.5)


FIGURE = FigureOf(analysis="emergence", draw=draw)
