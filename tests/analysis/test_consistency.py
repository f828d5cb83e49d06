"""r and IoU against scipy-free loops; shared good components raise both, ties do not."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.consistency import iou, pearson, prompt_pairs
from analysis.statistics.top_components import iou_by_chance, top_sets
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(200) % 2


def test_pearson_equals_numpy_and_is_undefined_for_constants() -> None:
    accuracy = np.random.default_rng(0).random((4, 12))
    np.testing.assert_allclose(pearson(accuracy), np.corrcoef(accuracy))
    accuracy[2] = 0.5
    r = pearson(accuracy)
    assert np.isnan(r[2]).all()
    assert not np.isnan(r[0, 1])


def test_iou_equals_sets() -> None:
    accuracy = np.random.default_rng(1).random((5, 9))
    sets = top_sets(accuracy, 4)
    as_sets = [set(np.argsort(row)[-4:].tolist()) for row in accuracy]
    overlap = iou(sets)
    for i, j in combinations(range(5), 2):
        assert overlap[i, j] == pytest.approx(len(as_sets[i] & as_sets[j]) / len(as_sets[i] | as_sets[j]))


def test_chance_is_the_iou_of_random_sets_and_of_ties() -> None:
    rng = np.random.default_rng(2)
    random = top_sets(rng.random((300, 15)))
    upper = np.triu_indices(300, 1)
    assert iou(random)[upper].mean() == pytest.approx(iou_by_chance(15), abs=0.01)
    tied = top_sets(np.full((300, 15), 0.5))
    assert iou(tied)[upper].mean() == pytest.approx(iou_by_chance(15), abs=0.01)
    assert iou_by_chance(5) == iou_by_chance(3) == 1


def test_pairs_differ_in_one_thing_only() -> None:
    prompts = tuple((template, seed) for template in ("contrast", "paper", "sentiment") for seed in (0, 1))
    contrastive = {"sst2": "paper"}
    pairs = {
        kind: [(prompts[i], prompts[j]) for i, j in indices]
        for kind, indices in prompt_pairs(prompts, "sst2", contrastive).items()
    }
    assert len(pairs["demonstrations"]) == 3
    assert pairs["contrast"] == [(("contrast", s), ("paper", s)) for s in (0, 1)]
    assert pairs["templates"] == [(("paper", s), ("sentiment", s)) for s in (0, 1)]
    assert "contrast" not in prompt_pairs(prompts, "a task of one's own", contrastive)


def test_components_that_are_good_everywhere_give_high_r_and_iou(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step, same in ((1, False), (2, True)):
        for seed in range(3):
            right = np.linspace(0.2, 0.9, 10)
            if not same:
                right = np.random.default_rng(seed).permutation(right)
            add_unit(store, answering(right.tolist(), GOLD, seed), GOLD, demo_seed=seed, step=step)
    table = analysis.run("consistency", store.root).filter(across="demonstrations").sort("step")
    assert table["n_pairs"].to_list() == [3, 3]
    assert table["r"][1] == pytest.approx(1)
    assert table["iou"][1] == 1
    assert table["r"][0] < 0.5
    assert table["iou"][0] < 0.7


def test_one_prompt_gives_an_empty_table_with_columns(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, answering([0.5] * 10, GOLD), GOLD)
    table = analysis.run("consistency", store.root)
    assert table.is_empty()
    assert "iou_by_luck" in table.columns
