"""When does each head and MLP emerge? Lollipops, the earliest first."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording
from figures.onsets import lollipop

CRITERION = "null of any component"
MOST = 16
KINDS: dict[str, dict[str, Any]] = {
    "head": {"color": "#0072B2", "marker": "o"},
    "mlp": {"color": "#D55E00", "marker": "s"},
}


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task and number of shots: the earliest components to stay above what luck gives any of them."""
    several = table["model"].n_unique() > 1
    panels = table.filter(criterion=CRITERION).partition_by(style.PANEL, maintain_order=True)
    pages = style.pages("component_onsets", panels, 6)
    return {name: _page(page, several_models=several) for name, page in pages.items()}


def _page(panels: list[pl.DataFrame], *, several_models: bool) -> Figure:
    n_rows = max(len(earliest(panel)) for panel in panels)
    figure, grid = style.panel_grid(len(panels), height=0.85 + 0.13 * n_rows, sharey=False, most_columns=2)
    for axes, panel in zip(grid, panels, strict=True):
        _panel(axes, panel)
        title = style.panel_title(panel.row(0, named=True), several_models=several_models)
        style.title(axes, f"{title}: {panel['emerges'].sum()} of {len(panel)} emerge", labels=0.8)
    style.x_label(figure, "training step (log scale); bars: 95 % intervals; right: accuracy at the last step")
    style.legend_above(figure, grid, {"head": "attention head", "mlp": "MLP"})
    return figure


def earliest(panel: pl.DataFrame) -> pl.DataFrame:
    """The components that emerge, earliest first, at most `MOST`."""
    found = panel.filter("emerges")
    return found.sort("t", "final", descending=[False, True], nulls_last=False).head(MOST)


def _panel(axes: Axes, panel: pl.DataFrame) -> None:
    rows = earliest(panel)
    style.step_axis(axes, [0, panel["last_step"][0]])
    left, right = axes.get_xlim()
    for y, row in enumerate(rows.iter_rows(named=True)):
        lollipop(axes, row, y, KINDS[row["kind"]], (left, right), hollow=False)
        final = wording.number(row["final"])
        axes.annotate(final, (1, y), (3, 0), ("axes fraction", "data"), "offset points", fontsize=5.5, va="center")
    for kind, look in KINDS.items():
        axes.plot([], [], linestyle="none", label=kind, **look)
    axes.set_yticks(range(len(rows)), rows["component"].to_list(), fontsize=5.5)
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)


def caption(table: pl.DataFrame) -> str:
    """How many emerge, and which one is first."""
    said = []
    for panel in table.filter(criterion=CRITERION).partition_by(style.PANEL, maintain_order=True):
        rows = earliest(panel)
        title = wording.name(panel, table)
        if rows.is_empty():
            said.append(f"{title}: none of {len(panel)}")
            continue
        first = rows.row(0, named=True)
        when = "before the first step" if first["t"] is None else f"at step {first['t']:.0f}"
        said.append(f"{title}: {panel['emerges'].sum()} of {len(panel)}, {first['component']} first, {when}")
    return (
        "Onset of every head's and MLP's mean accuracy over prompts: from here on above what permuted labels give any "
        f"of them at any step with probability 1 %; at most {MOST} are drawn. {wording.by_panel(said)}."
    )


FIGURE = FigureOf(
    analysis="component_onsets",
    question="When does each head and MLP emerge?",
    draw=draw,
    caption=caption,
    missing="No component here is scored at more than one step.",
)
