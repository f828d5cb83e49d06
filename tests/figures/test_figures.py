"""Figures: the right data on the axes, and files that come out the same every time."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import analysis
from figures import component_heatmap, emergence
from figures.__main__ import app
from figures.layout import panel_grid
from figures.style import CURVES, KINDS, ONE_COLUMN, PAIRS, TWO_COLUMNS
from figures.training_axis import format_step, set_step_axis, step_position


def test_emergence_draws_the_means_it_was_given(results: Path) -> None:
    table = analysis.run("emergence", results)
    axes = emergence.draw(table)["emergence"].axes
    assert len(axes) == table.select("task", "n_shots").n_unique()
    panel = table.filter(task="sentiment", centred=False)
    assert axes[0].get_title(loc="left") == "sentiment, 4-shot (6 prompts)"
    for curve in emergence.ORDER:
        look = CURVES[curve]
        lines = [line for line in axes[0].lines if line.get_color() == look["color"] and line.get_marker() != "None"]
        points = {float(x): float(y) for line in lines for x, y in zip(*line.get_data(), strict=True)}
        expected = panel.filter(curve=curve).sort("step")
        assert sorted(points) == sorted(step_position(expected["step"].to_numpy()).tolist())
        assert [points[x] for x in sorted(points)] == pytest.approx(expected["mean"].to_list())


def test_heatmap_rows_are_components_from_the_first_layer_up(results: Path) -> None:
    table = analysis.run("component_heatmap", results)
    axes = component_heatmap.draw(table)["component_heatmap"].axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["L0H0", "L0H1", "L0H2", "L0H3", "L0MLP", "L1H0", "L1H1", "L1H2", "L1H3", "L1MLP"]
    cell = table.filter(task="sentiment", step=4, component="L0MLP")["accuracy"].item()
    assert axes.images[0].get_array()[4, 1] == pytest.approx((cell - 0.5) / 0.5)


def test_step_zero_stands_apart_and_powers_of_two_evenly() -> None:
    positions = step_position([0, 1, 2, 4, 512])
    assert positions.tolist()[1:] == [0, 1, 2, 9]
    assert positions[0] < -1
    assert [format_step(s) for s in (0, 512, 1000, 1024, 143000)] == ["0", "512", "1k", "1024", "143k"]


@pytest.mark.parametrize(("last", "max_labels"), [(4, 4), (1024, 7), (143_000, 7)])
def test_labels_of_the_step_axis_stay_few(last: int, max_labels: int) -> None:
    axes = panel_grid(1)[1][0]
    set_step_axis(axes, [0, 1, last])
    shown = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
    assert shown[:2] == ["0", "1"]
    assert 3 <= len(shown) <= max_labels


def test_the_command_rejects_an_unknown_figure(results: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["emergense", "--results", str(results), "--out", str(tmp_path)])
    assert ended.exit_code == 2
    assert "unknown figure 'emergense'; did you mean 'emergence'" in ended.output


def test_every_curve_has_a_look_of_its_own() -> None:
    for family in (CURVES, KINDS, PAIRS):
        looks = [(look["color"], look["marker"], look["linestyle"]) for look in family.values()]
        assert len(set(looks)) == len(looks)
    assert not np.isnan([ONE_COLUMN, TWO_COLUMNS]).any()
