"""Planted answers in two dtypes: the table shows the planted changes."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import analysis
from dynamics.errors import StoreError
from jobs.sweep import app
from tests.models import write_plan
from tests.stores import N_CANDIDATES, add_unit, answering, new_store

GOLD = np.arange(40) % 2


def test_planted_changes_are_measured(tmp_path: Path) -> None:
    """In bfloat16 candidate 0 answers 4 of 40 rows otherwise, and the full model 2."""
    store = new_store(tmp_path)
    answers = answering([1.0, *[0.5] * (N_CANDIDATES - 1)], GOLD)
    narrow, full = answers.copy(), GOLD.copy()
    narrow[:4, 0], full[:2] = 1 - narrow[:4, 0], 1 - full[:2]
    for seed in (0, 1):
        add_unit(store, answers, GOLD, demo_seed=seed)
        add_unit(store, narrow, GOLD, full=full, demo_seed=seed, dtype="bfloat16")
    (row,) = analysis.run("precision", tmp_path).to_dicts()
    assert (row["dtype"], row["step"], row["n_prompts"], row["n_examples"]) == ("bfloat16", 0, 2, 40)
    assert row["full_difference"] == pytest.approx(-0.05)
    assert row["t1_difference"] == pytest.approx(-0.1)
    assert row["component_difference"] == pytest.approx(0.1 / N_CANDIDATES)
    assert row["component_difference_max"] == pytest.approx(0.1)
    assert row["full_agreement"] == pytest.approx(0.95)
    assert row["component_agreement"] == pytest.approx(1 - 0.1 / N_CANDIDATES)


def test_only_steps_and_prompts_of_both_count(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    answers = answering([0.5] * N_CANDIDATES, GOLD)
    for step in (0, 2, 4):
        add_unit(store, answers, GOLD, step=step)
    for step in (1, 2, 3, 4):
        add_unit(store, answers, GOLD, step=step, dtype="float16")
    add_unit(store, answers, GOLD, step=4, dtype="float16", demo_seed=7)
    table = analysis.run("precision", tmp_path)
    assert table["step"].to_list() == [2, 4]
    assert table["n_prompts"].to_list() == [1, 1]
    assert table["component_agreement"].to_list() == [1, 1]


def test_one_dtype_alone_has_no_rows(tmp_path: Path) -> None:
    add_unit(new_store(tmp_path), answering([0.5] * N_CANDIDATES, GOLD), GOLD)
    assert analysis.run("precision", tmp_path).is_empty()


def test_other_test_rows_raise(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for dtype, gold in (("float32", GOLD), ("float16", 1 - GOLD)):
        add_unit(store, answering([0.5] * N_CANDIDATES, gold), gold, dtype=dtype)
    with pytest.raises(StoreError, match="other test rows than float32"):
        analysis.run("precision", tmp_path)


def test_two_sweeps_into_one_folder(tmp_path: Path, suite_folder: Path) -> None:
    """The tiny suite in bfloat16 beside its float32 results: both have rows, and nearly all answers agree."""
    tasks = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_shots": [4], "n_test": 40}]
    for dtype in ("float32", "bfloat16"):
        plan = write_plan(tmp_path / f"{dtype}.toml", suite_folder, tasks=tasks, dtype=dtype, name=dtype)
        ended = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out"), "--executor", "inline"])
        assert ended.exit_code == 0, ended.output
    table = analysis.run("precision", tmp_path / "out")
    assert table["dtype"].unique().to_list() == ["bfloat16"]
    assert table["step"].to_list() == [0, 4]
    assert table["component_agreement"].min() > 0.8
    assert table["component_agreement"].min() < 1
