"""Which leads over the full model are label bias? Leads in doublings of training, raw and less label bias."""

from dataclasses import dataclass
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import format_number, join_panels, join_words, panel_name
from figures.layout import panel_pages
from figures.spec import FigureSpec
from figures.style import FAINT, PANEL, Look
from figures.training_axis import largest_fit

FULL, CALIB = "Full", "Calib+"


@dataclass(frozen=True)
class LeadForm:
    """From which of the two curves of a lead the label bias is taken off, and how that is drawn.

    Attributes:
        centred, over_centred: whether from the curve, and from the other.
        height: above and below the middle of a row.
        look: of the marker.
        text: of the legend.
    """

    centred: bool
    over_centred: bool
    height: float
    look: Look
    text: str


FORMS = {
    "raw": LeadForm(
        False, False, -0.27, {"color": "#7F7F7F", "marker": "o", "markerfacecolor": "white"},
        "both as they are: label bias counts",
    ),
    "over_centred": LeadForm(
        False, True, 0.0, {"color": "#E69F00", "marker": "^"}, "curve as it is, Full less its label bias"
    ),
    "centred": LeadForm(
        True, True, 0.27, {"color": "#D55E00", "marker": "s"}, "both less their label bias: what is left is no bias"
    ),
    "bias": LeadForm(
        True, False, 0.0, {"color": "#0072B2", "marker": "D", "markerfacecolor": "white"},
        "curve less its label bias, the other as it is",
    ),
}  # fmt: skip
"""The colours of the differences in `bias_or_knowledge` where they ask the same."""
ROWS = [
    ("Held-out T1", FULL, "Held-out T1"),
    ("Cross-seed T1", FULL, "Cross-seed T1"),
    ("COMP RW", FULL, "COMP RW"),
    (CALIB, FULL, "Calib+"),
    (FULL, FULL, "Full, centred, over Full"),
    ("COMP RW", CALIB, "COMP RW over Calib+"),
    ("T1", FULL, "T1: optimistic bound"),
]
"""(curve, the other, name) from the top down."""
OPTIMISTIC = "T1"
CRITERIA = {
    "area": "area between the curves",
    "half": "onsets half way from the null to the plateau",
}
"""Criterion -> what the picture of it measures leads by; the first is the figure's own."""
FEW_TEMPLATES = 6
"""Below this, Student's t is more than 2.7 standard errors wide on each side."""
_LEGEND = {
    **{name: form.text for name, form in FORMS.items()},
    "template": "one template alone",
    "grid_limited": "grid-limited: half of the checkpoints give another lead",
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots, a row per curve, in which its leads with and without label bias differ.

    A picture per criterion: `leads` by area, `leads_half` by onsets half way.
    """
    pictures: dict[str, Figure] = {}
    for criterion, measure in CRITERIA.items():
        leads = table.filter(pl.col("lead").is_not_null().any().over(PANEL), criterion=criterion)
        pictures |= panel_pages(
            f"leads_{criterion}" if pictures else "leads",
            leads.partition_by(PANEL, maintain_order=True),
            _panel,
            lambda panel: panel_name(panel, table),
            legend=_LEGEND,
            x_label=f"doublings of training ahead of Full (of Calib+ in its row), by {measure}; bars: 95 % intervals",
            per_page=6,
            max_columns=2,
            height=0.5 + 0.42 * len(ROWS),
            sharey=False,
            tick_label_width=1.3,
        )
    return pictures


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    drawn = [
        (y, name, row)
        for y, (curve, over, _) in enumerate(ROWS)
        for name, form in FORMS.items()
        for row in _leads(panel, curve, over, form).iter_rows(named=True)
    ]
    pooled = [row for _, _, row in drawn if not row["template"]]
    ends = [row[name] for row in pooled for name in ("lead", "low", "high") if row[name] is not None]
    values = [0.0, *ends, *(row["lead"] for _, _, row in drawn if row["lead"] is not None)]
    margin = 0.06 * (max(values) - min(values)) + 0.05
    axes.set_xlim(min(values) - margin, max(values) + margin)
    for y, name, row in drawn:
        alpha = FAINT if row["curve"] == OPTIMISTIC else 1.0
        _plot_lead(axes, row, y + FORMS[name].height, FORMS[name].look, alpha)
    for name, form in FORMS.items():
        axes.plot([], [], linestyle="none", markersize=4, label=name, **form.look)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.grid(axis="x", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(ROWS)), [name for _, _, name in ROWS], fontsize=6.5)
    axes.get_yticklabels()[-1].set_alpha(0.6)
    axes.set_ylim(len(ROWS) - 0.4, -0.6)


def _leads(panel: pl.DataFrame, curve: str, over: str, form: LeadForm) -> pl.DataFrame:
    """The leads of a curve over another in one form, of all prompts and of single templates; of several fits, one."""
    columns = {"curve": curve, "over": over, "centred": form.centred, "over_centred": form.over_centred}
    return largest_fit(panel.filter(**columns))


def _plot_lead(axes: Axes, row: dict[str, Any], y: float, look: Look, alpha: float) -> None:
    """The interval as a bar, to the edge where it has no end; an arrow for a bound, where an onset is outside.

    A curve whose interval is not known to cover has no bar: `undefined` is null then. A lead that the grid limits is
    crossed out. The lead of one template is a tick. Where no lead is defined, it says so.
    """
    lead, color = row["lead"], look["color"]
    if lead is None:
        if not row["template"]:
            at_the_edge = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 5.5}
            axes.text(0.01, y, "no lead", color=color, alpha=alpha, **at_the_edge)
        return
    if row["template"]:
        tick = {"marker": "|", "markersize": 5, "color": color, "alpha": 0.7 * alpha, "label": "template"}
        axes.plot([lead], [y], linestyle="none", zorder=2.5, **tick)
        return
    low, high = (
        edge if row[end] is None else row[end] for end, edge in zip(("low", "high"), axes.get_xlim(), strict=True)
    )
    if row["undefined"] is not None:
        bar = {"linewidth": 1.8, "alpha": 0.45 * alpha, "solid_capstyle": "butt"}
        axes.plot([low, high], [y, y], color=color, zorder=2, **bar)
    marker = {"at least": ">", "at most": "<"}.get(row["bound"], look["marker"])
    axes.plot([lead], [y], markersize=4, zorder=3, alpha=alpha, **{**look, "marker": marker})
    if row["grid_limited"]:
        cross = {"marker": "x", "markersize": 6, "color": "0.2", "linestyle": "none", "label": "grid_limited"}
        axes.plot([lead], [y], zorder=4, alpha=alpha, **cross)


def caption(table: pl.DataFrame) -> str:
    """Leads of held-out T1 by area, raw and less label bias, and what label bias costs the full model in time."""
    panels = []
    for panel in table.filter(criterion="area", template="").partition_by(PANEL, maintain_order=True):
        raw, over_centred, centred = (
            _lead(_leads(panel, "Held-out T1", FULL, FORMS[name])) for name in ("raw", "over_centred", "centred")
        )
        bias = _lead(_leads(panel, FULL, FULL, FORMS["bias"]))
        panels.append(
            f"{panel_name(panel, table)}: over Full {raw}, over Full less its label bias {over_centred}, both less "
            f"their label bias {centred}; Full less its label bias over Full {bias}"
        )
    return (
        "Doublings of training by which a curve is ahead of the full model, with 95 % intervals from the same "
        "replicates. Where the grey lead is positive and the one of both curves less their label bias (each label's "
        "mean logit, taken off without a gold label) is not, the lead is label bias. By area: between the two curves, "
        "each as a share of its rise from the first checkpoint to its plateau; by onsets: log2 of the other's onset "
        "less that of the curve. Calib+ has no logits of which a bias could be taken. T1, faint, is chosen on the test "
        "rows that it is scored on, an optimistic bound. An arrow: a bound, as an onset is after the last checkpoint. "
        "A cross: every second checkpoint and the others give leads further apart than the interval is wide. Templates "
        f"are fixed in the intervals; ticks: each template alone. Held-out T1 by area: {join_panels(panels)}."
    )


def _lead(rows: pl.DataFrame) -> str:
    """`.50 (.25 to 1.00; over 3 templates, which are few, −.40 to 1.20; grid-limited)`, `none (neither emerges)`."""
    if rows.is_empty():
        return "?"
    row = rows.row(0, named=True)
    if row["lead"] is None:
        return f"none ({row['reason']})"
    low, high = ("…" if end is None else format_number(end) for end in (row["low"], row["high"]))
    notes = [f"{low} to {high}"]
    if row["templates_low"] is not None:
        ends = " to ".join(format_number(row[end]) for end in ("templates_low", "templates_high"))
        few = ", which are few," if row["n_templates"] < FEW_TEMPLATES else ""
        notes.append(f"over {row['n_templates']} templates{few} {ends}")
    if row["grid_limited"]:
        notes.append("grid-limited")
    return f"{format_number(row['lead'])} ({'; '.join(notes)})"


def missing(table: pl.DataFrame) -> str:
    """Why no lead is defined."""
    reasons = table.filter(criterion="half", template="")["reason"].unique().sort().to_list()
    if not reasons:
        return "No curve here has more than one step."
    if reasons == ["neither emerges"]:
        return "No curve here emerges, so none leads."
    return f"No lead is defined here, half way from the null to the plateau: {join_words(reasons)}."


FIGURE = FigureSpec(
    analysis="leads",
    question="Are components, or a few labels, ahead of the full model, or is it its label bias?",
    draw=draw,
    caption=caption,
    missing=missing,
)
