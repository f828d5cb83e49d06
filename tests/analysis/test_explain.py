"""What predicts a head's value at the last step: planted predictors are found, chance is not, few heads say so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

import analysis
from analysis.statistics.ridge import PENALTY, outcome, scores
from dynamics.results.places import Place
from dynamics.results.store import ResultStore
from figures import explain as figure
from figures.style import PREDICTORS
from tests.added_rows import add_rows, of_heads
from tests.stores import COMPONENTS, add_unit, answering, new_store

GOLD = np.arange(200) % 2
SIGN = 2.0 * GOLD - 1
HEADS = [component.name for component in COMPONENTS if component.kind == "head"]
STEPS = (0, 1, 2, 8)
TASKS = ("boolq", "rte", "sst2")


def test_scores_are_those_of_an_obvious_loop() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 9, 3)), rng.normal(size=(4, 9))
    y[0, :2] = np.nan
    fold = np.array([0, 0, 1, 2])
    of = outcome(y, fold, np.arange(4))
    assert of is not None
    expected = []
    known = ~np.isnan(y)
    z = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    for held in (0, 1, 2):
        rows, target = [], []
        for block in np.flatnonzero(fold != held):
            rows.append(z[block, known[block]])
            observed = y[block, known[block]]
            target.append((observed - observed.mean()) / observed.std())
        fitted, values = np.concatenate(rows), np.concatenate(target)
        penalty = PENALTY * len(fitted) * np.eye(3)
        beta = np.linalg.solve(fitted.T @ fitted + penalty, fitted.T @ values)
        held_blocks = np.flatnonzero(fold == held)
        expected += [spearmanr(z[b, known[b]] @ beta, y[b, known[b]])[0] for b in held_blocks]
    assert scores(x, of)[0] == pytest.approx(np.mean(expected))


def test_chance_is_above_its_permutations_as_often_as_it_should() -> None:
    rng = np.random.default_rng(1)
    p = []
    for _ in range(100):
        of = outcome(rng.normal(size=(3, 8)), np.arange(3), np.arange(3))
        assert of is not None
        found = scores(rng.normal(size=(3, 8, 4)), of)
        p.append((found >= found[0]).mean())
    assert sum(value <= 0.05 for value in p) <= 12  # 100 draws at 5 %: 13 or more has probability .002


def test_heads_that_are_alike_under_all_seeds_are_permuted_alike() -> None:
    rng = np.random.default_rng(2)
    of_head = rng.normal(size=(1, 12))
    y, x = of_head + 0.01 * rng.normal(size=(6, 12)), rng.normal(size=(1, 12, 1)) + np.zeros((6, 1, 1))
    alike, apart = (outcome(y, np.arange(6), together) for together in (np.zeros(6), np.arange(6)))
    assert alike is not None
    assert apart is not None
    # the sign that is fitted on the other seeds holds for the same heads, so even permuted ones are predicted
    assert scores(x, alike)[1:].mean() > 0.15 > 0.1 > scores(x, apart)[1:].mean()


def test_too_few_heads_or_folds_have_no_outcome() -> None:
    y = np.random.default_rng(3).normal(size=(2, 6))
    assert outcome(y, np.zeros(2), np.arange(2)) is None
    few = y.copy()
    few[1, :2] = np.nan
    assert outcome(few, np.arange(2), np.arange(2)) is None
    same = y.copy()
    same[1] = 0.5
    assert outcome(same, np.arange(2), np.arange(2)) is None


def test_a_predictor_that_is_the_same_for_all_heads_scores_nothing() -> None:
    of = outcome(np.random.default_rng(4).normal(size=(3, 8)), np.arange(3), np.arange(3))
    assert of is not None
    assert not scores(np.full((3, 8, 1), 0.1), of).any()


def quality(task: str) -> np.ndarray:
    """How good each head is in the end, (head,): tasks agree but for some noise."""
    return np.linspace(-1, 1, len(HEADS)) + 0.02 * np.random.default_rng(TASKS.index(task)).normal(size=len(HEADS))


def plant(store: ResultStore, task: str, seed: int, step: int, attention: Callable[[str], np.ndarray] | None) -> None:
    """Heads that guess before the last step and are as good as `quality` there."""
    rng = np.random.default_rng([TASKS.index(task), seed, step])
    logits = np.zeros((len(GOLD), len(COMPONENTS), 2))
    strength = dict(zip(HEADS, quality(task), strict=True)) if step == STEPS[-1] else {}
    for part, component in enumerate(COMPONENTS):
        logits[:, part, 1] = strength.get(component.name, 0) * SIGN + rng.normal(size=len(GOLD))
    keys = {"task": task, "demo_seed": seed, "step": step}
    add_unit(store, GOLD, GOLD, logits=logits, **keys)
    if attention:
        values = dict(zip(HEADS, attention(task), strict=True))
        add_rows(store, "mechanisms", of_heads("label_attention", values), **keys)
    if step == STEPS[-1]:
        single = {"selection": "single", "replacement": "mean"}
        effects = zip(HEADS, -quality(task), strict=True)
        add_rows(store, "ablations", [{**single, "components": h, "total_effect": e} for h, e in effects], **keys)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """From step 1 on, label attention is what a head will be; at step 0 it is noise."""
    store = new_store(tmp_path_factory.mktemp("explain") / "out")
    noise = np.random.default_rng(5)
    for task in TASKS:
        for seed in (0, 1):
            for step in STEPS:
                plant(store, task, seed, step, quality if step else lambda _: noise.random(len(HEADS)))
    return store.root


def test_the_planted_predictor_is_found_and_dated(planted: Place) -> None:
    table = analysis.run("explain", planted)
    for target in ("centred_accuracy", "total_effect"):
        for held_out in ("task", "demo_seed"):
            rows = table.filter(outcome=target, held_out=held_out)
            attention = rows.filter(predictor="label_attention")
            assert attention["step"].to_list() == [0, 1, 2]
            assert attention["correlation"].to_list()[1:] == pytest.approx([1, 1], abs=0.08)
            assert (attention["since"].unique().to_list(), attention["lead"].unique().to_list()) == ([1], [3.0])
            assert rows.filter(predictor="auc")["since"].is_null().all()
            assert rows.filter(predictor="auc")["reason"].unique().to_list() == [
                "not above the band at the step before the last"
            ]
            assert attention["n_values"].unique().to_list() == [24 if held_out == "task" else 48]


def test_what_was_not_measured_is_null_with_a_reason(planted: Place) -> None:
    table = analysis.run("explain", planted)
    copying = table.filter(predictor="copying")
    assert copying["correlation"].is_null().all()
    assert copying["reason"].unique().to_list() == ["copying was not measured under every prompt of this step"]
    everything = table.filter(predictor="all")
    assert everything["n_predictors"].unique().to_list() == [4]
    assert everything["correlation"].null_count() == 0


def test_one_task_cannot_be_held_out(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for seed in (0, 1):
        for step in STEPS:
            plant(store, "sst2", seed, step, None)
    table = analysis.run("explain", store.root)
    by_task = table.filter(held_out="task")
    assert by_task["correlation"].is_null().all()
    assert by_task["reason"].str.contains("fewer than 2 values of task with 5 heads").all()
    assert table.filter(held_out="demo_seed", predictor="auc")["correlation"].null_count() == 0


def test_the_figure_draws_the_correlations(planted: Place) -> None:
    table = analysis.run("explain", planted)
    axes = figure.draw(table)["explain"].axes
    assert len(axes) == 4
    (line,) = [line for line in axes[0].lines if line.get_label() == "all mechanisms"]
    rows = table.filter(outcome="centred_accuracy", held_out="task", predictor="all mechanisms")
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx(rows["correlation"].to_list()[1:])
    assert set(PREDICTORS) <= set(table["predictor"])
    assert "attention and copying from step 1 (3.00 doublings)" in figure.caption(table)


@pytest.fixture(scope="module")
def emerging(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """L0H0 is right from step 16 on, L0H1 never; attention of both to label words is .5 from step 4 on."""
    store = new_store(tmp_path_factory.mktemp("emerging") / "out")
    for step in (0, 1, 2, 4, 8, 16, 32, 64):
        for seed in (0, 1):
            right = [0.95 if step >= 16 else 0.5, *[0.5] * 9]
            add_unit(store, answering(right, GOLD, 100 * seed + step), GOLD, step=step, demo_seed=seed)
            attention = dict.fromkeys(HEADS, 0.1) | dict.fromkeys(("L0H0", "L0H1"), 0.5 if step >= 4 else 0.1)
            add_rows(store, "mechanisms", of_heads("label_attention", attention), step=step, demo_seed=seed)
    return store.root


def test_a_mechanism_before_its_head_is_dated(emerging: Place) -> None:
    table = analysis.run("mechanism_before_component", emerging)
    assert len(table) == 2 * len(HEADS)
    rows = {row["component"]: row for row in table.filter(mechanism="label_attention").iter_rows(named=True)}
    first = rows["L0H0"]
    assert (first["mechanism_step"], first["mechanism_step_before"], first["largest"]) == (4, 2, 0.5)
    assert 8 < first["component_step"] < 16
    assert first["doublings"] == pytest.approx(np.log2(first["component_step"] / 4))
    assert rows["L0H1"]["doublings"] is None
    assert rows["L0H1"]["reason"].startswith("no onset of the head")
    assert (rows["L0H2"]["mechanism_step"], rows["L0H2"]["largest"]) == (None, 0.1)
    unmeasured = table.filter(mechanism="prefix_matching")
    assert unmeasured["reason"].unique().to_list() == ["the mechanism was not measured"]


def test_heads_that_emerge_without_their_mechanism_say_so(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step in (0, 1, 2, 4, 8, 16):
        add_unit(store, answering([0.95 if step >= 4 else 0.5] * 2 + [0.5] * 8, GOLD, step), GOLD, step=step)
        values = dict.fromkeys(HEADS, 0.1) | {"L0H1": 0.9}
        add_rows(store, "mechanisms", of_heads("prefix_matching", values, sd=None), step=step)
    table = analysis.run("mechanism_before_component", store.root).filter(mechanism="prefix_matching")
    reasons = dict(table.filter(pl.col("component").is_in(["L0H0", "L0H1"])).select("component", "reason").iter_rows())
    assert reasons == {
        "L0H0": "the mechanism never reaches the threshold",
        "L0H1": "the mechanism is there at step 0",
    }
