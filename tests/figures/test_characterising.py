"""Figures of components' kinds and consistency: the axes show the numbers of the tables."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from figures import component_kinds, consistency, diamond
from figures.style import KINDS, PAIRS, PANEL
from figures.training_axis import step_position


def points(axes, look: dict) -> dict[float, float]:
    """Everything drawn in a look, as x -> y."""
    lines = [
        line
        for line in axes.lines
        if line.get_color() == look["color"] and line.get_marker() == look["marker"]
        and line.get_markerfacecolor() == look.get("markerfacecolor", look["color"])
    ]  # fmt: skip
    return {float(x): float(y) for line in lines for x, y in zip(*line.get_data(), strict=True)}


def test_kinds_draw_their_shares(results: Path) -> None:
    table = analysis.run("component_kinds", results)
    axes = component_kinds.draw(table)["component_kinds"].axes[0]
    panel = table.filter(task="sentiment")
    for kind, look in KINDS.items():
        rows = panel.filter(kind=kind).sort("step")
        values = points(axes, look)
        assert [values[x] for x in step_position(rows["step"].to_numpy())] == pytest.approx(rows["share"].to_list())


def test_diamond_has_one_dot_per_component_at_share_and_accuracy(results: Path) -> None:
    table = analysis.run("diamond", results)
    figure = diamond.draw(table)["diamond"]
    axes = figure.axes[1]  # sentiment, step 4
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections])
    rows = table.filter(task="sentiment", step=4, label=1)
    np.testing.assert_allclose(sorted(dots.tolist()), sorted(map(list, rows.select("share", "accuracy").rows())))
    assert axes.get_title(loc="left") == "step 4"


def test_steps_are_spread_from_first_to_last() -> None:
    assert diamond.spread([0, 4]) == [0, 4]
    steps = diamond.spread(list(range(0, 154000, 1000)))
    assert (steps[0], steps[-1], len(steps)) == (0, 153000, diamond.MAX_STEPS)


def test_consistency_draws_r_above_and_iou_below(results: Path) -> None:
    table = analysis.run("consistency", results)
    axes = consistency.draw(table)["consistency"].axes
    panels = table.partition_by(PANEL, maintain_order=True)
    for axis, measure in ((axes[0], "r"), (axes[len(panels)], "iou")):
        rows = panels[0].filter(across="templates").sort("step")
        values = points(axis, PAIRS["templates"])
        assert [values[x] for x in step_position(rows["step"].to_numpy())] == pytest.approx(rows[measure].to_list())


def test_many_panels_turn_pages(results: Path) -> None:
    table = analysis.run("consistency", results)
    many = pl.concat([table.with_columns(model=pl.lit(f"m{i}")) for i in range(3)])
    pages = consistency.draw(many)
    assert len(pages) == -(-len(many.partition_by(PANEL)) // 4)
    assert list(pages)[:2] == ["consistency", "consistency-2"]
