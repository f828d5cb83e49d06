"""Page layouts that figures share: panels in rows, or a column per panel and a row per measure."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from textwrap import fill
from typing import Any, Literal, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.style import FLAG_NAMES, ONE_COLUMN, TWO_COLUMNS
from figures.training_axis import shows_step_zero, step_label

T = TypeVar("T")
_LEGEND_SIZE, _LINE_HEIGHT, _HANDLE_WIDTH = 7.5, 0.155, 0.45
"""Of a legend: size in points; height of a line, and what a text's handle and margins take, in inches."""
_LEFT_OF_LONE_PANEL = 0.7
"""Inches that what is left of a figure's only column of panels takes from its titles, beside long tick labels."""
_ROOM_FOR_LEGEND = 0.4
"""Inches that a narrow figure has for its legend already."""


def panel_pages(
    name: str,
    panels: Sequence[T],
    draw_panel: Callable[[Axes, T], None],
    title: Callable[[T], str],
    *,
    legend: Mapping[str, str],
    y_label: str = "",
    x_label: str | None = None,
    per_page: int = 9,
    max_columns: int = 3,
    height: float = 2.1,
    sharey: bool = True,
    title_size: float = 8.0,
    tick_label_width: float = 0.2,
    legend_columns: int = 2,
) -> dict[str, Figure]:
    """Panels in rows, on pages of at most `per_page`: picture name -> figure.

    Args:
        legend: label of a curve -> its text.
        x_label: None for training steps.
        height: of a panel, in inches.
        tick_label_width: inches that the labels of the y axis take from a title.
    """
    pictures = {}
    for picture, page in pages(name, panels, per_page).items():
        figure, grid = panel_grid(len(page), height=height, sharey=sharey, max_columns=max_columns)
        for axes, panel in zip(grid, page, strict=True):
            draw_panel(axes, panel)
            set_title(axes, title(panel), size=title_size, tick_label_width=tick_label_width)
        _label(figure, grid, x_label, y_label, legend_above(figure, grid, legend, columns=legend_columns))
        pictures[picture] = figure
    return pictures


def column_pages(
    name: str,
    panels: Sequence[T],
    rows: Sequence[tuple[str, Callable[[Axes, T], None]]],
    title: Callable[[T], str],
    *,
    legend: Mapping[str, str],
    y_label: str = "",
    x_label: str | None = None,
    per_page: int = 4,
    height: float = 1.9,
    sharey: Literal["row", "all"] = "row",
    title_size: float = 8.0,
    legend_columns: int = 2,
) -> dict[str, Figure]:
    """A column per panel and a row per measure, on pages of at most `per_page` panels: picture name -> figure.

    Args:
        rows: label of the y axis, and how the measure of a panel is drawn.
        legend: label of a curve -> its text.
        x_label: None for training steps.
        y_label: one for all rows, beside their own.
        height: of a row, in inches.
    """
    pictures = {}
    for picture, page in pages(name, panels, per_page).items():
        figure, grid = column_grid(len(rows), len(page), height, sharey=sharey)
        for column, panel in zip(grid.T, page, strict=True):
            for axes, (_, draw_measure) in zip(column, rows, strict=True):
                draw_measure(axes, panel)
            set_title(column[0], title(panel), size=title_size)
        for row, (label, _) in zip(grid, rows, strict=True):
            row[0].set_ylabel(label)
        every = list(grid.flat)
        _label(figure, every, x_label, y_label, legend_above(figure, every, legend, columns=legend_columns))
        pictures[picture] = figure
    return pictures


def pages(name: str, panels: Sequence[T], per_page: int) -> dict[str, list[T]]:
    """Panels on pages of at most `per_page`, as equal as can be: `name`, `name-2`, `name-3`, ..."""
    n_pages = -(-len(panels) // per_page)
    bounds = [round(i * len(panels) / n_pages) for i in range(n_pages + 1)] if n_pages else [0]
    return {
        name if i == 0 else f"{name}-{i + 1}": list(panels[first:last])
        for i, (first, last) in enumerate(pairwise(bounds))
    }


def panel_grid(n: int, *, max_columns: int = 3, height: float = 2.1, sharey: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure with n panels in rows, and their axes."""
    columns = 2 if n in (2, 4) else min(n, max_columns)
    rows = -(-n // columns)
    width, margin = (TWO_COLUMNS, 0.4) if columns > 1 else (ONE_COLUMN, 0.9)
    figure = Figure(figsize=(width, height * rows + margin))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    for spare in grid.flat[n:]:
        spare.remove()
    return figure, list(grid.flat[:n])


def column_grid(
    n_rows: int, n_columns: int, height: float, *, sharey: Literal["row", "all"] = "row"
) -> tuple[Figure, np.ndarray]:
    """A figure with a column per panel and a row per measure, and its axes (row, column)."""
    figure = Figure(figsize=(TWO_COLUMNS if n_columns > 1 else ONE_COLUMN, height * n_rows + 0.4))
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=sharey, sharex="col")
    for axes in grid.flat:
        axes.tick_params(axis="x", labelsize=6)
    return figure, grid


def set_title(axes: Axes, text: str, *, size: float = 8.0, tick_label_width: float = 0.2) -> None:
    """A title at the left of a panel, wrapped before it runs into the next one."""
    grid = axes.get_subplotspec()
    figure = axes.get_figure(root=True)
    assert grid is not None
    assert figure is not None
    n_columns = grid.get_gridspec().ncols
    left = tick_label_width + (0 if n_columns > 1 else _LEFT_OF_LONE_PANEL)
    inches = figure.get_figwidth() / n_columns - left
    width = max(12, int(inches * 72 / (0.53 * size)))
    axes.set_title(_wrap(text, width), loc="left", size=size)


def set_x_label(figure: Figure, text: str) -> None:
    """One label below all panels, wrapped before it runs off the figure."""
    figure.supxlabel(wrap_to(text, figure.get_figwidth()))


def set_step_label(figure: Figure, grid: Sequence[Axes]) -> None:
    """The label of training steps below all panels."""
    set_x_label(figure, step_label(has_step_zero=any(map(shows_step_zero, grid))))


def wrap_to(text: str, inches: float, size: float = 8.0) -> str:
    """A text in lines of at most so many inches."""
    return _wrap(text, max(12, int(inches * 72 / (0.56 * size))))


def _label(figure: Figure, grid: Sequence[Axes], x_label: str | None, y_label: str, above: float) -> None:
    """Labels below and left of all panels; `above`: inches that the legend takes."""
    if x_label is None:
        set_step_label(figure, grid)
    else:
        set_x_label(figure, x_label)
    if y_label:
        height = figure.get_figheight()
        figure.supylabel(wrap_to(y_label, height - above), y=(height - above) / 2 / height)


def legend_above(figure: Figure, grid: Sequence[Axes], names: Mapping[str, str], *, columns: int = 2) -> float:
    """One legend for all panels: curve label -> text, in the order of `names`, without labels that no panel has.

    Texts are wrapped to the figure's width, and a narrow figure grows by what the legend takes from its panels.

    Returns:
        Height of the legend in inches.
    """
    names = {**names, **FLAG_NAMES}
    handles_by_label: dict[str, Any] = {}
    for axes in grid:
        handles, labels = axes.get_legend_handles_labels()
        handles_by_label |= dict(zip(map(str, labels), handles, strict=True))
    shown = [name for name in names if name in handles_by_label]
    columns = columns if figure.get_figwidth() > ONE_COLUMN else 1
    width = figure.get_figwidth() / columns - _HANDLE_WIDTH
    handles = [handles_by_label[name] for name in shown]
    texts = [wrap_to(names[name], width, _LEGEND_SIZE) for name in shown]
    if shown:
        figure.legend(handles, texts, loc="outside upper center", ncols=columns)
    n_lines = sum(text.count("\n") + 1 for text in texts)
    above = _LINE_HEIGHT * -(-n_lines // columns)
    if columns == 1:
        figure.set_figheight(figure.get_figheight() + max(0.0, above - _ROOM_FOR_LEGEND))
    return above


def _wrap(text: str, width: int) -> str:
    return "\n".join(fill(line, width, break_on_hyphens=False) for line in text.split("\n"))
