"""When does each curve emerge? Lollipops: the onset with its interval and bracket, above chance and half way."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import join_panels, join_words, panel_name
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import CURVES, FAINT, PANEL, Look
from figures.training_axis import largest_fit, set_step_axis

ORDER = ("Full", "Held-out T1", "Cross-seed T1", "COMP RW", "Calib+", "T1")
"""From the top down: those that are not chosen on the rows they are scored on, then the optimistic bound."""
OPTIMISTIC = "T1"
CRITERIA: dict[str, Look] = {"null": {"marker": "D"}, "half": {"marker": "o"}}
_LEGEND = {"null": "above chance (1 % over all steps)", "half": "half way from the null to the plateau"}
_NO_ONSET = {"never": "never", "falls": "rises and falls", "before": "before the first step"}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots, two rows per curve: as it is, and less its label bias.

    Arrows where an end lies outside the steps there are; T1 faint; of several fits the one on most labels.
    """
    panels = table.partition_by(PANEL, maintain_order=True)
    n_rows = max(len(curves_in_order(panel)) for panel in panels)
    return panel_pages(
        "onsets",
        panels,
        _panel,
        lambda panel: panel_name(panel, table),
        legend=_LEGEND,
        x_label="training step (log scale); bars: 95 % intervals; thin lines: first passage to last exit",
        per_page=6,
        max_columns=2,
        height=0.75 + 0.2 * n_rows,
        sharey=False,
        tick_label_width=1.5,
    )


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    curves = curves_in_order(panel)
    set_step_axis(axes, panel.select("first_step", "last_step").row(0))
    for y, curve in enumerate(curves):
        look = CURVES[curve["curve"][0]]
        alpha = FAINT if curve["curve"][0] == OPTIMISTIC else 1.0
        for criterion, marker in CRITERIA.items():
            for row in curve.filter(criterion=criterion).iter_rows(named=True):
                height = y + (0.16 if criterion == "null" else -0.16)
                own = {**marker, "color": look["color"], "alpha": alpha}
                plot_lollipop(axes, row, height, own, hollow=criterion == "half")
    label_criteria(axes)
    axes.set_yticks(range(len(curves)), [form_name(curve) for curve in curves], fontsize=6.5)
    axes.set_ylim(-0.6, len(curves) - 0.4)


def form_name(curve: pl.DataFrame) -> str:
    """`Full`, `T1, less label bias`."""
    return curve["curve"][0] + (", less label bias" if curve["centred"][0] else "")


def curves_in_order(table: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of each of `ORDER` in both forms, from the bottom up."""
    forms = [largest_fit(table.filter(curve=curve, centred=form)) for curve in ORDER for form in (False, True)]
    return [rows for rows in reversed(forms) if len(rows)]


def label_criteria(axes: Axes) -> None:
    """Entries of the legend: a filled and a hollow marker."""
    for criterion, marker in CRITERIA.items():
        face = "white" if criterion == "half" else "0.3"
        axes.plot([], [], color="0.3", linestyle="none", markerfacecolor=face, label=criterion, **marker)


def plot_lollipop(axes: Axes, row: dict[str, Any], y: float, look: Look, *, hollow: bool) -> None:
    """A stem from the left, the interval as a bar, the onset as a head; an arrow at an end that lies outside.

    Args:
        axes: with its final limits of x.
        row: t, low, high in steps, and censored: `never`, `falls`, `before` or empty; first_passage and last_exit where
            there is a bracket, which is a thin line.
    """
    left, right = axes.get_xlim()
    emerged = row["censored"] not in ("never", "falls")
    x = _position(row["t"], left if emerged else right)
    low, high = _position(row["low"], left), _position(row["high"], right)
    color, alpha = look["color"], look.get("alpha", 1.0)
    axes.plot([left, x], [y, y], color=color, linewidth=0.5, alpha=0.5 * alpha, zorder=1)
    passages = row.get("first_passage"), row.get("last_exit")
    if row["t"] is not None and any(end is not None for end in passages):
        ends = [_position(end, edge) for end, edge in zip(passages, (left, right), strict=True)]
        axes.plot(ends, [y, y], color=color, linewidth=0.9, marker="|", markersize=3, alpha=alpha, zorder=2)
    if row["low"] is not None or row["high"] is not None:
        axes.plot([low, high], [y, y], color=color, linewidth=1.8, alpha=0.45 * alpha, solid_capstyle="butt", zorder=2)
    marker = look["marker"] if row["t"] is not None else ("<" if emerged else ">")
    face = "white" if hollow or row["t"] is None else color
    head = {"marker": marker, "markersize": 4, "markerfacecolor": face, "alpha": alpha}
    axes.plot([x], [y], color=color, clip_on=False, zorder=3, **head)


def _position(step: float | None, otherwise: float) -> float:
    return otherwise if step is None else float(np.log2(max(step, 0.5)))


def caption(table: pl.DataFrame) -> str:
    """When the full model and the best component on other rows are half way, raw and less their label bias."""
    panels = []
    for panel in table.filter(criterion="half").partition_by(PANEL, maintain_order=True):
        onsets = [
            f"{curve}{words} {_onset(panel.filter(curve=curve, centred=form))}"
            for form, words in ((False, ""), (True, " less its label bias"))
            for curve in ("Full", "Held-out T1")
            if form in panel["centred"]
        ]
        panels.append(f"{panel_name(panel, table)}: {join_words(onsets)}")
    return (
        "Step at which the isotonic fit of a curve exceeds the band that permuted labels exceed at any step with 1 % "
        "probability (filled), and half way from the mean of the null to the plateau, the median of the last three "
        "checkpoints (hollow), with 95 % intervals. Each curve is there as it is, and less its label bias, each "
        "label's mean logit over the test rows, for which no gold label is needed (Calib+ has no logits). T1, faint, "
        "is chosen on the test rows it is scored on, an optimistic bound. Thin: from where the curve itself is first "
        "above to where it last comes from below. An arrow to the right: never, or the curve falls back; to the left: "
        f"before the first step. Half way: {join_panels(panels)}."
    )


def _onset(rows: pl.DataFrame) -> str:
    """`step 8 (4 to 16)`, `never`, `rises and falls`, `before the first step`."""
    if rows.is_empty():
        return "?"
    row = rows.row(0, named=True)
    if row["t"] is None:
        return _NO_ONSET.get(row["censored"], "?")
    low, high = ("…" if end is None else f"{end:.0f}" for end in (row["low"], row["high"]))
    return f"step {row['t']:.0f} ({low} to {high})"


FIGURE = FigureSpec(
    analysis="onsets",
    question="At which step does each curve emerge, as it is and less its label bias?",
    draw=draw,
    caption=caption,
    missing="No curve here has more than one step.",
)
