"""Rank correlation against scipy, planted changes of place, and ties that must not count as agreement."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import analysis
from analysis.churn import rank_correlation
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(200) % 2
RISING = np.linspace(0.1, 1.0, 10)


def test_rank_correlation_equals_scipy_with_ties_and_is_undefined_for_constants() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, (2, 6, 30)) / 4
    expected = [spearmanr(x, y).statistic for x, y in zip(one, other, strict=True)]
    np.testing.assert_allclose(rank_correlation(one, other), expected)
    one[2] = 0.5
    assert np.isnan(rank_correlation(one, other)).tolist() == [False, False, True, False, False, False]


def test_planted_changes_of_place_are_found(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step, right in ((1, RISING[::-1]), (2, RISING), (4, RISING)):
        for seed in (0, 1):
            add_unit(store, answering(right.tolist(), GOLD, seed), GOLD, step=step, demo_seed=seed)
    table = analysis.run("churn", store.root)
    by_pair = {(row["step"], row["against"]): row for row in table.to_dicts()}
    assert {key: row["other_step"] for key, row in by_pair.items()} == {
        (1, "final"): 4,
        (2, "final"): 4,
        (2, "previous"): 1,
        (4, "final"): 4,
        (4, "previous"): 2,
    }
    for key, agreement in (((1, "final"), -1), ((2, "previous"), -1), ((2, "final"), 1), ((4, "previous"), 1)):
        assert by_pair[key]["rank_correlation"] == pytest.approx(agreement)
        assert by_pair[key]["iou"] == (agreement + 1) / 2
        assert (by_pair[key]["n_prompts"], by_pair[key]["top"], by_pair[key]["n_components"]) == (2, 5, 10)


def test_prompts_that_a_step_lacks_are_left_out_of_all_steps(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step, seed in ((1, 0), (1, 1), (2, 0)):
        right = RISING if seed == 0 else RISING[::-1]
        add_unit(store, answering(right.tolist(), GOLD), GOLD, step=step, demo_seed=seed)
    table = analysis.run("churn", store.root)
    assert table["n_prompts"].to_list() == [1, 1, 1]
    assert table["rank_correlation"].to_list() == pytest.approx([1, 1, 1])


def test_components_that_all_answer_at_chance_agree_by_chance(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step in (1, 2):
        for seed in range(60):
            add_unit(store, np.zeros((200, 10), int), GOLD, step=step, demo_seed=seed)
    row = analysis.run("churn", store.root).filter(step=2, against="previous").row(0, named=True)
    assert (row["rank_correlation"], row["n_without_rank_correlation"]) == (None, 60)
    assert row["iou"] == pytest.approx(row["iou_by_luck"], abs=0.08)  # SD of one is about .15
