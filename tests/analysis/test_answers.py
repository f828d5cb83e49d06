"""Answers where prompts lack rows: every prompt is scored on the same examples."""

from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.reading.answers import read_answers
from analysis.reading.groups import groups
from dynamics.errors import StoreError
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(40) % 2


def test_examples_that_one_prompt_lacks_are_left_out_of_all(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for seed, n_skipped in ((0, 0), (1, 4)):
        add_unit(store, answering([0.5] * 10, GOLD, seed), GOLD, demo_seed=seed, n_skipped=n_skipped)
    (group,) = groups(store.root)
    (answers,) = read_answers(store.root, group)
    assert answers.credit.shape == (2, 36, 10, 2)
    assert answers.gold.tolist() == GOLD[:36].tolist()
    for name in ("emergence", "component_kinds", "diamond"):
        assert analysis.run(name, store.root)["n_examples"].unique().to_list() == [36]


def test_a_store_without_answers_raises(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no finished unit"):
        analysis.run("diamond", new_store(tmp_path / "none").root)
