"""P-values beyond the number of permutations, and the share of false discoveries, by simulation with a fixed seed."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

import analysis
from analysis.component_onsets import with_discoveries
from analysis.statistics.discoveries import FDR, benjamini_hochberg, tail_p
from tests.stores import add_unit, answering, new_store

N_STEPS, N_PERMUTED, N_OBSERVED = 6, 400, 40


def maxima(n_components: int, n: int, seed: int, share: float = 0.5) -> np.ndarray:
    """Largest of standardised counts over steps that are alike: (component, draw) of 200 rows, some `share` hit."""
    rng = np.random.default_rng(seed)
    kept = rng.binomial(100, share, (n_components, n, 1))
    counts = kept + rng.binomial(100, share, (n_components, n, N_STEPS))
    return ((counts - 200 * share) / np.sqrt(200 * share * (1 - share))).max(-1)


@pytest.mark.parametrize("share", [0.5, 0.03])
def test_small_p_values_are_as_rare_as_they_say(share: float) -> None:
    """40,000 maxima that know nothing, each among 400 permuted ones; at .03 counts are few and skewed."""
    values = maxima(1000, N_PERMUTED + N_OBSERVED, 0, share)
    permuted, observed = values[:, :N_PERMUTED], values[:, N_PERMUTED:]
    p = np.stack([tail_p(column, permuted) for column in observed.T])
    for level in (0.05, 0.01, 1e-3, 1e-4):
        n = (p <= level).sum()
        assert n <= stats.binom.ppf(0.999, p.size, 1.25 * level), level
        assert n >= 0.1 * level * p.size - 4, level
    assert p.min() > 1e-8


def test_a_component_that_knows_is_far_below_one_in_n() -> None:
    permuted = maxima(50, 1000, 1)
    assert (tail_p(np.full(50, 8.0), permuted) < 1e-5).all()
    assert (tail_p(np.full(50, 8.0), permuted) > 1e-16).all()
    assert (tail_p(np.full(50, 4.0), permuted) > tail_p(np.full(50, 5.0), permuted)).all()


def test_within_the_tail_p_is_about_the_share_that_is_as_large() -> None:
    permuted = maxima(1, 2000, 2)
    for rank in (0.3, 0.1, 0.03, 0.01):
        x = np.quantile(permuted, 1 - rank)
        assert tail_p(np.array([x]), permuted)[0] == pytest.approx(rank, rel=0.35)


def test_maxima_that_do_not_vary() -> None:
    assert tail_p(np.array([0.0, 2.0]), np.zeros((2, 99))).tolist() == [1.0, 0.01]


def test_adjusted_p_values_are_those_of_scipy() -> None:
    p = np.random.default_rng(0).random(500) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    assert benjamini_hochberg(np.array([0.01, 0.01, 0.9])).tolist() == pytest.approx([0.015, 0.015, 0.9])


def test_the_share_of_false_discoveries_is_kept() -> None:
    """1,056 components, 20 of which know; 60 times."""
    shares, found = [], []
    for seed in range(60):
        values = maxima(1056, 201, 100 + seed)
        values[:20, 0] += 4
        discovered = benjamini_hochberg(tail_p(values[:, 0], values[:, 1:])) <= FDR
        shares.append(discovered[20:].sum() / max(1, discovered.sum()))
        found.append(discovered[:20].mean())
    assert np.mean(shares) <= FDR + 2.5 * np.std(shares) / np.sqrt(60)
    assert np.mean(found) > 0.5


def test_only_components_that_know_are_discoveries(tmp_path: Path) -> None:
    """Component 3 is right on 75 % from step 2 on, component 5 was right at step 1 only; the others guess."""
    store, gold = new_store(tmp_path / "out"), np.arange(100) % 2
    for step in (1, 2, 4):
        for seed in (0, 1):
            answers = np.random.default_rng([step, seed]).integers(0, 2, (100, 10))
            if step > 1:
                answers[:, 3] = answering([0.75], gold, seed)[:, 0]
            else:
                answers[:, 5] = answering([0.9], gold, seed)[:, 0]
            add_unit(store, answers, gold, step=step, demo_seed=seed)
    table = analysis.run("component_onsets", store.root).filter(criterion="null")
    assert set(table.filter("discovery")["component"]) == {"L0H3", "L1H0"}
    known = table.filter(component="L0H3").row(0, named=True)
    assert known["p_null"] < 1e-4
    assert known["q"] <= 20 * known["p_null"]
    assert table.filter(~pl.col("discovery"))["p_null"].min() > 0.005


def test_components_of_all_tasks_and_models_are_one_family_without_controls() -> None:
    p = [0.001, 0.04, 0.5, 0.02, 0.9, 0.03]
    rows = {"control": ["none"] * 4 + ["shuffled_labels-0"] * 2, "task": list("aabbaa"), "p_null": p}
    table = pl.DataFrame(rows).join(pl.DataFrame({"criterion": ["null", "half"]}), how="cross")
    adjusted = with_discoveries(table)
    for criterion in ("null", "half"):
        q = adjusted.filter(criterion=criterion)["q"].to_list()
        assert q == pytest.approx([0.004, 0.16 / 3, 0.5, 0.04, 0.9, 0.06])
    assert adjusted.filter(criterion="half")["discovery"].to_list() == [True, False, False, True, False, False]
