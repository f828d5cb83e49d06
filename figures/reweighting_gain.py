"""What a few labels unlock, over training: Full, Calib+, COMP RW and held-out T1 in one panel."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style

NAMES = {"full": "Full", "calib_plus": "Calib+", "comp_rw": "COMP RW", "heldout_t1": "held-out T1"}
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"linestyle": (0, (3, 1.5)), "markerfacecolor": "white"},
    "official_code": {"linestyle": (0, (1, 1.2)), "markersize": 1.8},
    "train_rows_outside": {"linestyle": (0, (1, 1.2)), "markersize": 1.8},
    "split_half": {"linestyle": (0, (5, 1.2, 1, 1.2)), "markersize": 1.8},
}
"""What sets a variant apart from the method's own look; all others are drawn through."""


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task, shots and number of labelled examples; means over prompts, no bands: too many curves."""
    panels = [
        (panel.filter(_belongs(k)), k)
        for panel in table.partition_by(style.PANEL, maintain_order=True)
        for k in labelled(panel)
    ]
    several = table["model"].n_unique() > 1
    missing = [name for method, name in NAMES.items() if method not in table["method"]]
    starts = range(0, len(panels), 9)
    return {
        "reweighting_gain" if i == 0 else f"reweighting_gain-{i // 9 + 1}": _page(
            panels[i : i + 9], missing, several_models=several
        )
        for i in starts
    }


def labelled(panel: pl.DataFrame) -> list[int | None]:
    """The numbers of labelled examples that get a panel of their own; None where no method here uses labels."""
    used = panel.filter(~pl.col("method").is_in(["full"]), pl.col("variant") != "split_half")
    return used["n_labelled"].unique().sort().to_list() or [None]


def _belongs(k: int | None) -> pl.Expr:
    without_labels = (pl.col("method") == "full") | (pl.col("variant") == "split_half")
    return without_labels if k is None else without_labels | (pl.col("n_labelled") == k)


def _page(panels: list[tuple[pl.DataFrame, int | None]], missing: list[str], *, several_models: bool) -> Figure:
    figure, grid = style.panel_grid(len(panels))
    names: dict[str, str] = {}
    for axes, (panel, k) in zip(grid, panels, strict=True):
        names |= _panel(axes, panel)
        first = panel.row(0, named=True)
        title = style.panel_title(first, several_models=several_models)
        axes.set_title(title if k is None else f"{title}, K = {k}", loc="left", fontsize=7.5)
    figure.supylabel("test accuracy")
    absent = f"\nnot in these results: {', '.join(missing)}" if missing else ""
    figure.supxlabel(f"training step (log scale; 0 apart){absent}")
    style.legend_above(figure, grid, dict(sorted(names.items())), columns=3)
    return figure


def _panel(axes: Axes, panel: pl.DataFrame) -> dict[str, str]:
    """Draw the curves; returns their legend."""
    legend = {}
    for method, name in NAMES.items():
        for (variant,), rows in sorted(panel.filter(method=method).partition_by("variant", as_dict=True).items()):
            label = f"{name}, {variant.replace('_', ' ')}" if variant else name
            legend[label] = label
            style.curve(axes, rows, look(name, str(variant)), label, y="accuracy", sd=None, limits=(0, 1))
    axes.axhline(panel["chance"][0], color="0.45", linewidth=0.6, linestyle=(0, (5, 3)), zorder=0)
    style.step_axis(axes, panel["step"].to_list())
    axes.set_ylim(-0.02, 1.02)
    return legend


def look(name: str, variant: str) -> dict[str, Any]:
    """A method's look, its variants told apart by dash and filling."""
    apart = VARIANTS.get(variant, {})
    return {**style.CURVES[name], "linestyle": "-", "linewidth": 1.1, "markersize": 2.8, **apart}


FIGURE = FigureOf(analysis="reweighting_gain", draw=draw)
