"""What predicts how useful a head is at the last step? Correlation over training, with the band of permuted heads."""

from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.explain import ALL, ANSWERS, MECHANISMS, OUTCOMES, SETTING
from figures.captions import format_number, has_several_models, join_panels, short_model
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import NULL_COLOUR, PREDICTORS
from figures.training_axis import format_step, plot_chance, plot_curve, plot_interval, set_training_axis

LEGEND = {
    ALL: "all predictors",
    MECHANISMS: "attention and copying",
    ANSWERS: "accuracy and AUC so far",
    "null": "permuted heads, all predictors: up to the band of 1 %",
}
_OUTCOME_LABELS = {"centred_accuracy": "accuracy less bias", "total_effect": "effect of ablation"}
_HELD_OUT = {"task": "held-out tasks", "demo_seed": "held-out seeds"}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """A column per model, shots and what is held out, a row per outcome: correlation at every step before the last."""
    known = table.filter(pl.col("correlation").is_not_null())
    panels = known.partition_by([*SETTING, "held_out"], maintain_order=True)
    if not panels:
        return {}
    outcomes = [name for name in OUTCOMES if name in known["outcome"]]
    return column_pages(
        "explain",
        panels,
        [(_OUTCOME_LABELS[name], partial(_panel, outcome=name)) for name in outcomes],
        lambda panel: _title(panel, table),
        legend=LEGEND,
        y_label="rank correlation with the last step",
        sharey="all",
        title_size=7.0,
    )


def _panel(axes: Axes, panel: pl.DataFrame, outcome: str) -> None:
    rows = panel.filter(outcome=outcome)
    if rows.is_empty():
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", fontsize=7)
        return
    band = rows.filter(predictor=ALL).with_columns(low=-1.0, high="band")
    plot_interval(axes, band, {"color": NULL_COLOUR})
    axes.fill_between([], [], [], color=NULL_COLOUR, alpha=0.2, linewidth=0, label="null")
    for name, look in PREDICTORS.items():
        plot_curve(axes, rows.filter(predictor=name), look, name, y="correlation", sd=None)
    plot_chance(axes, 0.0)
    set_training_axis(axes, rows)
    axes.set_ylim(-0.6, 1.02)


def _title(panel: pl.DataFrame, table: pl.DataFrame) -> str:
    row = panel.row(0, named=True)
    model = f"{short_model(row['model'])}, " if has_several_models(table) else ""
    control = "" if row["control"] == "none" else f", {row['control'].replace('_', ' ')}"
    seeds = f", {row['n_seeds']} seeds" if row["held_out"] == "demo_seed" else ""
    n = f"{row['n_heads']} heads, {row['n_tasks']} task{'s' if row['n_tasks'] != 1 else ''}{seeds}"
    return f"{model}{row['n_shots']}-shot{control}, {_HELD_OUT[row['held_out']]} ({n})"


def caption(table: pl.DataFrame) -> str:
    """From where each group of predictors is above its own band for good."""
    panels = []
    for panel in table.partition_by([*SETTING, "held_out", "outcome"], maintain_order=True):
        since = []
        for name in PREDICTORS:
            row = panel.filter(predictor=name).row(0, named=True)
            step = "never" if row["since"] is None else f"from step {format_step(row['since'])}"
            lead = f" ({format_number(row['lead'])} doublings)" if row["lead"] is not None else ""
            since.append(f"{LEGEND[name]} {step}{lead}")
        outcome = _OUTCOME_LABELS[panel["outcome"][0]]
        if panel["correlation"].is_not_null().any():
            panels.append(f"{_title(panel, table)}, {outcome}: {', '.join(since)}")
    return (
        "Spearman's correlation between what ridge regression predicts from each earlier step and the last step's "
        "value, over the heads of a held-out task. The band is that of permuted heads, for all steps at once; few "
        f"heads can show only large correlations. Above their own band for good: {join_panels(panels)}."
    )


FIGURE = FigureSpec(
    analysis="explain",
    question="What predicts how useful a head is at the last step?",
    draw=draw,
    caption=caption,
    missing="Too few heads, tasks or demonstration seeds here, or one step.",
)
