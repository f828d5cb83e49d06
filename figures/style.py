"""House style: what a curve is decides its colour, marker and dash everywhere; readable in grey and at one column."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import fill
from typing import Any, Literal, TypeVar

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

T = TypeVar("T")

CURVES: dict[str, dict[str, Any]] = {
    "T1": {"color": "#D55E00", "marker": "o", "linestyle": "-"},
    "Last-T1": {"color": "#CC79A7", "marker": "s", "linestyle": (0, (4, 1.5))},
    "Full": {"color": "#0072B2", "marker": "D", "linestyle": "-"},
    "B1": {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
    "COMP RW": {"color": "#009E73", "marker": "^", "linestyle": "-"},
    "Calib+": {"color": "#E69F00", "marker": "o", "linestyle": "-", "markerfacecolor": "white"},
    "First-T1": {"color": "#8A3B00", "marker": "h", "linestyle": (0, (1, 1.2))},
    "Held-out T1": {"color": "#56B4E9", "marker": "X", "linestyle": "-"},
    "Cross-seed T1": {"color": "#000000", "marker": "X", "linestyle": (0, (5, 1.2, 1, 1.2))},
    "Labelled T1": {"color": "#56B4E9", "marker": "d", "linestyle": (0, (4, 1.5))},
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

AGAINST: dict[str, dict[str, Any]] = {
    "final": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "previous": {"color": "#E69F00", "marker": "^", "linestyle": (0, (4, 1.5))},
}
"""Which other checkpoint a checkpoint is compared with."""

SOURCES: dict[str, dict[str, Any]] = {
    "template": {"color": "#CC79A7", "marker": "s", "linestyle": "-"},
    "demonstrations": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "rest": {"color": "#E69F00", "marker": "^", "linestyle": (0, (4, 1.5))},
    "test_rows": {"color": "#7F7F7F", "marker": "v", "linestyle": (0, (1, 1.2))},
}
"""What accuracies of several prompts differ by."""

PAIRS: dict[str, dict[str, Any]] = {
    "demonstrations": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "templates": {"color": "#CC79A7", "marker": "s", "linestyle": (0, (4, 1.5))},
    "contrast": {"color": "#009E73", "marker": "^", "linestyle": (0, (1, 1.2))},
}
"""What two prompts differ in."""

FLAGS: dict[str, dict[str, Any]] = {
    "duplicate": {"color": "#000000", "marker": "o", "markersize": 4.2, "markerfacecolor": "white"},
    "quarantined": {"color": "#000000", "marker": "x", "markersize": 4.6},
}
"""Flags of checkpoints, which count as missing: marks on the x axis."""
FLAG_NAMES = {
    "flag duplicate": "left out: its weights are another step's",
    "flag quarantined": "left out: known or seen to be wrong",
}

PANEL = ["model", "dtype", "control", "task", "n_shots"]
"""What one panel is drawn for."""

STEP_LABEL = "training step (log scale; 0 apart)"
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
        "pdf.fonttype": 42,
    }


def step_position(steps: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where steps stand on the x axis: log2, and step 0, which has no logarithm, apart on the left."""
    steps = np.asarray(steps)
    return np.where(steps > 0, np.log2(np.maximum(steps, 1)), _STEP_ZERO)


def time_axis(axes: Axes, panel: pl.DataFrame) -> None:
    """The x axis of a panel: its steps, and marks on the axis for the flagged ones that its curves lack.

    Args:
        panel: rows with `step` and, from `analysis.run`, `flagged`.
    """
    absent = left_out(panel)
    step_axis(axes, [*panel["step"].to_list(), *absent])
    for flag, look in FLAGS.items():
        x = step_position([step for step, flags in absent.items() if flag in flags])
        if len(x):
            on_axis = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 5}
            axes.plot(x, np.zeros(len(x)), label=f"flag {flag}", linestyle="none", **look, **on_axis)


def left_out(table: pl.DataFrame) -> dict[int, str]:
    """Flagged steps that a table has no rows of, since they count as missing: step -> flags, joined by `+`."""
    if "flagged" not in table.columns:
        return {}
    items = {item for text in table["flagged"].unique() for item in text.split()}
    flags = {int(step): names for step, names in (item.split(":") for item in items)}
    return {step: flags[step] for step in sorted(flags.keys() - set(table["step"]))}


def step_axis(axes: Axes, steps: Sequence[int]) -> None:
    """Ticks at step 0 and at powers of two (of ten where steps go far), small ticks at every step, a break after 0."""
    after = [step for step in sorted(set(steps)) if step > 0] or [1]
    first, last = 1 if 0 in steps else after[0], after[-1]
    base = 2 if last <= 4096 else 10
    powers = [base**i for i in range(18) if first <= base**i <= last]
    if len(powers) < 2:
        powers = sorted({after[0], last})
    every = 1 if len(powers) <= 7 else 2 if len(powers) <= 12 else 4
    ticks = {0: "0"} if 0 in steps else {}
    ticks |= {step: format_step(step) if i % every == 0 else "" for i, step in enumerate(powers)}
    axes.set_xticks(step_position(list(ticks)), list(ticks.values()))
    axes.set_xticks(step_position(sorted(set(steps))), minor=True)
    axes.tick_params(axis="x", which="minor", length=1.5, width=0.5)
    if 0 in steps:
        axes.axvline(_STEP_ZERO / 2, color="0.6", linewidth=0.6, linestyle=(0, (1, 2)))
    axes.set_xlim(_STEP_ZERO - 0.5 if 0 in steps else np.log2(first) - 0.4, np.log2(last) + 0.4)


def curve(
    axes: Axes,
    rows: pl.DataFrame,
    look: Mapping[str, Any],
    label: str,
    *,
    y: str,
    sd: str | None,
    limits: tuple[float, float] = (0.0, 1.0),
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


def one_fit(rows: pl.DataFrame) -> pl.DataFrame:
    """Of a curve with several fits, the one with most labels, the default variant where it is there."""
    if rows.is_empty():
        return rows
    best = rows.sort("n_labelled", pl.col("variant") == "default").row(-1, named=True)
    return rows.filter(variant=best["variant"], n_labelled=best["n_labelled"])


def interval(axes: Axes, rows: pl.DataFrame, look: Mapping[str, Any]) -> None:
    """The columns `low` and `high` of a curve as a band, at step 0 as a bar; nothing where they are null."""
    rows = rows.filter(pl.col("low").is_not_null() & pl.col("high").is_not_null()).sort("step")
    for part, zero in ((rows.filter(pl.col("step") == 0), True), (rows.filter(pl.col("step") > 0), False)):
        x, low, high = step_position(part["step"].to_numpy()), part["low"].to_numpy(), part["high"].to_numpy()
        if zero:
            axes.vlines(x, low, high, color=look["color"], linewidth=0.8)
        else:
            axes.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)


def chance_line(axes: Axes, y: float, label: str | None = None) -> None:
    """A dashed line where guessing is."""
    axes.axhline(y, color="0.45", linewidth=0.6, linestyle=(0, (5, 3)), zorder=0, label=label)


def panel_title(row: Mapping[str, Any], *, several_models: bool) -> str:
    """`pythia-70m: sst2, 4-shot, shuffled labels`: task and shots, and what else sets a panel apart."""
    model = f"{short(row['model'])}: " if several_models else ""
    control = "" if row["control"] == "none" else f", {row['control'].replace('_', ' ')}"
    return f"{model}{row['task']}, {row['n_shots']}-shot{control}"


def short(model: str) -> str:
    """A model id without its owner: `EleutherAI/pythia-70m` is `pythia-70m`."""
    return model.rsplit("/", 1)[-1]


def title(axes: Axes, text: str, *, size: float = 8.0, labels: float = 0.2) -> None:
    """A title at the left of a panel, broken before it runs into the next one; `labels` inches are its y axis'."""
    grid = axes.get_subplotspec()
    figure = axes.get_figure(root=True)
    assert grid is not None
    assert figure is not None
    inches = figure.get_figwidth() / grid.get_gridspec().ncols - labels
    width = max(12, int(inches * 72 / (0.53 * size)))
    lines = [fill(line, width, break_on_hyphens=False) for line in text.split("\n")]
    axes.set_title("\n".join(lines), loc="left", size=size)


def x_label(figure: Figure, text: str) -> None:
    """One label below all panels, broken before it runs off the figure."""
    width = int(figure.get_figwidth() * 72 / (0.56 * 8))
    figure.supxlabel("\n".join(fill(line, width, break_on_hyphens=False) for line in text.split("\n")))


def legend_above(figure: Figure, grid: Sequence[Axes], names: Mapping[str, str], *, columns: int = 2) -> None:
    """One legend for all panels: curve label -> text, in the order of `names`; what no panel shows is left out."""
    names = {**names, **FLAG_NAMES}
    shown: dict[str, Any] = {}
    for axes in grid:
        handles, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(map(str, labels), handles, strict=True))
    kept = [name for name in names if name in shown]
    columns = columns if figure.get_figwidth() > ONE_COLUMN else 1
    figure.legend([shown[n] for n in kept], [names[n] for n in kept], loc="outside upper center", ncols=columns)


def pages(name: str, panels: Sequence[T], most: int) -> dict[str, list[T]]:
    """Panels in pages of at most `most`, as equal as can be: `name`, `name-2`, `name-3`, ..."""
    n_pages = -(-len(panels) // most)
    bounds = [round(i * len(panels) / n_pages) for i in range(n_pages + 1)] if n_pages else [0]
    return {
        name if i == 0 else f"{name}-{i + 1}": list(panels[first:last])
        for i, (first, last) in enumerate(pairwise(bounds))
    }


def format_step(step: int) -> str:
    """`512`, `4k`, `143k`."""
    return f"{step // 1000}k" if step >= 1000 and step % 1000 == 0 else str(step)


def column_grid(
    n_rows: int, n_columns: int, height: float, *, sharey: Literal["row", "all"] = "row"
) -> tuple[Figure, np.ndarray]:
    """A figure with a column per panel and a row per measure: (figure, axes (row, column))."""
    figure = Figure(figsize=(TWO_COLUMNS if n_columns > 1 else ONE_COLUMN, height * n_rows + 0.4))
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=sharey, sharex="col")
    for axes in grid.flat:
        axes.tick_params(axis="x", labelsize=6)
    return figure, grid


def panel_grid(
    n: int, *, width: float = TWO_COLUMNS, most_columns: int = 3, height: float = 2.1, sharey: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure with n panels in rows: (figure, list of axes)."""
    columns = 2 if n in (2, 4) else min(n, most_columns)
    rows = -(-n // columns)
    figure = Figure(figsize=(width if columns > 1 else ONE_COLUMN, height * rows + (0.4 if columns > 1 else 0.9)))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    for spare in grid.flat[n:]:
        spare.remove()
    return figure, list(grid.flat[:n])
