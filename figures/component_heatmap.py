"""Which heads and MLPs solve a task, and from when: one row per component, one column per checkpoint."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from figures import FigureOf, style


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """Accuracy above and below chance, white at chance; heads and MLPs only, layers from the bottom up."""
    candidates = table.filter(pl.col("kind").is_in(["head", "mlp"]))
    panels = candidates.partition_by(style.PANEL, maintain_order=True)
    n_rows = max(panel["component"].n_unique() for panel in panels)
    figure, grid = style.panel_grid(len(panels), height=max(1.6, 0.5 + 0.115 * n_rows), sharey=False)
    image = None
    for axes, panel in zip(grid, panels, strict=True):
        image = _panel(axes, panel, several_models=table["model"].n_unique() > 1)
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=0.9, aspect=30, pad=0.01)
        bar.set_label("0 chance, 1 perfect")
    figure.supxlabel("training step (one column a checkpoint, not to scale)")
    return {"component_heatmap": figure}


def _panel(axes: Axes, panel: pl.DataFrame, *, several_models: bool) -> AxesImage:
    order = panel.select("layer", "kind", "head", "component").unique().sort("layer", "kind", "head")
    names = order["component"].to_list()
    steps = panel["step"].unique().sort().to_list()
    wide = panel.pivot("step", index="component", values="accuracy")
    values = order.join(wide, on="component", how="left", maintain_order="left").select(map(str, steps)).to_numpy()
    first = panel.row(0, named=True)
    chance = first["chance"]
    image = axes.imshow(
        (values - chance) / (1 - chance),
        aspect="auto",
        origin="lower",
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_yticks(range(len(names)), names, fontsize=5.5)
    axes.set_xticks(range(len(steps)), map(style.format_step, steps), rotation=90, fontsize=5.5)
    model = f"{first['model']}: " if several_models else ""
    axes.set_title(f"{model}{first['task']}, {first['n_shots']}-shot", loc="left")
    return image


FIGURE = FigureOf(analysis="component_heatmap", draw=draw)
