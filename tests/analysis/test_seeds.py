"""Seeds: families of models, their spread, and components matched under another index."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.reading.seeds import families
from analysis.seed_matching import alternating_halves, half, kappas, match
from tests.stores import N_CANDIDATES, add_unit, answering, new_store

GOLD = np.arange(80) % 2
SKILL = (0.9, 0.8, 0.7, 0.3, 0.2, 0.1, 0.6, 0.4, 0.5, 0.5)


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds whose components answer alike, each in an order of its own; the full model differs by seed."""
    store = new_store(tmp_path_factory.mktemp("seeds") / "out")
    for model, full in (("m", 0.5), ("m-seed1", 0.6), ("m-seed2", 0.85), ("other", 1.0)):
        order = np.random.default_rng(int(full * 100)).permutation(N_CANDIDATES)
        for step in (0, 4):
            for seed in (0, 1):
                answers = answering(SKILL, GOLD, seed)[:, order]
                keys = {"model": model, "step": step, "demo_seed": seed}
                add_unit(store, answers, GOLD, full=answering([full], GOLD)[:, 0], **keys)
    return store.root


def test_families_are_named_by_their_suffix() -> None:
    by_base = families(["a-seed2", "a", "a-seed1", "b-data-seed1", "b-data-seed3", "c-seed1", "d", "a-seeded"])
    assert by_base == {("a", "seed"): ["a", "a-seed1", "a-seed2"], ("b", "data-seed"): ["b-data-seed1", "b-data-seed3"]}


def test_spread_is_over_seeds_not_prompts(trainings: Path) -> None:
    table = analysis.run("seed_spread", trainings)
    assert table["model"].unique().to_list() == ["m"]
    row = table.filter(curve="Full", step=4).row(0, named=True)
    assert (row["low"], row["high"], row["n_seeds"]) == pytest.approx((0.5, 0.85, 3))
    assert row["mean"] == pytest.approx(np.mean([0.5, 0.6, 0.85]))
    assert row["sd"] == pytest.approx(np.std([0.5, 0.6, 0.85], ddof=1))
    assert table.filter(curve="T1")["mean"].to_list() == pytest.approx([0.9, 0.9])


def test_components_are_matched_under_another_index(trainings: Path) -> None:
    row = analysis.run("seed_matching", trainings).filter(step=4).row(0, named=True)
    assert row["kappa_matched"] == pytest.approx(1)
    assert row["kappa_same_place"] < 0.5
    assert row["counterpart"] == pytest.approx(row["best"])
    assert row["same_place"] < row["best"]
    assert (row["n_seeds"], row["n_pairs"], row["n_prompts"], row["n_examples"]) == (3, 6, 2, 40)


def test_unrelated_answers_match_no_better_than_any_pair() -> None:
    rng = np.random.default_rng(0)
    gold = np.arange(400) % 2
    models = [np.eye(2)[rng.integers(0, 2, (1, 400, 8))] for _ in range(2)]
    which = alternating_halves(gold)
    (one, one_scored), (other, other_scored) = (
        [half(credit[:, which == h], gold[which == h]) for h in (0, 1)] for credit in models
    )
    matched = match(one, other)
    assert kappas(one, other)[np.arange(8), matched].mean() > 0.05
    assert abs(kappas(one_scored, other_scored)[np.arange(8), matched].mean()) < 0.05


def test_matches_by_chance_are_not_reported_as_agreement(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    rng = np.random.default_rng(1)
    gold = np.arange(200) % 2
    for model in ("m", "m-seed1"):
        add_unit(store, rng.integers(0, 2, (200, N_CANDIDATES)), gold, model=model)
    row = analysis.run("seed_matching", store.root).row(0, named=True)
    assert row["kappa_matched"] == pytest.approx(row["kappa_any"], abs=0.06)


def test_kappa_is_cohens_and_nothing_for_components_of_one_answer() -> None:
    answers = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    one = half(np.eye(2)[answers][None], np.array([0, 1, 0, 1]))
    kappa = kappas(one, one)
    assert kappa[0, 0] == pytest.approx(1)
    assert kappa[0, 1] == pytest.approx((0.75 - 0.5) / 0.5)
    assert kappa[2, 2] == 0


def test_halves_are_as_balanced_as_the_whole() -> None:
    gold = np.array([0, 1, 0, 1, 0, 1, 1, 1])
    which = alternating_halves(gold)
    assert [np.bincount(gold[which == h]).tolist() for h in (0, 1)] == [[2, 3], [1, 2]]


@pytest.mark.parametrize("name", ["seed_spread", "seed_matching"])
def test_without_a_second_seed_the_table_is_empty(name: str, results: Path) -> None:
    table = analysis.run(name, results)
    assert table.is_empty()
    assert {"model", "varies", "step"} <= set(table.columns)
    assert isinstance(table.schema["n_seeds"], pl.Int64)
