"""Knowledge or label bias: a component's curve and the full model's, raw and centred, and their differences."""

import re
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import format_number, join_panels, join_words, panel_name
from figures.layout import column_pages
from figures.spec import FigureSpec
from figures.style import CURVES, PANEL, Look
from figures.training_axis import (
    format_step,
    largest_fit,
    plot_chance,
    plot_curve,
    set_accuracy_axis,
    set_training_axis,
    step_position,
)

SHOWN = ("Cross-seed T1", "Held-out T1", "COMP RW", "T1")
"""A picture each; the first that the results have is the figure's own."""
ACCURACIES = {"full": "raw", "centred_full": "centred", "raw": "raw", "centred": "centred"}
"""Column -> whether each label's mean logit is taken off."""
PARTS: dict[str, Look] = {
    "gap": {"color": "#7F7F7F", "marker": "o", "linestyle": (0, (4, 1.5)), "markerfacecolor": "white"},
    "bias": {"color": "#0072B2", "marker": "D", "linestyle": (0, (1, 1.2)), "markerfacecolor": "white"},
    "remaining": {"color": "#D55E00", "marker": "o", "linestyle": "-"},
}
"""Differences in the order they are drawn, the one that answers the question last."""
POOLED_LOOK: Look = {"color": "#7F7F7F", "linestyle": (0, (4, 1.5)), "linewidth": 0.9}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """A column per model, task and number of shots: accuracies above, differences below; a picture for each curve.

    Below, the band around `remaining` holds over all steps at once with 95 %: where it leaves out 0, the curve has
    something that the full model lacks, label bias apart. The last picture has it template by template, for the
    first curve.
    """
    pooled = table.filter(template="")
    pictures: dict[str, Figure] = {}
    for curve in _shown(pooled):
        suffix = "" if not pictures else "_" + re.sub(r"\W", "_", curve.lower())
        pictures |= column_pages(
            f"bias_or_knowledge{suffix}",
            _panels(pooled, curve),
            [("test accuracy", partial(_accuracies, curve=curve)), ("difference", _differences)],
            lambda panel: panel_name(panel, table),
            legend=_legend(curve),
        )
    return pictures | _by_template(table)


def _panels(table: pl.DataFrame, curve: str) -> list[pl.DataFrame]:
    """The rows of one curve, panel by panel, where it has centred answers; of several fits, one."""
    fits = [largest_fit(panel) for panel in table.filter(curve=curve).partition_by(PANEL, maintain_order=True)]
    return [rows for rows in fits if len(rows) and rows["remaining"].is_not_null().any()]


def _by_template(table: pl.DataFrame) -> dict[str, Figure]:
    """A row per template: what remains of the first curve's lead under it alone, beside that under all of them."""
    curve = next(iter(_shown(table)), "")
    panels = [panel for panel in _panels(table, curve) if panel["template"].n_unique() > 2]
    n_templates = max((panel["template"].n_unique() - 1 for panel in panels), default=0)
    return column_pages(
        "bias_or_knowledge_templates",
        panels,
        [("", partial(_template, i=i)) for i in range(n_templates)],
        lambda panel: panel_name(panel, table),
        legend=_legend_by_template(curve),
        y_label="difference, both less their label bias",
        height=1.35,
        sharey="all",
    )


def _legend_by_template(curve: str) -> dict[str, str]:
    return {"remaining": f"{curve} − Full under one template", "pooled": "under all of them"}


def _template(axes: Axes, panel: pl.DataFrame, *, i: int) -> None:
    names = panel.filter(pl.col("template") != "")["template"].unique().sort()
    if i >= len(names):
        axes.set_visible(False)
        return
    own = panel.filter(template=names[i])
    plot_curve(axes, panel.filter(template=""), POOLED_LOOK, "pooled", y="remaining", sd=None)
    plot_curve(axes, own, PARTS["remaining"], "remaining", y="remaining", sd=None)
    _plot_band(axes, own)
    axes.text(0.98, 0.95, names[i], transform=axes.transAxes, ha="right", va="top", fontsize=7)
    plot_chance(axes, 0.0)
    set_training_axis(axes, panel)


def _shown(table: pl.DataFrame) -> list[str]:
    """The curves that have centred answers."""
    present = table.filter(pl.col("remaining").is_not_null())["curve"].unique()
    return [curve for curve in SHOWN if curve in present]


def _legend(curve: str) -> dict[str, str]:
    return {
        "full": "Full",
        "centred_full": "Full less its label bias",
        "raw": curve,
        "centred": f"{curve} less its label bias",
        "gap": f"{curve} − Full, as they are",
        "bias": "Full less its label bias − Full",
        "remaining": f"{curve} − Full, both less their label bias",
    }


def _accuracies(axes: Axes, panel: pl.DataFrame, *, curve: str) -> None:
    for column, form in ACCURACIES.items():
        look = CURVES["Full" if "full" in column else curve]
        raw = {"linestyle": (0, (1, 1.2)), "markerfacecolor": "white", "linewidth": 1.0} if form == "raw" else {}
        plot_curve(axes, panel, {**look, "linestyle": "-", **raw}, column, y=column, sd=None)
    set_accuracy_axis(axes, panel)


def _differences(axes: Axes, panel: pl.DataFrame) -> None:
    for part, look in PARTS.items():
        plot_curve(axes, panel, look, part, y=part, sd=None, limits=(-1, 1))
    _plot_band(axes, panel)
    plot_chance(axes, 0.0)
    set_training_axis(axes, panel)


def _plot_band(axes: Axes, rows: pl.DataFrame) -> None:
    """The band of `remaining`, from step 1 on."""
    later = rows.filter(pl.col("step") > 0, pl.col("remaining_band_low").is_not_null()).sort("step")
    x, low, high = step_position(later["step"].to_numpy()), later["remaining_band_low"], later["remaining_band_high"]
    axes.fill_between(x, low.to_numpy(), high.to_numpy(), color=PARTS["remaining"]["color"], alpha=0.2, linewidth=0)


def caption(table: pl.DataFrame) -> str:
    """Where the gap is largest, and how much of it remains without label bias, over all templates and under each."""
    headline = _shown(table)[0]
    panels = [_sentence(panel, table) for panel in _panels(table, headline)]
    return (
        "A label bias is each label's mean logit over the test rows; it is taken off without a gold label. Dotted: "
        "accuracies as they are, solid: less the label bias. The band around what remains holds over all steps at once "
        "with 95 %, in the last picture for each template alone. What remains at step 0 already is no knowledge "
        "either: random directions tell words apart, and the component is chosen with labels. "
        f"{headline}: {join_panels(panels)}."
    )


def _sentence(panel: pl.DataFrame, table: pl.DataFrame) -> str:
    """The step of the largest gap, what remains there, and the last step at which single templates are above 0."""
    pooled = panel.filter(pl.col("gap").is_not_null(), template="")
    top = pooled.sort("gap", descending=True).row(0, named=True)
    low, high = (format_number(top[f"remaining_{end}"]) for end in ("low", "high"))
    above = panel.filter(pl.col("template") != "", pl.col("step") > 0, pl.col("remaining_band_low") > 0)
    last = above.sort("template", "step").group_by("template", maintain_order=True).last()
    templates = [
        f"{row['template']} (step {format_step(row['step'])}: {format_number(row['remaining'])})"
        for row in last.iter_rows(named=True)
    ]
    alone = f"; with the band of one template above 0, for the last time, {join_words(templates)}" if templates else ""
    return (
        f"{panel_name(panel, table)}: largest gap {format_number(top['gap'])} at step {format_step(top['step'])}; "
        f"both less their bias {format_number(top['remaining'])} ({low} to {high}){alone}"
    )


FIGURE = FigureSpec(
    analysis="bias_or_knowledge",
    question="Do components know more than the full model, or is it less biased towards some labels?",
    draw=draw,
    caption=caption,
    missing="No answers without label bias here: `pythia-emergence derive RESULTS` adds them.",
)
