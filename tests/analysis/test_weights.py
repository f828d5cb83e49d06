"""Planted weights: sparsity, effective number and likeness to the final ones, by hand."""

from pathlib import Path

import numpy as np
import pytest

import analysis
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(20) % 2
ANSWERS = answering([0.5] * 10, GOLD)
FINAL = [2.0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
BEFORE = [1.0, 1, 0, 0, 0, 0, 0, 0, -1, 0.005]


def test_planted_weights_are_described(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step, weights in ((1, BEFORE), (2, FINAL)):
        for seed in (0, 1):
            add_unit(store, ANSWERS, GOLD, step=step, demo_seed=seed, weights=[("default", 12, weights)])
    before, final = analysis.run("weights", store.root).to_dicts()
    assert (before["step"], before["final_step"], before["n_prompts"], before["n_components"]) == (1, 2, 2, 10)
    assert (before["zero"], before["negative"]) == pytest.approx((0.7, 0.1))
    assert before["n_effective"] == pytest.approx(3.005**2 / (3 + 0.005**2))
    assert before["cosine"] == pytest.approx(2 / (2 * np.sqrt(3 + 0.005**2)))
    change, end = np.array(BEFORE) - 1, np.array(FINAL) - 1
    assert before["change_cosine"] == pytest.approx(change @ end / np.sqrt((change @ change) * (end @ end)))
    assert before["on_heads"] == pytest.approx(3 / 3.005)  # the last candidate is the second layer's MLP
    assert (final["zero"], final["n_effective"], final["cosine"], final["cosine_sd"]) == pytest.approx((0.9, 1, 1, 0))


def test_weights_that_have_not_moved_have_no_direction_of_change(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, ANSWERS, GOLD, weights=[("default", 12, [1.0] * 10), ("paper", 12, [0.0] * 10)])
    default, paper = analysis.run("weights", store.root).to_dicts()
    assert (default["n_effective"], default["cosine"], default["change_cosine"]) == (10, pytest.approx(1), None)
    assert (paper["variant"], paper["zero"], paper["n_effective"], paper["cosine"]) == ("paper", 1, None, None)


def test_prompts_that_a_step_lacks_are_left_out(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step, seed in ((1, 0), (1, 1), (2, 0)):
        add_unit(store, ANSWERS, GOLD, step=step, demo_seed=seed, weights=[("default", 12, FINAL)])
    assert analysis.run("weights", store.root)["n_prompts"].to_list() == [1, 1]


def test_without_fits_the_table_is_empty(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, ANSWERS, GOLD)
    assert analysis.run("weights", store.root).is_empty()
