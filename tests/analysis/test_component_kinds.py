"""Good, bad and label-biased: planted kinds are found, guessing is not called good, levels hold."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.component_kinds import LEVEL, masks
from analysis.reading.answers import StepAnswers
from analysis.reading.groups import Group
from analysis.statistics.null import family_thresholds, permuted_extremes
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(200) % 2


def one_prompt(answers: np.ndarray, gold: np.ndarray = GOLD) -> StepAnswers:
    """One prompt whose components answer `answers` (example, component)."""
    n_labels = gold.max() + 1
    names = tuple(f"L0H{i}" for i in range(answers.shape[1]))
    ids = tuple(f"{i:05d}" for i in range(len(gold)))
    group = Group("toy", "float32", "none", "toy", 4)
    return StepAnswers(group, 0, None, ("paper/0",), names, ids, gold, n_labels, answers[None], None, gold[None], None)


def test_planted_kinds_are_found() -> None:
    answers = answering([0.8, 0.2, 0.5, 0.5, 0.5, 0.5], GOLD)
    answers[:, 2] = 1
    answers[:, 3] = 0
    answers[:8, 3] = 1  # 4 % of the rows
    answers[:, 4] = 0
    answers[:12, 4] = 1  # 6 % of the rows
    by_kind, above, below = masks(one_prompt(answers))
    names = {kind: np.flatnonzero(mask[0]).tolist() for kind, mask in by_kind.items()}
    assert names == {
        "good": [0],
        "bad": [1],
        "label_biased": [2],
        "nearly_label_biased": [2, 3],
        "unremarkable": [4, 5],
    }
    assert 0.5 < above[0] < 0.7
    assert 0.3 < below[0] < 0.5


def test_thresholds_are_those_of_an_obvious_count() -> None:
    rng = np.random.default_rng(0)
    [(best, worst)] = permuted_extremes(one_prompt(rng.integers(0, 3, (60, 5)).astype(np.uint8), np.arange(60) % 3))
    assert len(best) == len(worst) == 1000
    above, below = family_thresholds(best, worst, LEVEL)
    for accuracy in np.unique([best, worst]):
        as_good = (1 + (best >= accuracy).sum()) / 1001 <= LEVEL
        as_bad = (1 + (worst <= accuracy).sum()) / 1001 <= LEVEL
        assert (accuracy > above, accuracy < below) == (as_good, as_bad)


def test_guessing_components_are_called_good_at_the_nominal_level() -> None:
    rng = np.random.default_rng(3)
    calls = [masks(one_prompt(rng.integers(0, 2, (200, 12))))[0] for _ in range(100)]
    for kind in ("good", "bad"):
        n_false = sum(call[kind].any() for call in calls)
        assert n_false <= 11  # 100 draws at 5 %: 12 or more has probability .004


def test_too_few_permutations_raise() -> None:
    with pytest.raises(ValueError, match=r"needs at least 19 permutations, not 10"):
        family_thresholds(np.zeros(10), np.zeros(10), 0.05)


def test_shares_average_over_prompts_and_names_are_given(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for seed, right in enumerate(([0.9] * 2 + [0.5] * 8, [0.9] * 4 + [0.5] * 6)):
        answers = answering(right, GOLD, seed)
        answers[:, 5:] = 1
        add_unit(store, answers, GOLD, demo_seed=seed)
    table = analysis.run("component_kinds", store.root)
    good = table.filter(kind="good").row(0, named=True)
    assert (good["count"], good["share"], good["n_prompts"], good["n_components"]) == (3, pytest.approx(0.3), 2, 10)
    assert good["share_sd"] == pytest.approx(np.std([0.2, 0.4], ddof=1))
    assert table.filter(kind="label_biased")["share"].item() == pytest.approx(0.5)
    by_prompt = analysis.run("component_kinds_by_prompt", store.root).filter(kind="good").sort("demo_seed")
    assert by_prompt["components"].to_list() == ["L0H0 L0H1", "L0H0 L0H1 L0H2 L0H3"]


def test_label_biased_agrees_with_the_score_table(results: Path) -> None:
    table = analysis.run("component_kinds", results).filter(kind="label_biased")
    scored = (
        analysis.load(results, "component_scores")
        .filter(pl.col("split") == "test", pl.col("kind").is_in(["head", "mlp"]))
        .group_by("task", "n_shots", "step")
        .agg(expected=(pl.col("label_share_max") == 1).mean())
        .collect()
    )
    both = table.join(scored, on=["task", "n_shots", "step"])
    assert len(both) == len(table) > 0
    assert both["share"].to_list() == pytest.approx(both["expected"].to_list())
