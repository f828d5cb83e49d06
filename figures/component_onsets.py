"""When does each head and MLP emerge? Lollipops, the earliest first."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.captions import format_number, join_panels, panel_name
from figures.layout import panel_pages
from figures.onsets import plot_lollipop
from figures.spec import FigureSpec
from figures.style import PANEL, Look
from figures.training_axis import set_step_axis

CRITERION = "null of any component"
MAX_COMPONENTS = 16
KINDS: dict[str, Look] = {
    "head": {"color": "#0072B2", "marker": "o"},
    "mlp": {"color": "#D55E00", "marker": "s"},
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots: the earliest components to stay above the null of all of them.

    Panels in which none emerges are left out.
    """
    shown = table.filter(pl.col("emerges").any().over(PANEL, "criterion"), criterion=CRITERION)
    panels = shown.partition_by(PANEL, maintain_order=True)
    n_rows = max((len(earliest(panel)) for panel in panels), default=0)
    return panel_pages(
        "component_onsets",
        panels,
        _panel,
        lambda panel: f"{panel_name(panel, table)}: {panel['emerges'].sum()} of {len(panel)} emerge",
        legend={"head": "attention head", "mlp": "MLP"},
        x_label="training step (log scale); bars: 95 % intervals; right: accuracy at the last step",
        per_page=6,
        max_columns=2,
        height=0.85 + 0.13 * n_rows,
        sharey=False,
        tick_label_width=0.8,
    )


def earliest(panel: pl.DataFrame) -> pl.DataFrame:
    """The components that emerge, earliest first, at most `MAX_COMPONENTS`."""
    emerged = panel.filter("emerges")
    return emerged.sort("t", "final", descending=[False, True], nulls_last=False).head(MAX_COMPONENTS)


def steps_around(rows: pl.DataFrame) -> list[int]:
    """The checkpoints before and after each onset, down to the lower ends of the intervals."""
    ends = [rows[name].drop_nulls().cast(pl.Int64) for name in ("step_before", "step_after", "step", "low")]
    return sorted({step for end in ends for step in end})


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    rows = earliest(panel)
    set_step_axis(axes, [*steps_around(rows), panel["last_step"][0]])
    for y, row in enumerate(rows.iter_rows(named=True)):
        plot_lollipop(axes, row, y, KINDS[row["kind"]], hollow=False)
        final = format_number(row["final"])
        axes.annotate(final, (1, y), (3, 0), ("axes fraction", "data"), "offset points", fontsize=5.5, va="center")
    for kind, look in KINDS.items():
        axes.plot([], [], linestyle="none", label=kind, **look)
    axes.set_yticks(range(len(rows)), rows["component"].to_list(), fontsize=5.5)
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)


def caption(table: pl.DataFrame) -> str:
    """How many emerge, and which one is first."""
    panels = []
    for panel in table.filter(criterion=CRITERION).partition_by(PANEL, maintain_order=True):
        rows = earliest(panel)
        name = panel_name(panel, table)
        if rows.is_empty():
            panels.append(f"{name}: none of {len(panel)}")
            continue
        first = rows.row(0, named=True)
        onset = "before the first step" if first["t"] is None else f"at step {first['t']:.0f}"
        panels.append(f"{name}: {panel['emerges'].sum()} of {len(panel)}, {first['component']} first, {onset}")
    return (
        "Onset of every head's and MLP's mean accuracy over prompts: from here on above the band that any component "
        f"exceeds at any step with probability 1 % where labels are permuted; at most {MAX_COMPONENTS} are drawn. "
        f"{join_panels(panels)}."
    )


def missing(table: pl.DataFrame) -> str:
    """Why no component is drawn."""
    n = len(table.filter(criterion=CRITERION))
    if not n:
        return "No component here is scored at more than one step."
    return f"None of {n} heads and MLPs here stays above the band of permuted labels."


FIGURE = FigureSpec(
    analysis="component_onsets",
    question="When does each head and MLP emerge?",
    draw=draw,
    caption=caption,
    missing=missing,
)
