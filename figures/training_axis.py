"""Curves over training: the axis of steps, curves with bands, marks of checkpoints that are left out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from figures.style import FLAGS

_STEP_ZERO = -1.5


def step_label(*, has_step_zero: bool) -> str:
    """The label of an axis of steps."""
    return f"training step (log scale{'; step 0 shown separately' if has_step_zero else ''})"


def shows_step_zero(axes: Axes) -> bool:
    """Whether the axis of steps has a place for step 0."""
    return axes.get_xlim()[0] < _STEP_ZERO


def step_position(steps: Sequence[int] | np.ndarray) -> np.ndarray:
    """Positions of steps on the x axis: log2, and step 0, which has no logarithm, apart on the left."""
    steps = np.asarray(steps)
    return np.where(steps > 0, np.log2(np.maximum(steps, 1)), _STEP_ZERO)


def format_step(step: int) -> str:
    """`512`, `4k`, `143k`."""
    return f"{step // 1000}k" if step >= 1000 and step % 1000 == 0 else str(step)


def set_training_axis(axes: Axes, panel: pl.DataFrame) -> None:
    """The x axis of a panel: its steps, and marks on the axis for the flagged ones that its curves lack.

    Args:
        panel: rows with `step` and, from `analysis.run`, `flagged`.
    """
    missing = flagged_and_missing(panel)
    set_step_axis(axes, [*panel["step"].to_list(), *missing])
    for flag, look in FLAGS.items():
        x = step_position([step for step, flags in missing.items() if flag in flags])
        if len(x):
            on_axis = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 5}
            axes.plot(x, np.zeros(len(x)), label=f"flag {flag}", linestyle="none", **look, **on_axis)


def flagged_and_missing(table: pl.DataFrame) -> dict[int, str]:
    """Flagged steps that a table has no rows of: step -> flags, joined by `+`."""
    if "flagged" not in table.columns:
        return {}
    items = {item for text in table["flagged"].unique() for item in text.split()}
    flags = {int(step): names for step, names in (item.split(":") for item in items)}
    return {step: flags[step] for step in sorted(flags.keys() - set(table["step"]))}


def set_step_axis(axes: Axes, steps: Sequence[int]) -> None:
    """Ticks at step 0 and at powers of two (of ten for long trainings), minor ticks at every step, a break after 0."""
    positive = [step for step in sorted(set(steps)) if step > 0] or [1]
    first, last = 1 if 0 in steps else positive[0], positive[-1]
    base = 2 if last <= 4096 else 10
    powers = [base**i for i in range(18) if first <= base**i <= last]
    if len(powers) < 2:
        powers = sorted({positive[0], last})
    label_every = 1 if len(powers) <= 7 else 2 if len(powers) <= 12 else 4
    ticks = {0: "0"} if 0 in steps else {}
    ticks |= {step: format_step(step) if i % label_every == 0 else "" for i, step in enumerate(powers)}
    axes.tick_params(axis="x", which="minor", length=1.5, width=0.5)
    axes.set_xticks(step_position(list(ticks)), list(ticks.values()))
    axes.set_xticks(step_position(sorted(set(steps))), minor=True)
    if 0 in steps:
        axes.axvline(_STEP_ZERO / 2, color="0.6", linewidth=0.6, linestyle=(0, (1, 2)))
    axes.set_xlim(_STEP_ZERO - 0.5 if 0 in steps else np.log2(first) - 0.4, np.log2(last) + 0.4)


def plot_curve(
    axes: Axes,
    rows: pl.DataFrame,
    look: Mapping[str, Any],
    label: str,
    *,
    y: str,
    sd: str | None,
    limits: tuple[float, float] = (0.0, 1.0),
) -> None:
    """A curve with a band of ±1 SD from step 1 on; step 0, which has no place on a log axis, as a marker of its own.

    Args:
        rows: one row per step, with columns `step`, `y` and `sd` (null: no band there; a null `y` leaves a gap).
        sd: None for no band at all.
        limits: the band is clipped to these.
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


def plot_interval(axes: Axes, rows: pl.DataFrame, look: Mapping[str, Any]) -> None:
    """The columns `low` and `high` of a curve as a band, at step 0 as a bar; nothing where they are null."""
    rows = rows.filter(pl.col("low").is_not_null() & pl.col("high").is_not_null()).sort("step")
    for part, is_zero in ((rows.filter(pl.col("step") == 0), True), (rows.filter(pl.col("step") > 0), False)):
        x, low, high = step_position(part["step"].to_numpy()), part["low"].to_numpy(), part["high"].to_numpy()
        if is_zero:
            axes.vlines(x, low, high, color=look["color"], linewidth=0.8)
        else:
            axes.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)


def plot_chance(axes: Axes, y: float, label: str | None = None) -> None:
    """A dashed line at the value of guessing."""
    axes.axhline(y, color="0.45", linewidth=0.6, linestyle=(0, (5, 3)), zorder=0, label=label)


def set_accuracy_axis(axes: Axes, panel: pl.DataFrame) -> None:
    """Steps on the x axis, 0 to 1 on the y axis, and a line at chance where the panel has the column `chance`."""
    if "chance" in panel.columns:
        plot_chance(axes, panel["chance"][0])
    set_training_axis(axes, panel)
    axes.set_ylim(-0.02, 1.02)


def largest_fit(rows: pl.DataFrame) -> pl.DataFrame:
    """Of a curve with several fits, the one with most labels, the default variant where it is there."""
    if rows.is_empty():
        return rows
    best = rows.sort("n_labelled", pl.col("variant") == "default").row(-1, named=True)
    return rows.filter(variant=best["variant"], n_labelled=best["n_labelled"])
