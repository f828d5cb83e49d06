"""The paper's tables and the methods over training, from planted scores."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.paper_tables import PAPER_MODEL
from dynamics.errors import StoreError
from tests.stores import add_unit, answering, new_store

TWO, THREE = np.arange(60) % 2, np.arange(60) % 3


def method(name: str, accuracy: float | None, variant: str = "default", k: int = 12, **more: object) -> dict:
    """A row of `prompt_scores`."""
    return {"method": name, "variant": variant, "n_labelled": k, "accuracy": accuracy, **more}


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """The paper's model on two of its tasks and one other, two seeds; mnli with three demonstrations."""
    store = new_store(tmp_path / "out")
    for task, gold, shots in (("sst2", TWO, 4), ("mnli", THREE, 3), ("yelp", TWO, 4)):
        for seed in (0, 1):
            rows = [
                method("comp_rw", 0.7 + 0.1 * seed),
                method("comp_rw", 0.6, "paper", 24),
                method("calib_plus", None if seed else 0.65, reason="overlong" if seed else None),
                method("heldout_t1", 0.5, "split_half", 0),
            ]
            full = answering([0.6], gold)[:, 0]
            keys = {"model": PAPER_MODEL, "task": task, "n_shots": shots, "demo_seed": seed}
            add_unit(store, answering([0.9] + [0.3] * 9, gold, seed), gold, full=full, scores=rows, **keys)
    add_unit(store, answering([0.9] * 10, TWO), TWO, model=PAPER_MODEL, n_shots=12, full=TWO)
    return store.root


def test_paper_tables_average_over_the_papers_tasks_beside_the_papers_numbers(planted: Path) -> None:
    table = analysis.run("paper_tables", planted)
    assert table.columns[7:] == ["sst2", "mnli", "yelp", "average", "n_tasks", "paper", "flagged"]
    rows = {(r["method"], r["variant"], r["n_labelled"], r["shots"]): r for r in table.to_dicts()}
    full = rows["full", "", 0, 4]
    assert (full["sst2"], full["average"], full["n_tasks"], full["paper"]) == pytest.approx((60, 60, 2, 61.2))
    assert rows["oracle_t1", "", 0, 4]["paper"] == 66.6
    assert rows["oracle_b1", "", 0, 4]["average"] == pytest.approx(30)
    assert rows["comp_rw", "default", 12, 4]["mnli"] == pytest.approx(75)
    assert rows["comp_rw", "default", 12, 4]["paper"] == 68.8
    assert rows["comp_rw", "paper", 24, 4]["paper"] == 69.8
    assert rows["calib_plus", "default", 12, 4]["average"] == pytest.approx(65)
    assert rows["heldout_t1", "split_half", 0, 4]["paper"] is None
    assert rows["full", "", 0, 12]["paper"] == 62.8  # twelve demonstrations: the paper's Standard
    assert rows["oracle_t1", "", 0, 12]["paper"] is None


def test_other_models_have_no_paper_column_filled_and_controls_alone_raise(results: Path, tmp_path: Path) -> None:
    table = analysis.run("paper_tables", results)
    assert table["paper"].null_count() == len(table)
    assert table["step"].unique().to_list() == [4]
    assert table.filter(shots=4)["n_tasks"].unique().to_list() == [1]
    store = new_store(tmp_path / "out")
    add_unit(store, answering([0.5] * 10, TWO), TWO, control="random_init")
    with pytest.raises(StoreError, match="holds scores of controls only"):
        analysis.run("paper_tables", store.root)


def test_gain_is_paired_with_the_full_model_of_the_same_prompt(planted: Path) -> None:
    table = analysis.run("reweighting_gain", planted).filter(task="sst2", n_shots=4)
    gains = table.filter(method="comp_rw", variant="default").row(0, named=True)
    assert (gains["accuracy"], gains["gain"], gains["n_prompts"]) == pytest.approx((0.75, 0.15, 2))
    assert gains["gain_sd"] == pytest.approx(np.std([0.1, 0.2], ddof=1))
    calibrated = table.filter(method="calib_plus").row(0, named=True)
    assert (calibrated["accuracy"], calibrated["n_prompts"], calibrated["n_missing"]) == (0.65, 1, 1)
    assert calibrated["reason"] == "overlong"
    assert table.filter(method="full")["gain"].item() == 0
    assert table.filter(method="centred_full")["gain_over_centred"].item() == 0
    full, centred = (table.filter(method=method)["accuracy"].item() for method in ("full", "centred_full"))
    assert gains["gain_over_centred"] == pytest.approx(gains["gain"] + full - centred)


def test_gain_holds_what_there_is(results: Path) -> None:
    table = analysis.run("reweighting_gain", results)
    expected = analysis.load(results, "prompt_scores").filter(pl.col("method") == "full").collect()
    full = table.filter(method="full")
    assert full["n_prompts"].sum() == len(expected)
    assert (full["accuracy"] * full["n_prompts"]).sum() == pytest.approx(expected["accuracy"].sum())
