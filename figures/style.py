"""House style: what a curve is decides its colour, marker and dash everywhere; readable in grey and at one column."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

CURVES: dict[str, dict[str, Any]] = {
    "T1": {"color": "#D55E00", "marker": "o", "linestyle": "-"},
    "Last-T1": {"color": "#CC79A7", "marker": "s", "linestyle": (0, (4, 1.5))},
    "Full": {"color": "#0072B2", "marker": "D", "linestyle": "-"},
    "B1": {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
    "COMP RW": {"color": "#009E73", "marker": "^", "linestyle": "-"},
    "Calib+": {"color": "#E69F00", "marker": "P", "linestyle": "-"},
    "held-out T1": {"color": "#56B4E9", "marker": "X", "linestyle": "-"},
    "top-5": {"color": "#8A3B00", "marker": "p", "linestyle": (0, (4, 1.5))},
    "Transfer-1": {"color": "#000000", "marker": "*", "linestyle": (0, (4, 1.5))},
}
"""Okabe-Ito colours, told apart with colour-blind eyes; markers and dashes for print without colour."""

KINDS: dict[str, dict[str, Any]] = {
    "good": {"color": "#D55E00", "marker": "^", "linestyle": "-"},
    "bad": {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
    "label_biased": {"color": "#000000", "marker": "s", "linestyle": "-"},
    "nearly_label_biased": {"color": "#000000", "marker": "s", "linestyle": (0, (2, 1.5)), "markerfacecolor": "white"},
}
"""Kinds of components: good ones in the colour of the best component, bad ones in that of the worst."""

PAIRS: dict[str, dict[str, Any]] = {
    "demonstrations": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "templates": {"color": "#CC79A7", "marker": "s", "linestyle": (0, (4, 1.5))},
    "contrast": {"color": "#009E73", "marker": "^", "linestyle": (0, (1, 1.2))},
}
"""What two prompts differ in."""

PANEL = ["model", "dtype", "control", "task", "n_shots"]
"""What one panel is drawn for."""

NULL_COLOUR = "#BBBBBB"
ONE_COLUMN, TWO_COLUMNS = 3.4, 7.0
"""Widths in inches."""

_STEP_ZERO = -1.5


def house() -> dict[Any, Any]:
    """Settings for `matplotlib.rc_context`; with them the same input gives the same bytes of SVG."""
    return {
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "figure.labelsize": 8,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "lines.markersize": 3.4,
        "figure.dpi": 100,
        "savefig.dpi": 220,
        "savefig.facecolor": "white",
        "figure.constrained_layout.use": True,
        "svg.hashsalt": "figures",
        "svg.fonttype": "none",
    }


def step_position(steps: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where steps stand on the x axis: log2, and step 0, which has no logarithm, apart on the left."""
    steps = np.asarray(steps)
    return np.where(steps > 0, np.log2(np.maximum(steps, 1)), _STEP_ZERO)


def step_axis(axes: Axes, steps: Sequence[int]) -> None:
    """Ticks at step 0 and the powers of two within the data, small ticks at every checkpoint, and a break after 0."""
    last = max(steps)
    powers = [2**i for i in range(int(np.log2(max(last, 1))) + 1)]
    every = 1 if len(powers) <= 6 else 2 if len(powers) <= 12 else 4
    ticks = [0, *powers] if 0 in steps else powers
    axes.set_xticks(step_position(ticks))
    shown = [t == 0 or int(np.log2(t)) % every == 0 for t in ticks]
    axes.set_xticklabels([format_step(t) if show else "" for t, show in zip(ticks, shown, strict=True)])
    axes.set_xticks(step_position(sorted(set(steps))), minor=True)
    axes.tick_params(axis="x", which="minor", length=1.5, width=0.5)
    if 0 in steps:
        axes.axvline(_STEP_ZERO / 2, color="0.6", linewidth=0.6, linestyle=(0, (1, 2)))
    axes.set_xlim(_STEP_ZERO - 0.5 if 0 in steps else -0.3, np.log2(max(last, 1)) + 0.4)


def curve(
    axes: Axes,
    rows: pl.DataFrame,
    look: Mapping[str, Any],
    label: str,
    *,
    y: str,
    sd: str | None,
    limits: tuple[float, float],
) -> None:
    """A curve with a band of +-1 SD from step 1 on; step 0, which has no place on a log axis, as a marker of its own.

    Args:
        rows: one row per step, with columns `step`, `y` and `sd` (null: no band there; a null `y` leaves a gap).
        sd: None for no band at all.
        limits: what the band is cut to.
    """
    rows = rows.sort("step")
    for part, name in ((rows.filter(pl.col("step") == 0), None), (rows.filter(pl.col("step") > 0), label)):
        x = step_position(part["step"].to_numpy())
        mean = part[y].cast(pl.Float64).to_numpy()
        axes.plot(x, mean, label=name, **look)
        if sd is None:
            continue
        spread = part[sd].cast(pl.Float64).fill_null(0.0).to_numpy()
        if name is None:
            axes.errorbar(x, mean, spread, color=look["color"], linewidth=0.8)
        else:
            low, high = np.clip(mean - spread, *limits), np.clip(mean + spread, *limits)
            axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)


def panel_title(row: Mapping[str, Any], *, several_models: bool) -> str:
    """`pythia-70m: sst2, 4-shot, shuffled_labels`: task and shots, and what else sets a panel apart."""
    model = f"{row['model']}: " if several_models else ""
    control = "" if row["control"] == "none" else f", {row['control']}"
    return f"{model}{row['task']}, {row['n_shots']}-shot{control}"


def legend_above(figure: Figure, grid: Sequence[Axes], names: Mapping[str, str], *, columns: int = 2) -> None:
    """One legend for all panels: curve label -> text, in the order of `names`; what no panel shows is left out."""
    shown: dict[str, Any] = {}
    for axes in grid:
        handles, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(map(str, labels), handles, strict=True))
    kept = [name for name in names if name in shown]
    figure.legend([shown[n] for n in kept], [names[n] for n in kept], loc="outside upper center", ncols=columns)


def pages(name: str, panels: Sequence[pl.DataFrame], most: int) -> dict[str, list[pl.DataFrame]]:
    """Panels in pages of at most `most`: `name`, `name-2`, `name-3`, ..."""
    starts = range(0, len(panels), most)
    return {name if i == 0 else f"{name}-{i // most + 1}": list(panels[i : i + most]) for i in starts}


def notice(text: str) -> Figure:
    """A figure that says in words why there is nothing to draw."""
    figure = Figure(figsize=(TWO_COLUMNS, 1.0))
    figure.text(0.5, 0.5, text, ha="center", va="center", wrap=True)
    return figure


def format_step(step: int) -> str:
    """`512`, `4k`, `143k`."""
    return f"{step // 1000}k" if step >= 1000 and step % 1000 == 0 else str(step)


def panel_grid(
    n: int, *, width: float = TWO_COLUMNS, most_columns: int = 3, height: float = 2.1, sharey: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure with n panels in rows: (figure, list of axes)."""
    columns = 2 if n in (2, 4) else min(n, most_columns)
    rows = -(-n // columns)
    figure = Figure(figsize=(width if columns > 1 else 0.6 * width, height * rows))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    for spare in grid.flat[n:]:
        spare.remove()
    return figure, list(grid.flat[:n])
