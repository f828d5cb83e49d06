"""House style: what a curve is decides its colour, marker and dash everywhere; readable in grey and at one column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

CURVES: dict[str, dict[str, Any]] = {
    "T1": {"color": "#D55E00", "marker": "o", "linestyle": "-"},
    "Last-T1": {"color": "#CC79A7", "marker": "s", "linestyle": (0, (4, 1.5))},
    "Full": {"color": "#0072B2", "marker": "D", "linestyle": "-"},
    "B1": {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
}
"""Okabe-Ito colours, told apart with colour-blind eyes; markers and dashes for print without colour."""

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
    crowded = len(powers) > 6
    ticks = [0, *powers] if 0 in steps else powers
    axes.set_xticks(step_position(ticks))
    shown = [t == 0 or not crowded or int(np.log2(t)) % 2 == 0 for t in ticks]
    axes.set_xticklabels([format_step(t) if show else "" for t, show in zip(ticks, shown, strict=True)])
    axes.set_xticks(step_position(sorted(set(steps))), minor=True)
    axes.tick_params(axis="x", which="minor", length=1.5, width=0.5)
    if 0 in steps:
        axes.axvline(_STEP_ZERO / 2, color="0.6", linewidth=0.6, linestyle=(0, (1, 2)))
    axes.set_xlim(_STEP_ZERO - 0.5 if 0 in steps else -0.3, np.log2(max(last, 1)) + 0.4)


def format_step(step: int) -> str:
    """`512`, `4k`, `143k`."""
    return f"{step // 1000}k" if step >= 1000 and step % 1000 == 0 else str(step)


def panel_grid(
    n: int, *, width: float = TWO_COLUMNS, most_columns: int = 3, height: float = 2.1
) -> tuple[Figure, list[Axes]]:
    """A figure with n panels in rows: (figure, list of axes)."""
    columns = 2 if n in (2, 4) else min(n, most_columns)
    rows = -(-n // columns)
    figure = Figure(figsize=(width if columns > 1 else 0.6 * width, height * rows))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for spare in grid.flat[n:]:
        spare.remove()
    return figure, list(grid.flat[:n])
