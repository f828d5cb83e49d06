"""Are the same components good under another prompt? Pearson's r and overlap of the best five, over training."""

import polars as pl
from matplotlib.figure import Figure

from figures.agreement import Measure, agreement_pages
from figures.captions import at_last_step, format_number, join_panels, join_words, panel_name
from figures.spec import FigureSpec
from figures.style import PAIRS

CORRELATION = Measure("r", "Pearson r", (-1.0, 1.0))
_LEGEND = {
    "demonstrations": "other demonstrations, same template",
    "templates": "other template, same seed",
    "contrast": "contrastive template, same seed",
    "chance": "by chance: unrelated prompts",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One column per task and number of shots: r above, IoU below; means over pairs of prompts ±1 SD."""
    return agreement_pages("consistency", table, CORRELATION, "across", PAIRS, _LEGEND, legend_columns=2)


def caption(table: pl.DataFrame) -> str:
    """Agreement at the last step."""
    ends = []
    for last in at_last_step(table):
        values = [f"{row['across']} r {format_number(row['r'])}" for row in last.iter_rows(named=True)]
        ends.append(f"{panel_name(last, table)}: across {join_words(values)}")
    return (
        "Agreement between pairs of prompts on which components are accurate: Pearson's r of all components' "
        f"accuracies and overlap (IoU) of the {table['top'][0]} best; means over pairs, shaded ±1 SD. "
        f"At the last step: {join_panels(ends)}."
    )


FIGURE = FigureSpec(
    analysis="consistency",
    question="Are the same components good under another prompt?",
    draw=draw,
    caption=caption,
    missing="No two prompts of one task to compare: sweep more seeds or templates.",
)
