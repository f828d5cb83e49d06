"""Controls beside the right trained step, with intervals over seeds and the accuracy expected by chance."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(100) % 2


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    store = new_store(tmp_path / "out")
    for step, best in ((0, 0.6), (8, 0.8), (16, 0.9)):
        for seed in (0, 1):
            answers = answering([best - 0.1 * seed] + [0.5] * 9, GOLD, seed)
            add_unit(store, answers, GOLD, full=answers[:, 0], step=step, demo_seed=seed)
    for control, step, best in (("random_init", 32, 0.55), ("shuffled_labels", 8, 0.65)):
        extra = [{"method": "comp_rw", "variant": "default", "n_labelled": 12, "accuracy": 0.5}]
        add_unit(store, answering([best] + [0.5] * 9, GOLD), GOLD, step=step, control=control, scores=extra)
    return store.root


def test_each_control_is_compared_with_its_step_or_the_last(planted: Path) -> None:
    table = analysis.run("controls", planted).filter(method="oracle_t1")
    by_control = {row["control"]: row for row in table.to_dicts()}
    assert list(by_control) == ["random_init", "shuffled_labels", "step 0"]
    numbers = {
        name: (r["step"], r["accuracy"], r["trained_step"], r["trained_accuracy"]) for name, r in by_control.items()
    }
    assert numbers["random_init"] == pytest.approx((32, 0.55, 16, 0.85))  # no trained step 32: the last
    assert numbers["shuffled_labels"] == pytest.approx((8, 0.65, 8, 0.75))
    assert numbers["step 0"] == pytest.approx((0, 0.55, 16, 0.85))
    assert by_control["step 0"]["sd"] == pytest.approx(np.std([0.6, 0.5], ddof=1))
    assert by_control["step 0"]["chance"] == 0.5


def test_methods_that_only_a_control_has_are_kept_without_a_trained_number(planted: Path) -> None:
    table = analysis.run("controls", planted).filter(method="comp_rw")
    assert table["control"].to_list() == ["random_init", "shuffled_labels"]
    assert table["trained_accuracy"].to_list() == [None, None]


def test_without_controls_or_step_zero_the_table_is_empty(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, step=4)
    assert analysis.run("controls", store.root).is_empty()


def test_seeds_of_a_control_are_averaged_and_the_interval_is_over_them(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    right = {0: (0.50, 0.54), 1: (0.44, 0.48), 2: (0.55, 0.55)}
    for seed, of_prompts in right.items():
        for demo_seed, share in enumerate(of_prompts):
            full = answering([share], GOLD, seed)[:, 0]
            keys = {"control": f"shuffled_labels-{seed}", "demo_seed": demo_seed, "step": 8}
            add_unit(store, answering([0.5] * 10, GOLD), GOLD, full=full, **keys)
    (row,) = analysis.run("controls", store.root).filter(method="full").to_dicts()
    means = [0.52, 0.46, 0.55]
    half_width = 4.302653 * np.std(means, ddof=1) / np.sqrt(3)  # t(0.975) with 2 degrees of freedom, from a table
    assert (row["control"], row["n_seeds"], row["n_prompts"], row["n_examples"]) == ("shuffled_labels", 3, 6, 100)
    assert (row["accuracy"], row["seed_sd"]) == pytest.approx((np.mean(means), np.std(means, ddof=1)))
    assert (row["low"], row["high"]) == pytest.approx(
        (np.mean(means) - half_width, np.mean(means) + half_width), abs=1e-6
    )
    assert row["sd"] == pytest.approx(np.std([0.50, 0.54, 0.44, 0.48, 0.55, 0.55], ddof=1))
    assert row["distance"] == pytest.approx((np.mean(means) - 0.5) / (0.5 / np.sqrt(300)))
    assert (row["expected"], row["trained_step"]) == (0.5, None)


def test_one_seed_has_no_interval(planted: Path) -> None:
    table = analysis.run("controls", planted).filter(pl.col("control") != "step 0")
    assert (table["n_seeds"] == 1).all()
    assert table.select("seed_sd", "low", "high").null_count().row(0) == (len(table),) * 3


def test_expected_t1_is_the_best_of_many_guessers(tmp_path: Path) -> None:
    """T1 of ten components that guess is as expected, above chance; B1 below it."""
    store = new_store(tmp_path / "out")
    for seed in range(6):
        guesses = np.random.default_rng(seed).integers(0, 2, (100, 10))
        add_unit(store, guesses, GOLD, control=f"random_init-{seed}")
    by_method = {row["method"]: row for row in analysis.run("controls", store.root).to_dicts()}
    best, worst = by_method["oracle_t1"], by_method["oracle_b1"]
    # the mean of the largest of ten independent accuracies on 100 balanced rows: 1.54 SDs of .05 above .5
    assert best["expected"] == pytest.approx(0.5 + 1.54 * 0.05, abs=0.01)
    assert worst["expected"] == pytest.approx(0.5 - 1.54 * 0.05, abs=0.01)
    assert best["low"] < best["expected"] < best["high"]
    assert by_method["full"]["expected"] == by_method["full"]["chance"] == 0.5
