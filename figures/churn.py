"""Do the same components remain the best? Every step against the last one and against the one before."""

import polars as pl
from matplotlib.figure import Figure

from figures.agreement import Measure, agreement_pages
from figures.captions import at_last_step, format_number, join_panels, panel_name
from figures.spec import FigureSpec
from figures.style import AGAINST

CORRELATION = Measure("rank_correlation", "rank correlation", (-1.0, 1.0))
_LEGEND = {
    "final": "with the last step",
    "previous": "with the step before",
    "chance": "by chance: unrelated steps",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per panel: rank correlation of accuracies above, overlap of the best below; means ±1 SD."""
    with_itself = pl.col("step") == pl.col("other_step")
    others = table.with_columns(pl.when(~with_itself).then(pl.col("rank_correlation", "iou")))
    return agreement_pages("churn", others, CORRELATION, "against", AGAINST, _LEGEND, legend_columns=3)


def caption(table: pl.DataFrame) -> str:
    """The agreement of the last two steps."""
    ends = [
        f"{panel_name(last, table)}: rank correlation {format_number(row['rank_correlation'])}, "
        f"IoU {format_number(row['iou'])}"
        for last in at_last_step(table)
        for row in last.filter(against="previous").iter_rows(named=True)
    ]
    agreement = f" Between the last two steps: {join_panels(ends)}." if ends else ""
    return (
        "Spearman's rank correlation of all components' accuracies, and overlap (IoU) of the "
        f"{table['top'][0]} best, between a step and another; means over prompts, shaded ±1 SD.{agreement}"
    )


FIGURE = FigureSpec(
    analysis="churn",
    question="Do the same components remain the best, or do they change places?",
    draw=draw,
    caption=caption,
    missing="No task here has a prompt at two steps.",
)
