"""Below chance, and why: planted reasons are found, guesses are not called bad, what cannot be told has a reason."""

from collections.abc import Callable
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.statistics.set_overlap import overlap
from analysis.statistics.shared_rows import LEVEL, accuracy_sd, auc_sd, by_prompt, excess_agreement, over_seeds
from dynamics.results.places import Place
from dynamics.results.store import ResultStore
from figures import bad_components as figure
from tests.added_rows import add_rows, of_heads
from tests.stores import COMPONENTS, add_unit, new_store

GOLD = np.arange(200) % 2
SIGN = 2.0 * GOLD - 1
NAMES = [component.name for component in COMPONENTS]
HEADS = [component.name for component in COMPONENTS if component.kind == "head"]


def margins(seed: int, *, sign: float = 1) -> dict[str, np.ndarray]:
    """Logit of label 1 of each component on every row."""
    rng = np.random.default_rng([seed, 1])

    def noise() -> np.ndarray:
        return rng.normal(size=len(GOLD))

    good = SIGN + noise()
    # of label 1 a tenth is above 0, of label 0 four tenths; below 0 the rows of label 1 are ahead
    biased = np.where(GOLD == 1, np.where(np.arange(200) % 20 == 1, 1, -1), np.where(np.arange(200) % 10 < 4, 1, -2))
    return {
        "L0H0": good,
        "L0H1": -good,
        "L0H2": -SIGN + noise(),
        "L0H3": biased + 0.1 * rng.random(len(GOLD)),
        "L0MLP": noise(),
        "L1H0": -SIGN + noise(),
        "L1H1": -SIGN + noise(),
        "L1H2": -SIGN + noise(),
        "L1H3": -3 * SIGN,
        "L1MLP": sign * (-SIGN + noise()),
    }


def attention() -> list[dict]:
    """L1H0 lowers the labels that it attends to; L1H1 raises them and attends to wrong ones; L1H2 attends to texts."""
    labels = dict.fromkeys(HEADS, 0.1) | {"L1H0": 0.6, "L1H1": 0.6}
    copying = dict.fromkeys(HEADS, 0.0) | {"L1H0": -0.1, "L1H1": 0.1, "L1H2": -0.1}
    gold = dict.fromkeys(HEADS, 0.0) | {"L1H0": 0.3, "L1H1": -0.3, "L1H2": 0.1}
    texts = dict.fromkeys(HEADS, 0.2)
    named = {"label_attention": labels, "label_copying": copying, "gold_attention": gold, "demo_text_attention": texts}
    return [row for name, values in named.items() for row in of_heads(name, values)]


def plant(
    store: ResultStore, *, seeds: int = 3, measured: bool = True, sign: Callable[[int], float] = lambda _: 1, **keys
):
    for seed in range(seeds):
        logits = np.zeros((len(GOLD), len(COMPONENTS), 2))
        for name, margin in margins(seed, sign=sign(seed)).items():
            logits[:, NAMES.index(name), 1] = margin
        add_unit(store, GOLD, GOLD, logits=logits, demo_seed=seed, **keys)
        if measured:
            add_rows(store, "mechanisms", attention(), demo_seed=seed, **keys)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Attention measured at step 0, not at step 1; at step 2 the sign of an MLP depends on the seed."""
    store = new_store(tmp_path_factory.mktemp("planted") / "out")
    plant(store)
    plant(store, step=1, measured=False)
    plant(store, step=2, measured=False, sign=lambda seed: 1 if seed == 0 else -1)
    return store.root


def of_step(root: Place, step: int) -> dict[str, dict]:
    table = analysis.run("bad_components", root).filter(step=step)
    assert len(table) == 10
    return {row["component"]: row for row in table.iter_rows(named=True)}


def test_every_planted_reason_is_found(planted: Place) -> None:
    rows = of_step(planted, 0)
    assert {name: row["class"] for name, row in rows.items()} == {
        "L0H0": None,
        "L0H1": "opposed",
        "L0H2": "unexplained",
        "L0H3": "label-biased",
        "L0MLP": None,
        "L1H0": "anti-copying",
        "L1H1": "wrong-label attention",
        "L1H2": "unexplained",
        "L1H3": "cannot be told",
        "L1MLP": "unexplained",
    }
    assert (rows["L0H1"]["opposed_to"], rows["L0H2"]["opposed"], rows["L0H0"]["opposed"]) == ("L0H0", False, None)
    assert "alike" in rows["L1H3"]["reason"]
    assert rows["L0H2"]["reason"] is rows["L0H0"]["reason"] is None
    assert rows["L0H3"]["accuracy"] == pytest.approx(0.35)
    assert rows["L0H3"]["auc_low"] > 0.5
    assert (rows["L1H3"]["auc"], rows["L1H3"]["auc_low"]) == (0, 0)


def test_without_attention_only_heads_cannot_be_told(planted: Place) -> None:
    rows = of_step(planted, 1)
    told = {name: row["class"] for name, row in rows.items() if row["class"]}
    heads = dict.fromkeys(["L0H1", "L0H2", "L1H0", "L1H1", "L1H2", "L1H3"], "cannot be told")
    assert told == {**heads, "L0H3": "label-biased", "L1MLP": "unexplained"}
    assert "sweep with mechanisms" in rows["L1H0"]["reason"]
    assert rows["L0H1"]["opposed"] is True
    assert rows["L1MLP"]["reason"] is None


def test_a_sign_that_depends_on_the_seed_is_not_below_chance(planted: Place) -> None:
    row = of_step(planted, 2)["L1MLP"]
    assert row["class"] is None
    assert (row["below_on_prompts"], row["above_on_prompts"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    table = analysis.run("bad_components_by_prompt", planted).filter(step=2, component="L1MLP").sort("demo_seed")
    assert table["class"].to_list() == ["unexplained", None, None]


def test_one_seed_has_no_interval_but_its_prompt_has(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    plant(store, seeds=1)
    row = of_step(store.root, 0)["L1H0"]
    assert (row["class"], row["auc_high"], row["reason"]) == (None, None, "one demonstration seed: no interval")
    by_prompt_ = analysis.run("bad_components_by_prompt", store.root).filter(component="L1H0")
    assert by_prompt_["class"].to_list() == ["anti-copying"]
    shares = analysis.run("bad_component_shares", store.root)
    assert shares.filter(scope="all prompts")["share"].null_count() == 6
    assert shares.filter(scope="by prompt")["share"].null_count() == 0
    assert shares.filter(scope="by prompt")["low"].null_count() == 6


def test_no_demonstrations_no_copying(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    plant(store, measured=False, n_shots=0)
    assert of_step(store.root, 0)["L1H0"]["class"] == "unexplained"


def test_shares_count_the_classes_with_exact_intervals(planted: Place) -> None:
    shares = analysis.run("bad_component_shares", planted).filter(step=0)
    together = {row["class"]: row for row in shares.filter(scope="all prompts").iter_rows(named=True)}
    assert (together["unexplained"]["n"], together["unexplained"]["share"]) == (3, pytest.approx(0.3))
    # Clopper and Pearson: each end has the probability of 3 or more, or 3 or fewer, of .025
    low, high = together["unexplained"]["low"], together["unexplained"]["high"]
    assert sum(comb(10, k) * low**k * (1 - low) ** (10 - k) for k in range(3, 11)) == pytest.approx(0.025)
    assert sum(comb(10, k) * high**k * (1 - high) ** (10 - k) for k in range(4)) == pytest.approx(0.025)
    singly = analysis.run("bad_components_by_prompt", planted).filter(step=0)
    for row in shares.filter(scope="by prompt").iter_rows(named=True):
        assert row["share"] == pytest.approx((singly["class"].fill_null("") == row["class"]).mean())
        assert row["low"] <= row["share"] <= row["high"]


def test_seeds_that_share_rows_do_not_make_guesses_bad() -> None:
    """A component that says nearly the same under all seeds is no better known than under one of them."""
    rng = np.random.default_rng(0)
    margin = rng.normal(size=(1000, 1, len(GOLD))) + 0.1 * rng.normal(size=(1000, 5, len(GOLD)))
    ranks = margin.argsort(-1).argsort(-1)
    auc = ((ranks * GOLD).sum(-1) - 100 * 99 / 2) / 100**2
    _, _, high = over_seeds(np.arange(5))(auc.T, np.full((5, 1000), auc_sd(GOLD)), LEVEL)
    assert (high < 0.5).mean() < 0.04  # .025, and three standard deviations of 1,000 draws
    assert (by_prompt(auc.T, np.full((5, 1000), auc_sd(GOLD)), LEVEL)[2] < 0.5).mean() == pytest.approx(
        0.025, abs=0.015
    )


def test_spreads_are_those_of_permuted_labels() -> None:
    rng = np.random.default_rng(1)
    gold = np.repeat([0, 1, 2], [30, 20, 10])
    answers = rng.choice(3, 60, p=[0.5, 0.3, 0.2])
    scores = rng.normal(size=60)
    permuted = [rng.permutation(gold) for _ in range(4000)]
    accuracies = np.std([(answers == labels).mean() for labels in permuted])
    shares = np.bincount(answers, minlength=3) / 60
    assert accuracy_sd(shares, gold) == pytest.approx(accuracies, rel=0.05)
    assert accuracy_sd(np.array([1.0, 0.0, 0.0]), gold) == pytest.approx(0)
    ranks = scores.argsort().argsort()
    two = [labels > 0 for labels in permuted]
    aucs = np.std([(ranks[y].sum() - 30 * 29 / 2) / 900 for y in two])
    assert auc_sd(gold > 0) == pytest.approx(aucs, rel=0.05)
    assert auc_sd(gold > 0, n_groups=15) == pytest.approx(2 * auc_sd(gold > 0))


def test_excess_agreement_is_agreement_less_that_of_shuffled_answers() -> None:
    rng = np.random.default_rng(2)
    gold = np.arange(90) % 3
    ours, theirs = np.eye(3)[rng.integers(0, 3, (2, 90))][:, :, None]
    excess, sd = excess_agreement(ours, theirs, gold)
    agree = (ours * theirs).sum(-1).mean()
    shuffled = []
    for _ in range(4000):
        order = np.arange(90)
        for label in range(3):
            order[gold == label] = rng.permutation(order[gold == label])
        shuffled.append((ours[order] * theirs).sum(-1).mean())
    assert excess.item() == pytest.approx(agree - np.mean(shuffled), abs=0.003)
    assert sd.item() == pytest.approx(np.std(shuffled), rel=0.05)
    opposite = excess_agreement(ours, np.roll(ours, 1, -1), gold)
    assert opposite[0].item() < -5 * opposite[1].item()


def test_two_sets_have_the_hypergeometric_p_value() -> None:
    sets = np.zeros((2, 10), bool)
    sets[0, :4] = sets[1, 2:5] = True
    found = overlap(sets, [(0, 1)])
    at_least = sum(comb(4, k) * comb(6, 3 - k) for k in (2, 3)) / comb(10, 3)
    assert (found.shared, found.expected, found.p) == (2, pytest.approx(1.2), pytest.approx(at_least))
    assert overlap(np.zeros((2, 10), bool), [(0, 1)]).n_pairs == 0


def test_many_sets_are_significant_only_if_they_are_alike() -> None:
    rng = np.random.default_rng(3)
    pairs = list(combinations(range(5), 2))
    same = np.tile(np.arange(12) < 3, (5, 1))
    assert overlap(same, pairs).p < 0.002
    p = [overlap(rng.permuted(same, axis=1), pairs).p for _ in range(100)]
    assert sum(value <= 0.05 for value in p) <= 12  # 100 draws at 5 %: 13 or more has probability .002


def test_overlap_is_across_tasks_and_demonstrations(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for task in ("sst2", "boolq"):
        plant(store, measured=False, task=task)
    table = analysis.run("bad_component_overlap", store.root)
    tasks = table.filter(across="tasks").row(0, named=True)
    assert (tasks["task"], tasks["other_task"], tasks["shared"], tasks["size"]) == ("boolq", "sst2", 7, 7)
    assert tasks["p_overlap"] == pytest.approx(1 / comb(10, 7))
    seeds = table.filter(across="demonstrations")
    assert seeds["n_pairs"].to_list() == [3, 3]
    assert (seeds["p_overlap"] < 0.01).all()


def test_the_figure_stacks_the_shares(planted: Place) -> None:
    table = analysis.run("bad_component_shares", planted)
    axes = figure.draw(table)["bad_components"].axes
    below = next(row for row in axes if row.get_ylabel() == "all prompts")
    tops = {
        area.get_label(): max(float(np.asarray(path.vertices)[:, 1].max()) for path in area.get_paths())
        for area in below.collections
    }
    shares = table.filter(scope="all prompts", step=1)
    stacked = dict(zip(shares["class"], shares["share"].cum_sum(), strict=True))
    assert tops["cannot be told"] == pytest.approx(max(stacked.values()))
    assert tops["label-biased"] == pytest.approx(0.1)
    assert "of guessing ones at most .05" in figure.caption(table)
    assert "most at step 0 (3 unexplained, 1 label-biased," in figure.caption(table)


def test_results_of_a_sweep_have_every_component(results: Path) -> None:
    table = analysis.run("bad_components", results)
    scored = analysis.load(results, "component_scores").filter(
        pl.col("split") == "test", pl.col("kind").is_in(["head", "mlp"])
    )
    means = scored.group_by("task", "n_shots", "step", "component").agg(pl.col("auc", "accuracy").mean()).collect()
    both = table.join(means, on=["task", "n_shots", "step", "component"], suffix="_mean")
    assert len(both) == len(table) == len(means)
    for name in ("auc", "accuracy"):
        assert both[name].to_list() == pytest.approx(both[f"{name}_mean"].to_list())
