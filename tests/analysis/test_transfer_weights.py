"""Weights on stored contributions: planted winners, and the fit's own accuracy."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.transfer_weights import VECTOR, credit_of_weights
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(100) % 2


def only(j: int) -> list[float]:
    """Weights that use one candidate and nothing else."""
    return np.eye(10)[j].tolist()


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Per seed, sst2 uses component 0 then 1; on yelp they are right on .7 and .2, then .3 and .6."""
    store = new_store(tmp_path / "out")
    yelp = {0: [0.7, 0.2] + [0.5] * 8, 1: [0.3, 0.6] + [0.5] * 8}
    for seed in (0, 1):
        fits = [("official_code", 12, only(seed))]
        own = [{"method": "comp_rw", "variant": "official_code", "n_labelled": 12, "accuracy": 0.9}]
        add_unit(store, answering([0.9] * 10, GOLD), GOLD, demo_seed=seed, weights=fits)
        full = answering([0.55], GOLD)[:, 0]
        fits = [("official_code", 12, only(2))]
        add_unit(
            store,
            answering(yelp[seed], GOLD, seed),
            GOLD,
            full=full,
            task="yelp",
            demonstrations_of="sst2",
            demo_seed=seed,
            weights=fits,
            scores=own,
        )
    return store.root


def test_the_published_pair_is_matched_prompt_by_prompt(planted: Path) -> None:
    (row,) = analysis.run("transfer_weights", planted).filter(matched="prompt").to_dicts()
    assert (row["source"], row["target"], row["variant"], row["n_labelled"]) == ("sst2", "yelp", "official_code", 12)
    assert row["transfer_rw"] == pytest.approx((0.7 + 0.6) / 2)
    assert row["transfer_rw_sd"] == pytest.approx(0.1 / np.sqrt(2))
    assert (row["own_rw"], row["full"], row["gain"]) == pytest.approx((0.9, 0.55, 0.1))
    assert (row["n_prompts"], row["n_source_prompts"], row["chance"]) == (2, 1, 0.5)


def test_all_pairs_take_the_mean_over_the_sources_prompts(planted: Path) -> None:
    table = analysis.run("transfer_weights", planted).filter(matched="task")
    by_pair = {(row["source"], row["target"]): row for row in table.to_dicts()}
    assert len(by_pair) == 4
    # Two components with weight 1/2: where they disagree the logits tie, which counts 1/2.
    assert by_pair["sst2", "yelp"]["transfer_rw"] == pytest.approx((0.7 + 0.2 + 0.3 + 0.6) / 4)
    assert by_pair["yelp", "sst2"]["transfer_rw"] == pytest.approx(0.9)
    assert by_pair["yelp", "yelp"]["transfer_rw"] == pytest.approx(0.5)
    assert by_pair["sst2", "yelp"]["n_source_prompts"] == 2


def test_a_prompts_own_weights_give_the_sweeps_own_accuracy(results: Path) -> None:
    """Weights and contributions as stored must be those that COMP RW was scored with."""
    scored = analysis.load(results, "prompt_scores").filter(pl.col("method") == "comp_rw").collect()
    weights = analysis.load(results, "reweightings").collect()
    contributions = analysis.load(results, "contributions").filter(pl.col("split") == "test").collect()
    assert weights["keeps_remainder"].to_list() == (weights["variant"] == "default").to_list()
    unset = pl.lit(None).alias
    for row in scored.drop_nulls("accuracy").iter_rows(named=True):
        own = weights.filter(unit_id=row["unit_id"], variant=row["variant"], n_labelled=row["n_labelled"])
        own = own.with_columns(*[unset(name) for name in VECTOR if name not in own.columns])
        wide = own.pivot("component", index=VECTOR, values="weight")
        assert credit_of_weights(wide, contributions.filter(unit_id=row["unit_id"])).mean() == pytest.approx(
            row["accuracy"]
        )


def test_the_remainder_is_kept_where_the_variant_keeps_it(tmp_path: Path) -> None:
    """Weights of zero leave the embedding, which always answers label 0, or nothing but ties."""
    store = new_store(tmp_path / "out")
    gold = np.array([0] * 30 + [1] * 10)
    fits = [("default", 12, [0.0] * 10), ("paper", 12, [0.0] * 10)]
    add_unit(store, answering([0.5] * 10, gold), gold, weights=fits)
    table = analysis.run("transfer_weights", store.root)
    assert dict(table.select("variant", "transfer_rw").rows()) == {"default": 0.75, "paper": 0.5}


def test_other_numbers_of_labels_or_shots_are_not_paired(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    four = np.arange(100) % 4
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, task="sst2", weights=[("default", 12, only(0))])
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, task="rte", n_shots=0, weights=[("default", 12, only(0))])
    add_unit(store, answering([0.5] * 10, four), four, task="agnews", weights=[("default", 12, only(0))])
    table = analysis.run("transfer_weights", store.root)
    assert [(r["source"], r["target"]) for r in table.to_dicts()] == [
        ("rte", "rte"),
        ("agnews", "agnews"),
        ("sst2", "sst2"),
    ]


def test_without_fits_the_table_is_empty(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, answering([0.5] * 10, GOLD), GOLD)
    table = analysis.run("transfer_weights", store.root)
    assert table.is_empty()
    assert "own_rw" in table.columns
