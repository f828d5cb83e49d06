"""Do the weights fitted on one task help another? Over training, one panel per pair of tasks."""

import polars as pl
from matplotlib.figure import Figure

from figures.captions import format_number, has_several_models, join_words
from figures.spec import FigureSpec
from figures.training_axis import largest_fit
from figures.transfer import SETTING, pair_pages, task_pairs

COLUMNS = {"COMP RW": "own_rw", "Full": "full", "Transfer-1": "transfer_rw"}
LEGEND = {
    "COMP RW": "COMP RW: weights fitted on this task",
    "Transfer-1": "weights fitted on the other task",
    "Full": "Full: the whole model, no weights",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per pair of tasks, the published pairs where there are any; of several fits that with most labels."""
    pair = [*SETTING, "source", "target"]
    panels = [largest_fit(panel) for panel in task_pairs(table).sort(pair).partition_by(pair, maintain_order=True)]

    def remark(panel: pl.DataFrame) -> str:
        return f", K = {panel['n_labelled'][0]}"

    name_model = has_several_models(table)
    return pair_pages("transfer_weights", panels, COLUMNS, LEGEND, remark, name_model=name_model)


def caption(table: pl.DataFrame) -> str:
    """The gain or loss by the other task's weights at the last step."""
    last = task_pairs(table).filter(pl.col("step") == pl.col("step").max().over("model"))
    pairs = [
        f"{row['source']} → {row['target']} {format_number(row['transfer_rw'])} against {format_number(row['full'])}"
        for row in last.sort("gain", descending=True).iter_rows(named=True)
    ]
    return (
        "Test accuracy with the mean weights that COMP RW fitted on another task, with the task's own, and without; "
        f"means over prompts, shaded ±1 SD. At the last step, against the full model: {join_words(pairs)}."
    )


FIGURE = FigureSpec(
    analysis="transfer_weights",
    question="Do the weights fitted on one task help another?",
    draw=draw,
    caption=caption,
    missing="No two tasks here have equally many labels and shots, fitted weights and stored contributions.",
)
