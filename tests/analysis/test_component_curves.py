"""Curves of components: means of what is stored, equal to the other tables where they say the same."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import analysis
from analysis import component_curves
from tests.stores import COMPONENTS, N_CANDIDATES, add_unit, answering, new_store

GOLD = np.arange(12) % 2
KEYS = ["model", "dtype", "control", "task", "n_shots", "step", "component"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps; a template of three seeds and one of two, with other answers."""
    root = tmp_path_factory.mktemp("curves") / "out"
    made = new_store(root)
    for step in (0, 8):
        for seed, template in [(0, "paper"), (1, "paper"), (2, "paper"), (0, "other"), (1, "other")]:
            right = np.linspace(0.1, 0.9, N_CANDIDATES) * (0.5 if template == "other" else 1)
            answers = answering(right.tolist(), GOLD, seed=step + seed)
            full = np.where(np.arange(12) < 6 + step // 2, GOLD, 0)
            add_unit(made, answers, GOLD, full=full, step=step, template=template, demo_seed=seed)
    return root


def test_equal_to_the_other_tables_where_they_say_the_same(store: Path) -> None:
    table = analysis.run("component_curves", store)
    pooled = table.filter(pl.col("kind") != "Full", template="")
    for name, columns in {
        "component_heatmap": ["accuracy", "n_prompts", "n_examples"],
        "label_bias_by_component": ["accuracy", "centred_accuracy"],
    }.items():
        other = analysis.run(name, store).select(*KEYS, *columns).sort(KEYS)
        mine = pooled.select(*KEYS, *columns).sort(KEYS)
        assert len(other) == len(mine) == 2 * len(COMPONENTS)
        assert_frame_equal(mine, other, check_dtypes=False)
    diamond = analysis.run("diamond", store).filter(label=1).select(*KEYS, "accuracy", "share", "top_share").sort(KEYS)
    mine = pooled.select(*KEYS, "accuracy", "share", "top_share").sort(KEYS)
    assert_frame_equal(mine.join(diamond.select(KEYS), on=KEYS, how="semi"), diamond)
    assert len(diamond) == 2 * N_CANDIDATES


def test_the_full_model_is_that_of_the_curves(store: Path) -> None:
    table = analysis.run("component_curves", store).filter(kind="Full", template="")
    curves = analysis.run("emergence", store).filter(curve="Full")
    for centred, column in ((False, "accuracy"), (True, "centred_accuracy")):
        assert table[column].to_list() == pytest.approx(curves.filter(centred=centred).sort("step")["mean"].to_list())
    assert table.filter(step=0)["share"].to_list() == pytest.approx([3 / 12])


def test_a_template_alone(store: Path) -> None:
    table = analysis.run("component_curves", store).filter(step=8, component="L1H3")
    by_template = {row["template"]: row for row in table.iter_rows(named=True)}
    assert {name: row["n_prompts"] for name, row in by_template.items()} == {"": 5, "paper": 3, "other": 2}
    pooled = (3 * by_template["paper"]["accuracy"] + 2 * by_template["other"]["accuracy"]) / 5
    assert by_template[""]["accuracy"] == pytest.approx(pooled)
    assert by_template["other"]["accuracy"] < by_template["paper"]["accuracy"]


def test_no_mean_over_some_of_the_prompts(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_one(results: Path, table: str) -> pl.LazyFrame:
        gone = (pl.col("template") == "other") & (pl.col("component") == "L0H0")
        return rows(results, table).with_columns(centred_accuracy=pl.when(~gone).then("centred_accuracy"))

    rows = component_curves.valid_rows
    monkeypatch.setattr(component_curves, "valid_rows", without_one)
    table = component_curves.component_curves(store).filter(step=0, component="L0H0")
    assert {row["template"]: row["centred_accuracy"] is None for row in table.iter_rows(named=True)} == {
        "": True,
        "other": True,
        "paper": False,
    }
