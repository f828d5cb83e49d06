"""What a few labels unlock, over training: Full, Calib+, COMP RW and held-out T1 in one panel."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import FigureOf, style, wording

NAMES = {"full": "Full", "calib_plus": "Calib+", "comp_rw": "COMP RW", "heldout_t1": "Held-out T1"}
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"linestyle": (0, (3, 1.5)), "markerfacecolor": "white"},
    "official_code": {"linestyle": (0, (1, 1.2)), "markersize": 1.8},
    "train_rows_outside": {"linestyle": (0, (1, 1.2)), "markersize": 1.8},
    "split_half": {"linestyle": (0, (5, 1.2, 1, 1.2)), "markersize": 1.8},
}
"""What sets a variant apart from the method's own look; all others are drawn through."""


def draw(table: pl.DataFrame) -> dict[str, Figure]:
    """One panel per task, shots and number of labelled examples: accuracies, and what is gained over the full model.

    Means over prompts; a band of +-1 SD only around gains of the default variants: more would hide each other.
    """
    panels = [
        (panel.filter(_belongs(k)), k)
        for panel in table.partition_by(style.PANEL, maintain_order=True)
        for k in labelled(panel)
    ]
    several = table["model"].n_unique() > 1
    missing = [name for method, name in NAMES.items() if method not in table["method"]]
    accuracies = {
        name: _page(page, missing, several_models=several)
        for name, page in style.pages("reweighting_gain", panels, 9).items()
    }
    gains = [(panel.filter(pl.col("method") != "full"), k) for panel, k in panels if k is not None]
    differences = {
        name: _page(page, missing, several_models=several, gain=True)
        for name, page in style.pages("reweighting_gain_over_full", gains, 9).items()
    }
    return accuracies | differences


def labelled(panel: pl.DataFrame) -> list[int | None]:
    """The numbers of labelled examples that get a panel of their own; None where no method here uses labels."""
    used = panel.filter(~pl.col("method").is_in(["full"]), pl.col("variant") != "split_half")
    return used["n_labelled"].unique().sort().to_list() or [None]


def _belongs(k: int | None) -> pl.Expr:
    without_labels = (pl.col("method") == "full") | (pl.col("variant") == "split_half")
    return without_labels if k is None else without_labels | (pl.col("n_labelled") == k)


def _page(
    panels: Sequence[tuple[pl.DataFrame, int | None]], missing: list[str], *, several_models: bool, gain: bool = False
) -> Figure:
    figure, grid = style.panel_grid(len(panels))
    names: dict[str, str] = {}
    for axes, (panel, k) in zip(grid, panels, strict=True):
        names |= _panel(axes, panel, gain=gain)
        title = style.panel_title(panel.row(0, named=True), several_models=several_models)
        style.title(axes, title if k is None else f"{title}, K = {k}", size=7.5)
    figure.supylabel("accuracy gained over the full model" if gain else "test accuracy")
    absent = f"\nnot in these results: {', '.join(missing)}" if missing else ""
    style.x_label(figure, f"{style.STEP_LABEL}{absent}")
    style.legend_above(figure, grid, dict(sorted(names.items())), columns=3)
    return figure


def _panel(axes: Axes, panel: pl.DataFrame, *, gain: bool) -> dict[str, str]:
    """Draw the curves; returns their legend."""
    legend = {}
    y, sd = ("gain", "gain_sd") if gain else ("accuracy", None)
    for method, name in NAMES.items():
        for (variant,), rows in sorted(panel.filter(method=method).partition_by("variant", as_dict=True).items()):
            label = f"{name}, {variant.replace('_', ' ')}" if variant else name
            legend[label] = label
            with_band = sd if variant in ("default", "") else None
            style.curve(axes, rows, look(name, str(variant)), label, y=y, sd=with_band, limits=(-1, 1))
    style.chance_line(axes, 0.0 if gain else panel["chance"][0])
    style.time_axis(axes, panel)
    if not gain:
        axes.set_ylim(-0.02, 1.02)
    return legend


def look(name: str, variant: str) -> dict[str, Any]:
    """A method's look, its variants told apart by dash and filling."""
    apart = VARIANTS.get(variant, {})
    return {**style.CURVES[name], "linestyle": "-", "linewidth": 1.1, "markersize": 2.8, **apart}


def caption(table: pl.DataFrame) -> str:
    """The largest gain of COMP RW in every panel, and when."""
    said = []
    for panel in table.partition_by(style.PANEL, maintain_order=True):
        gains = panel.filter(pl.col("method") == "comp_rw", pl.col("gain").is_not_null())
        if len(gains):
            top = gains.sort("gain", descending=True).row(0, named=True)
            step = style.format_step(top["step"])
            said.append(
                f"{wording.name(panel, table)}: {wording.number(top['gain'])} at step {step} (K = {top['n_labelled']})"
            )
    largest = f" Largest gain of COMP RW over the full model: {wording.by_panel(said)}." if said else ""
    return f"What K labelled examples buy, beside the full model, means over prompts.{largest}"


FIGURE = FigureOf(
    analysis="reweighting_gain",
    question="What do a few labels unlock, and when in training?",
    draw=draw,
    caption=caption,
)
