"""Chosen on one task, scored on another: planted winners, both ways of matching, and what cannot be paired."""

from pathlib import Path

import numpy as np
import pytest

import analysis
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(100) % 2
YELP = {"task": "yelp", "demonstrations_of": "sst2"}
SOURCE = {0: [0.9, 0.6] + [0.5] * 8, 1: [0.6, 0.8] + [0.5] * 8}
TARGET = {0: [0.7, 0.3, 0.75] + [0.5] * 7, 1: [0.2, 0.65, 0.6] + [0.5] * 7}
"""Per seed: the source's best component is 0, then 1; the target's 2, then 1."""


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    store = new_store(tmp_path / "out")
    for seed in (0, 1):
        add_unit(store, answering(SOURCE[seed], GOLD, seed), GOLD, task="sst2", demo_seed=seed)
        full = answering([0.55], GOLD)[:, 0]
        add_unit(store, answering(TARGET[seed], GOLD, seed), GOLD, full=full, demo_seed=seed, **YELP)
    return store.root


def test_the_published_pair_is_matched_prompt_by_prompt(planted: Path) -> None:
    row = analysis.run("transfer", planted).filter(matched="prompt").row(0, named=True)
    assert (row["source"], row["target"], row["n_prompts"]) == ("sst2", "yelp", 2)
    assert row["transfer_1"] == pytest.approx((0.7 + 0.65) / 2)
    assert row["oracle_1"] == pytest.approx((0.75 + 0.65) / 2)
    assert row["full"] == pytest.approx(0.55)
    assert row["same"] == 0.5
    assert row["chance"] == 0.5


def test_all_ordered_pairs_are_matched_by_the_mean_over_prompts(planted: Path) -> None:
    table = analysis.run("transfer", planted).filter(matched="task")
    by_pair = {(row["source"], row["target"]): row for row in table.to_dicts()}
    assert len(by_pair) == 4
    row = by_pair["sst2", "yelp"]  # means of the source: .75, .7; of the target: .45, .475, .675
    assert row["component"] == "L0H0"
    assert row["transfer_1"] == pytest.approx(0.45)
    assert row["oracle_1"] == pytest.approx(0.675)
    assert by_pair["yelp", "sst2"]["component"] == "L0H2"
    for task in ("sst2", "yelp"):
        assert by_pair[task, task]["transfer_1"] == by_pair[task, task]["oracle_1"]


def test_other_numbers_of_labels_or_shots_and_missing_prompts_are_not_paired(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, task="sst2", demo_seed=0)
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, demo_seed=1, **YELP)
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, task="rte", n_shots=0)
    four = np.arange(100) % 4
    add_unit(store, answering([0.5] * 10, four), four, task="agnews")
    table = analysis.run("transfer", store.root)
    assert table.filter(matched="prompt").is_empty()  # no seed in common
    pairs = {(row["source"], row["target"]) for row in table.to_dicts() if row["source"] != row["target"]}
    assert pairs == {("sst2", "yelp"), ("yelp", "sst2")}
