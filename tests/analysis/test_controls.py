"""Controls stand beside the right trained step."""

from pathlib import Path

import numpy as np
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
    found = {row["control"]: row for row in table.to_dicts()}
    assert list(found) == ["random_init", "shuffled_labels", "step 0"]
    numbers = {name: (r["step"], r["accuracy"], r["trained_step"], r["trained_accuracy"]) for name, r in found.items()}
    assert numbers["random_init"] == pytest.approx((32, 0.55, 16, 0.85))  # no trained step 32: the last
    assert numbers["shuffled_labels"] == pytest.approx((8, 0.65, 8, 0.75))
    assert numbers["step 0"] == pytest.approx((0, 0.55, 16, 0.85))
    assert found["step 0"]["sd"] == pytest.approx(np.std([0.6, 0.5], ddof=1))
    assert found["step 0"]["chance"] == 0.5


def test_methods_that_only_a_control_has_are_kept_without_a_trained_number(planted: Path) -> None:
    table = analysis.run("controls", planted).filter(method="comp_rw")
    assert table["control"].to_list() == ["random_init", "shuffled_labels"]
    assert table["trained_accuracy"].to_list() == [None, None]


def test_without_controls_or_step_zero_the_table_is_empty(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, step=4)
    assert analysis.run("controls", store.root).is_empty()
