"""The best component of one task on another: over training, and every pair of tasks at the last step."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

SETTING = ["model", "dtype", "control", "n_shots"]
CURVES = {"T1": "oracle_1", "Full": "full", "Transfer-1": "transfer_1"}
LEGEND = {
    "T1": "Oracle-1: the best on these test rows",
    "Transfer-1": "Transfer-1: the best on the other task's",
    "Full": "Full: the whole model",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """`transfer`: a panel per pair of tasks, the published pairs where there are any; `transfer_matrix`: all pairs."""
    across = table.filter(pl.col("matched") == "task", pl.col("source") != pl.col("target"))
    pairs = table.filter(matched="prompt")
    if across.is_empty() and pairs.is_empty():
        return {}
    pairs = across if pairs.is_empty() else pairs
    panels = pairs.partition_by(*SETTING, "source", "target", maintain_order=True)
    several = table["model"].n_unique() > 1
    pages = style.pages("transfer", panels, 9)
    pictures = {name: _curves(page, several_models=several) for name, page in pages.items()}
    with_others = across.select(*SETTING, "chance").unique()
    matrices = table.filter(matched="task").join(
        with_others, on=[*SETTING, "chance"], how="semi", maintain_order="left"
    )
    last = [of.filter(step=of["step"].max()) for of in matrices.partition_by(*SETTING, "chance", maintain_order=True)]
    pages = style.pages("transfer_matrix", last, 9)
    return pictures | {name: _matrices(page, several_models=several) for name, page in pages.items()}


def _curves(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    figure, grid = style.panel_grid(len(panels), height=2.3)
    for axes, panel in zip(grid, panels, strict=True):
        first = panel.row(0, named=True)
        for curve, column in CURVES.items():
            look = style.CURVES[curve]
            style.curve(axes, panel, look, curve, y=column, sd=f"{column}_sd", limits=(0, 1))
        style.chance_line(axes, first["chance"])
        style.time_axis(axes, panel)
        axes.set_ylim(-0.02, 1.02)
        tasks = {**first, "task": f"{first['source']} → {first['target']}"}
        title = style.panel_title(tasks, several_models=several_models)
        style.title(axes, f"{title} ({wording.prompts(first['n_prompts'])})", size=7.5)
    figure.supylabel("accuracy on the second task")
    style.x_label(figure, style.STEP_LABEL)
    style.legend_above(figure, grid, LEGEND, columns=2)
    return figure


def _matrices(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    """One matrix per model, control, shots and number of labels: rows choose, columns are scored."""
    n_tasks = max(panel["source"].n_unique() for panel in panels)
    figure, grid = style.panel_grid(len(panels), height=1.1 + 0.32 * n_tasks, sharey=False)
    for axes, panel in zip(grid, panels, strict=True):
        _matrix(axes, panel, several_models=several_models)
    figure.supylabel("the best component of …")
    style.x_label(figure, "… scored on the test rows of (mean over prompts; darker is better)")
    return figure


def _matrix(axes: Axes, panel: pl.DataFrame, *, several_models: bool) -> None:
    tasks = panel["source"].unique().sort().to_list()
    first = panel.row(0, named=True)
    wide = panel.pivot("target", index="source", values="transfer_1").sort("source")
    values = wide.select(tasks).to_numpy()
    axes.imshow(values, cmap="Blues", vmin=first["chance"], vmax=1.3, aspect="auto")
    for i in range(len(tasks)):
        for j in range(len(tasks)):
            axes.text(j, i, f"{values[i, j]:.2f}".lstrip("0"), ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(tasks)), tasks, rotation=30, ha="right")
    axes.set_yticks(range(len(tasks)), tasks)
    step = style.format_step(first["step"])
    title = style.panel_title({**first, "task": f"step {step}"}, several_models=several_models)
    style.title(axes, f"{title}, {round(1 / first['chance'])} labels", size=7.5)


def caption(table: pl.DataFrame) -> str:
    """Transfer at the last step, pair by pair."""
    across = table.filter(pl.col("source") != pl.col("target"))
    last = across.filter(pl.col("step") == pl.col("step").max().over("model"))
    said = [
        f"{row['source']} → {row['target']}: {wording.number(row['transfer_1'])}"
        f" against {wording.number(row['oracle_1'])}"
        for row in last.sort("transfer_1", descending=True).iter_rows(named=True)
    ]
    return (
        "Accuracy on one task of the component that is best on another, beside the task's own best and the full model; "
        f"means over prompts, shaded ±1 SD. At the last step, against the task's own best: {wording.listing(said)}."
    )


FIGURE = FigureOf(
    analysis="transfer",
    question="Does the best component of one task solve another?",
    draw=draw,
    caption=caption,
    missing="No two tasks here have equally many labels and shots: nothing to transfer.",
)
