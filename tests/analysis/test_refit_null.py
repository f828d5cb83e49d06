"""The null of fits: shuffled training labels, on results of a sweep and on planted refits."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis import refit_null as module
from analysis.refit_null import refit_null, upper_band
from dynamics.results.places import place
from figures import refit_null as figure
from figures.drawing import drawn_by_default


@pytest.fixture(scope="module")
def table(results: Path) -> pl.DataFrame:
    return refit_null(place(results), 100)


def test_accuracy_is_that_of_reweighting_gain_and_the_true_refit_agrees(results: Path, table: pl.DataFrame) -> None:
    keys = ["task", "n_shots", "step", "method", "variant", "n_labelled"]
    gain = analysis.run("reweighting_gain", results).filter(pl.col("method").is_in(["comp_rw", "calib_plus"]))
    both = table.join(gain.drop_nulls("accuracy"), on=keys, suffix="_stored")
    assert len(both) == len(gain.drop_nulls("accuracy")) > 0
    assert both["accuracy"].to_list() == pytest.approx(both["accuracy_stored"].to_list())
    assert (table["difference"] * table["n_examples"] <= 1).all()
    assert set(table["method"]) == {"comp_rw", "centred_comp_rw", "calib_plus"}


def test_quantiles_are_in_order_and_the_band_above_them(table: pl.DataFrame) -> None:
    assert (table["refit_null_mean"] <= table["refit_null_q95"] + 1e-9).all()
    assert (table["refit_null_q95"] <= table["refit_null_q99"]).all()
    assert (table["band"] >= table["refit_null_q95"] - 1e-9).all()
    assert (table["above"] == (table["accuracy"] > table["band"])).all()
    assert table["n_shuffles"].unique().to_list() == [100]


def test_the_band_is_exceeded_anywhere_at_its_level() -> None:
    """Skewed refits with an upper end, as near a full model that is right: of new curves, 1 % are above at any step."""
    rng = np.random.default_rng(0)
    exceeded, ends = [], []
    for _ in range(40):
        curves = np.minimum(0.5 + 0.5 * rng.beta(0.6, 1.5, (10, 300)) + 0.02 * rng.normal(size=(10, 300)), 1)
        band = upper_band(curves[:, :100])
        exceeded.append((curves[:, 100:] > band[:, None]).any(0).mean())
        ends.append(band.max())
    assert np.mean(exceeded) < 0.02
    assert max(ends) <= 1


def test_other_settings_under_a_built_in_name_have_no_rows(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.VARIANTS, "default", module.VARIANTS["paper"])
    assert "default" not in refit_null(place(results), 99)["variant"].to_list()


def test_a_band_needs_enough_shuffles(results: Path) -> None:
    with pytest.raises(ValueError, match="needs at least 99 permutations"):
        refit_null(place(results), 20)


def test_the_figure_draws_each_method_and_only_by_name(table: pl.DataFrame) -> None:
    assert "refit_null" not in drawn_by_default()
    task = table.filter(task="wordmap", n_shots=0)
    axes = figure.draw(task)["refit_null"].axes
    assert len(axes) == 3
    (line,) = [line for line in axes[0].lines if line.get_label() == "COMP RW"]
    rows = task.filter(method="comp_rw", variant="default").sort("step").filter(pl.col("step") > 0)
    rows = rows.filter(n_labelled=rows["n_labelled"].max())
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx(rows["accuracy"].to_list())
    assert "COMP RW is above its band" in figure.caption(task)


def test_the_null_is_of_the_shuffles_alone_and_of_common_prompts() -> None:
    """Stored and refitted to true labels .9; to shuffled labels .5, at step 2 .4 for a prompt that step 1 lacks."""
    prompt = np.array([0.9, 0.85, *[0.5] * 99])
    other = np.array([0.1, 0.1, *[0.4] * 99])
    rows = list(module.beside_null({2: {("a", 0): prompt, ("b", 0): other}, 1: {("a", 0): prompt}}, 99))
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert row["accuracy"] == 0.9
        assert row["refit_null_mean"] == row["refit_null_q99"] == row["band"] == pytest.approx(0.5)
        assert row["difference"] == pytest.approx(0.05)
        assert row["above"] is True
        assert row["n_prompts"] == 1
