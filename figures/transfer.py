"""The best component of one task on another: over training, and every pair of tasks at the last step."""

from collections.abc import Callable, Mapping

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import count_prompts, format_number, has_several_models, join_words, panel_title
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import CURVES
from figures.training_axis import format_step, plot_curve, set_accuracy_axis

SETTING = ["model", "dtype", "control", "n_shots"]
COLUMNS = {"T1": "oracle_1", "Full": "full", "Transfer-1": "transfer_1"}
"""Curve -> the column that it draws."""
LEGEND = {
    "T1": "Oracle-1: the best on these test rows",
    "Transfer-1": "Transfer-1: the best on the other task's",
    "Full": "Full: the whole model",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """`transfer`: a panel per pair of tasks, the published pairs where there are any; `transfer_matrix`: all pairs."""
    pairs = task_pairs(table)
    if pairs.is_empty():
        return {}
    panels = pairs.partition_by(*SETTING, "source", "target", maintain_order=True)
    titles = {"name_model": has_several_models(table)}
    curves = pair_pages("transfer", panels, COLUMNS, LEGEND, lambda panel: f" ({count_prompts(panel)})", **titles)
    return curves | _matrix_pages(table, **titles)


def task_pairs(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the published pairs of tasks where there are any, of all pairs otherwise."""
    published = table.filter(matched="prompt")
    return _across(table) if published.is_empty() else published


def pair_pages(
    name: str,
    panels: list[pl.DataFrame],
    columns: Mapping[str, str],
    legend: Mapping[str, str],
    remark: Callable[[pl.DataFrame], str],
    *,
    name_model: bool,
) -> dict[str, Figure]:
    """A panel per pair of tasks, with a curve per column of the table.

    Args:
        columns: curve -> column; its SD is in the column `..._sd`.
        remark: a panel -> the end of its title.
    """

    def draw_panel(axes: Axes, panel: pl.DataFrame) -> None:
        for curve, column in columns.items():
            plot_curve(axes, panel, CURVES[curve], curve, y=column, sd=f"{column}_sd")
        set_accuracy_axis(axes, panel)

    def title(panel: pl.DataFrame) -> str:
        row = panel.row(0, named=True)
        tasks = {**row, "task": f"{row['source']} → {row['target']}"}
        return f"{panel_title(tasks, name_model=name_model)}{remark(panel)}"

    y_label = "accuracy on the second task"
    return panel_pages(name, panels, draw_panel, title, legend=legend, y_label=y_label, height=2.3, title_size=7.5)


def _across(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("matched") == "task", pl.col("source") != pl.col("target"))


def _matrix_pages(table: pl.DataFrame, *, name_model: bool) -> dict[str, Figure]:
    """One matrix per model, control, shots and number of labels: rows choose, columns are scored."""
    with_pairs = _across(table).select(*SETTING, "chance").unique()
    rows = table.filter(matched="task").join(with_pairs, on=[*SETTING, "chance"], how="semi", maintain_order="left")
    settings = rows.partition_by(*SETTING, "chance", maintain_order=True)
    panels = [setting.filter(step=setting["step"].max()) for setting in settings]

    def title(panel: pl.DataFrame) -> str:
        row = panel.row(0, named=True)
        step = panel_title({**row, "task": f"step {format_step(row['step'])}"}, name_model=name_model)
        return f"{step}, {round(1 / row['chance'])} labels"

    return panel_pages(
        "transfer_matrix",
        panels,
        _matrix,
        title,
        legend={},
        y_label="the best component of …",
        x_label="… scored on the test rows of (mean over prompts; darker is better)",
        height=1.1 + 0.32 * max((panel["source"].n_unique() for panel in panels), default=0),
        sharey=False,
        title_size=7.5,
    )


def _matrix(axes: Axes, panel: pl.DataFrame) -> None:
    tasks = panel["source"].unique().sort().to_list()
    wide = panel.pivot("target", index="source", values="transfer_1").sort("source")
    values = wide.select(tasks).to_numpy()
    axes.imshow(values, cmap="Blues", vmin=panel["chance"][0], vmax=1.3, aspect="auto")
    for i in range(len(tasks)):
        for j in range(len(tasks)):
            axes.text(j, i, f"{values[i, j]:.2f}".lstrip("0"), ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(tasks)), tasks, rotation=30, ha="right")
    axes.set_yticks(range(len(tasks)), tasks)


def caption(table: pl.DataFrame) -> str:
    """Transfer at the last step, pair by pair."""
    across = table.filter(pl.col("source") != pl.col("target"))
    last = across.filter(pl.col("step") == pl.col("step").max().over("model"))
    pairs = [
        f"{row['source']} → {row['target']}: {format_number(row['transfer_1'])}"
        f" against {format_number(row['oracle_1'])}"
        for row in last.sort("transfer_1", descending=True).iter_rows(named=True)
    ]
    return (
        "Accuracy on one task of the component that is best on another, beside the task's own best and the full model; "
        f"means over prompts, shaded ±1 SD. At the last step, against the task's own best: {join_words(pairs)}."
    )


FIGURE = FigureSpec(
    analysis="transfer",
    question="Does the best component of one task solve another?",
    draw=draw,
    caption=caption,
    missing="No two tasks here have equally many labels and shots: nothing to transfer.",
)
