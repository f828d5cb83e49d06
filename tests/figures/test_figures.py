"""Figures: the right data on the axes, and files that come out the same every time."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from typer.testing import CliRunner

import analysis
from figures import component_heatmap, emergence
from figures.__main__ import app
from figures.drawing import FIGURES
from figures.layout import panel_grid
from figures.style import CURVES, FAINT, KINDS, ONE_COLUMN, PAIRS, TWO_COLUMNS
from figures.training_axis import format_step, largest_fit, set_step_axis, step_position


def points(axes: Axes, curve: str) -> dict[float, float]:
    """x -> y of a curve's markers."""
    lines = [line for line in axes.lines if line.get_color() == CURVES[curve]["color"] and line.get_marker() != "None"]
    return {float(x): float(y) for line in lines for x, y in zip(*line.get_data(), strict=True)}


def test_emergence_draws_the_means_it_was_given(results: Path) -> None:
    table = analysis.run("emergence", results)
    pictures = emergence.draw(table)
    raw, centred = pictures["emergence"].axes[::2]
    paper = pictures["emergence_paper"].axes[0]
    assert len(pictures["emergence_paper"].axes) == table.select("task", "n_shots").n_unique()
    for axes in (raw, paper):
        assert axes.get_title(loc="left") == "sentiment, 4-shot (6 prompts)"
    assert (raw.get_ylabel(), centred.get_ylabel()) == ("as they are", "less label bias")
    for axes, curves, form in (
        (raw, emergence.HEADLINE, False),
        (centred, emergence.HEADLINE, True),
        (paper, emergence.ORDER, False),
    ):
        for curve in curves:
            rows = largest_fit(table.filter(task="sentiment", centred=form, curve=curve)).sort("step")
            expected = dict(zip(step_position(rows["step"].to_numpy()).tolist(), rows["mean"], strict=True))
            assert points(axes, curve) == pytest.approx(expected)
            assert bool(expected) == (curve not in ("COMP RW", "Calib+"))


def test_optimistic_bounds_are_faint_and_named(results: Path) -> None:
    pictures = emergence.draw(analysis.run("emergence", results))
    for picture, shown in (("emergence", {"T1"}), ("emergence_paper", {"T1", "B1"})):
        lines = [line for line in pictures[picture].axes[0].lines if line.get_label() in CURVES]
        assert {str(line.get_label()) for line in lines if line.get_alpha() == FAINT} == shown
        texts = [" ".join(text.get_text().split()) for text in pictures[picture].legends[0].get_texts()]
        assert sum("T1: " in text and "an optimistic bound" in text for text in texts) == 1


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


def test_what_single_components_do_follows_what_the_curves_do() -> None:
    names = list(FIGURES)
    assert names[:5] == ["bias_or_knowledge", "emergence", "onsets", "component_heatmap", "component_onsets"]


def test_the_page_on_reading_has_the_order_of_the_report() -> None:
    headings = re.findall(r"^## .*`(\w+)`$", Path("docs/reading-figures.md").read_text(), flags=re.MULTILINE)
    assert len(headings) > 5
    assert headings == [name for name in FIGURES if name in headings]


def test_files_are_said_in_one_line_for_a_figure(results: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["onsets", "--results", str(results), "--out", str(tmp_path)])
    assert ended.exit_code == 0, ended.output
    (line, where) = ended.output.splitlines()
    assert line.startswith("onsets: ")
    assert set(line.removeprefix("onsets: ").split(", ")) >= {".svg", ".pdf"}
    assert where == f"written to {tmp_path}"


def test_all_figures_end_with_the_page_to_open(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("figures.drawing.drawn_by_default", list)
    ended = CliRunner().invoke(app, ["--results", str(results), "--out", str(tmp_path)])
    assert ended.output.splitlines()[-1] == f"open {tmp_path / 'index.html'} in a browser"
