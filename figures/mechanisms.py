"""What heads attend to over training: repeated tokens and label words, above the full model's accuracy."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynamics.mechanisms.measures import DUPLICATE, LABEL_ATTENTION, LABEL_COPYING, PREFIX, PREVIOUS
from figures.captions import format_number, join_panels, join_words, panel_name
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import CURVES, PANEL, Look
from figures.training_axis import plot_curve, set_training_axis

SEQUENCES: dict[str, Look] = {
    PREVIOUS: {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    PREFIX: {"color": "#D55E00", "marker": "^", "linestyle": "-"},
    DUPLICATE: {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
}
N_NAMED = 4
"""Heads that are drawn by name: those that attend to label words most, or copy them most, at the last step."""
HEADS: tuple[Look, ...] = (
    {"color": "#D55E00", "marker": "o", "linestyle": "-"},
    {"color": "#0072B2", "marker": "D", "linestyle": (0, (4, 1.5))},
    {"color": "#009E73", "marker": "^", "linestyle": (0, (1, 1.2))},
    {"color": "#CC79A7", "marker": "s", "linestyle": (0, (5, 1.2, 1, 1.2))},
)
_LEGEND = {
    PREVIOUS: "best head: to the previous token",
    PREFIX: "best head: to the token after an earlier copy (induction)",
    DUPLICATE: "best head: to an earlier copy",
    "threshold": "published threshold",
    "full": "Full",
    "centred_full": "Full less its label bias",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """A column per model, task and shots: random tokens, label words, copying of label words, and accuracy."""
    of_checkpoints = table.filter(pl.col("task") == "")
    panels = table.filter(pl.col("measure") == LABEL_ATTENTION).partition_by(PANEL, maintain_order=True)
    copying = table.filter(pl.col("measure") == LABEL_COPYING)

    def sequences(axes: Axes, panel: pl.DataFrame) -> None:
        own = of_checkpoints.join(panel.select(PANEL[:3]).unique(), on=PANEL[:3], how="semi")
        for measure, look in SEQUENCES.items():
            best = own.filter(measure=measure).group_by("step").agg(pl.col("value").max()).sort("step")
            plot_curve(axes, best, look, measure, y="value", sd=None)
        axes.axhline(0.3, color="0.5", linewidth=0.8, linestyle=(0, (2, 2)), label="threshold")
        axes.set_ylim(0, 1)
        set_training_axis(axes, panel)

    def of_labels(axes: Axes, panel: pl.DataFrame) -> None:
        _heads(axes, panel)
        axes.set_ylim(0, 1)
        set_training_axis(axes, panel)

    def of_copying(axes: Axes, panel: pl.DataFrame) -> None:
        _heads(axes, copying.join(panel.select(PANEL).unique(), on=PANEL, how="semi"))
        axes.axhline(0, color="0.3", linewidth=0.8)
        set_training_axis(axes, panel)

    def accuracy(axes: Axes, panel: pl.DataFrame) -> None:
        by_step = panel.unique("step").sort("step")
        plot_curve(axes, by_step, CURVES["Full"], "full", y="full", sd=None)
        plot_curve(axes, by_step, CURVES["Full, centred"], "centred_full", y="centred_full", sd=None)
        axes.set_ylim(0, 1)
        set_training_axis(axes, panel)

    rows = [
        ("random tokens", sequences),
        ("attention to\nlabel words", of_labels),
        ("label copying\n(logits)", of_copying),
        ("test accuracy", accuracy),
    ]
    return column_pages("mechanisms", panels, rows, lambda panel: panel_name(panel, table), legend=_LEGEND, height=1.5)


def _heads(axes: Axes, rows: pl.DataFrame) -> None:
    """Every head as a thin line, those with the largest values at the last step by name."""
    if rows.is_empty():
        return
    last = rows.filter(step=rows["step"].max()).with_columns(size=pl.col("value").abs())
    named = last.sort("size", "component", descending=[True, False])["component"].to_list()[:N_NAMED]
    for (component,), curve in rows.group_by("component", maintain_order=True):
        if component not in named:
            plot_curve(axes, curve, {"color": "0.8", "linewidth": 0.6}, "", y="value", sd=None, limits=(-99, 99))
    for component, look in zip(named, HEADS, strict=False):
        plot_curve(axes, rows.filter(component=component), look, component, y="value", sd=None, limits=(-99, 99))
    axes.legend(*_named(axes, named), loc="upper left", fontsize=5.5, handlelength=1.2, ncols=2, columnspacing=0.8)


def _named(axes: Axes, named: list[str]) -> tuple[list, list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    chosen = [(h, label) for h, label in zip(handles, labels, strict=True) if label in named]
    return [h for h, _ in chosen], [label for _, label in chosen]


def caption(table: pl.DataFrame) -> str:
    """The largest scores at the last step."""
    last = table.filter(pl.col("step") == pl.col("step").max().over("model"))
    of_sequences = last.filter(pl.col("measure").is_in(list(SEQUENCES))).group_by("measure").agg(pl.col("value").max())
    best = dict(of_sequences.iter_rows())
    ends = []
    for panel in last.filter(measure=LABEL_ATTENTION).partition_by(PANEL, maintain_order=True):
        copying = last.filter(measure=LABEL_COPYING).join(panel.select(PANEL).unique(), on=PANEL, how="semi")
        if copying.is_empty():
            continue
        top, bottom = (copying.sort("value", descending=down).row(0, named=True) for down in (True, False))
        ends.append(
            f"{panel_name(panel, table)}: {top['component']} copies by {format_number(top['value'])} logits, "
            f"{bottom['component']} by {format_number(bottom['value'])}"
        )
    words = {PREVIOUS: "previous token", PREFIX: "induction", DUPLICATE: "earlier copy"}
    reached = [f"{format_number(best[measure])} ({word})" for measure, word in words.items() if measure in best]
    sequences = f" On repeated random tokens the best heads reach {join_words(reached)}." if reached else ""
    at_last = f" At the last step: {join_panels(ends)}." if ends else ""
    return (
        "Mean attention weights of heads, means over prompts; label copying is what a head adds to the labels that it "
        f"attends to less what it adds to the others.{sequences}{at_last}"
    )


FIGURE = FigureSpec(
    analysis="mechanisms",
    question="What do heads attend to, and since when, beside the accuracy of in-context learning?",
    draw=draw,
    caption=caption,
    missing="No mechanisms here: plan key `mechanisms` measures them.",
)
