"""Figures of seeds and of the paper's curve; marks of checkpoints that are left out."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from figures import component_heatmap, emergence, paper_dynamics, seed_matching, seed_spread
from figures.captions import missing_checkpoints
from figures.drawing import draw
from figures.layout import pages, panel_grid, set_title
from figures.style import FLAG_NAMES
from figures.training_axis import flagged_and_missing, set_step_axis, step_position
from tests.figures.test_methods import curve_values
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(60) % 2
STEPS = (1, 4, 16, 64)


@pytest.fixture(scope="module")
def flagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of Pythia-6.9B on two-label AGNews; step 4 is quarantined, steps 16 and 32 hold the same weights."""
    store = new_store(tmp_path_factory.mktemp("flagged") / "out")
    flags = {4: ["quarantined"], 16: ["duplicate"], 32: ["duplicate"]}
    for model in ("pythia-6.9b", "pythia-6.9b-seed1"):
        for step in (1, 4, 16, 32, 64, 512):
            for seed in (0, 1):
                answers = answering([0.5 + step / 2000, *[0.5] * 9], GOLD, seed)
                add_unit(
                    store,
                    answers,
                    GOLD,
                    model=model,
                    task="agnews",
                    step=step,
                    demo_seed=seed,
                    flags=flags.get(step, ()),
                )
    return store.root


def test_checkpoints_that_are_left_out_are_marked_and_named(flagged: Path) -> None:
    table = analysis.run("emergence", flagged)
    figure = emergence.draw(table)["emergence"]
    marks = {
        str(line.get_label()): line.get_xdata() for line in figure.axes[0].lines if "flag" in str(line.get_label())
    }
    assert np.asarray(marks["flag quarantined"]).tolist() == step_position([4]).tolist()
    assert np.asarray(marks["flag duplicate"]).tolist() == step_position([16, 32]).tolist()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(FLAG_NAMES.values()) <= set(legend)
    sentence = missing_checkpoints(table)
    assert "4 (quarantined), 16 (duplicate) and 32 (duplicate)" in sentence
    assert sentence.count("pythia-6.9b") == 2


def test_a_valid_flagged_step_is_not_marked() -> None:
    table = pl.DataFrame({"model": "m", "step": [0, 8], "flagged": "0:duplicate 1:duplicate 4:duplicate+quarantined"})
    assert flagged_and_missing(table) == {1: "duplicate", 4: "duplicate+quarantined"}
    assert (
        missing_checkpoints(table) == " Left out, and marked: of m steps 1 (duplicate) and 4 (duplicate, quarantined)."
    )


def test_the_heatmap_keeps_a_column_for_what_is_left_out(flagged: Path) -> None:
    axes = component_heatmap.draw(analysis.run("component_heatmap", flagged))["component_heatmap"].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4", "16", "32", "64", "512"]
    values = np.ma.filled(np.ma.asarray(axes.images[0].get_array()), np.nan)
    assert np.isnan(values[:, 1:4]).all()
    assert not np.isnan(values[:, [0, 4, 5]]).any()


def test_seeds_are_drawn_as_mean_and_range(flagged: Path) -> None:
    table = analysis.run("seed_spread", flagged)
    (axes,) = seed_spread.draw(table)["seed_spread"].axes
    assert axes.get_title(loc="left").replace("\n", " ") == "pythia-6.9b: agnews, 4-shot (2 seeds)"
    rows = table.filter(curve="T1").sort("step")
    assert curve_values(axes, "T1", rows["step"].to_list()) == pytest.approx(rows["mean"].to_list())


def test_matched_components_are_drawn_above_their_accuracies(flagged: Path) -> None:
    table = analysis.run("seed_matching", flagged).sort("step")
    above, below = seed_matching.draw(table)["seed_matching"].axes
    steps = table["step"].to_list()
    assert curve_values(above, "kappa_matched", steps) == pytest.approx(table["kappa_matched"].to_list())
    assert curve_values(below, "counterpart", steps) == pytest.approx(table["counterpart"].to_list())


def test_a_run_is_drawn_beside_the_paper(flagged: Path) -> None:
    table = analysis.run("paper_dynamics", flagged)
    curves, differences = paper_dynamics.draw(table)["paper_dynamics"].axes
    assert curve_values(curves, "T1, paper", [512, 143000]) == pytest.approx([0.327, 0.747])
    own = table.filter(pl.col("curve") == "T1", pl.col("mean").is_not_null())
    assert curve_values(curves, "T1", own["step"].to_list()) == pytest.approx(own["mean"].to_list())
    difference = table.filter(curve="Full", step=512)["in_sds"].to_list()
    assert curve_values(differences, "Full", [512]) == pytest.approx(difference)
    assert "Largest difference" in paper_dynamics.caption(table)


def test_the_paper_is_not_drawn_without_a_run_of_its_model(results: Path, tmp_path: Path) -> None:
    figure = draw("paper_dynamics", results, tmp_path)
    assert figure.pictures == ()
    assert figure.missing.startswith("No run of EleutherAI/pythia-6.9b on agnews")


def test_a_single_checkpoint_has_an_axis() -> None:
    axes = panel_grid(1)[1][0]
    for steps in ([0], [1], [143000]):
        set_step_axis(axes, steps)
        low, high = axes.get_xlim()
        assert low < step_position(steps)[0] < high


def test_long_titles_are_broken_within_their_panel() -> None:
    axes = panel_grid(9)[1][0]
    set_title(axes, "a-very-long-model-name-1.4b-deduped: boolq_cst, 4-shot, shuffled labels (15 prompts)")
    assert max(map(len, axes.get_title(loc="left").split("\n"))) < 45


def test_pages_are_as_equal_as_can_be() -> None:
    sizes = {name: len(page) for name, page in pages("x", range(16), 9).items()}
    assert sizes == {"x": 8, "x-2": 8}
    assert pages("x", [], 9) == {}
