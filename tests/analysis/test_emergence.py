"""Curves and their null: a planted component is found, shuffled labels are not; against obvious loops."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import analysis
from analysis.__main__ import app
from analysis.reading.answers import StepAnswers, read_answers
from analysis.reading.credit import credit_counts
from analysis.reading.groups import Group, groups
from analysis.statistics.null import permuted_extremes
from analysis.statistics.replicates import all_counts, halves_of, permuted
from dynamics.errors import PlanError
from dynamics.scores import credit, encode


def test_curves_follow_from_the_score_tables(results: Path) -> None:
    table = analysis.run("emergence", results)
    scored = (
        analysis.load(results, "prompt_scores")
        .filter(pl.col("n_labelled") == 0)
        .group_by("task", "n_shots", "step", "method")
        .agg(expected=pl.col("accuracy").mean(), n=pl.len())
        .collect()
    )
    names = {"T1": "oracle_t1", "B1": "oracle_b1", "Full": "full"}
    prefix = pl.when("centred").then(pl.lit("centred_")).otherwise(pl.lit(""))
    both = table.with_columns(method=prefix + pl.col("curve").replace(names)).join(
        scored, on=["task", "n_shots", "step", "method"]
    )
    assert len(both) == 2 * 3 * len(scored.select("task", "n_shots", "step").unique())
    assert (both["mean"] - both["expected"]).abs().max() < 1e-12
    assert (both["n_prompts"] == both["n"]).all()


def test_last_t1_ends_as_held_out_t1(results: Path) -> None:
    """Both are chosen on one half of the last step's rows and scored on the other (tests/analysis/test_traced.py)."""
    table = analysis.run("emergence", results).filter(centred=False)
    at_end = table.filter(pl.col("step") == 4).sort("task", "n_shots")
    last, held_out = (at_end.filter(curve=curve)["mean"].to_list() for curve in ("Last-T1", "Held-out T1"))
    assert last == held_out
    assert len(last) == 3


def test_the_permuted_best_is_that_of_permuting_labels_one_at_a_time() -> None:
    rng = np.random.default_rng(0)
    gold = np.arange(12) % 3
    shares = credit(rng.integers(0, 3, (12, 4, 3)))  # small integers, so that ties of two and three occur
    labels, tied = encode(shares)
    ids = tuple(f"{i:02d}" for i in range(12))
    names = tuple(f"L0H{j}" for j in range(4))
    group = Group("toy", "float32", "none", "toy", 4)
    answers = StepAnswers(group, 0, None, ("a/0",), names, ids, gold, 3, labels[None], tied[None], gold[None], None)
    [(best, worst)] = permuted_extremes(answers)
    halves = halves_of(gold, ids)
    permutations = permuted(gold, halves, 3)
    for p in range(1, 1001, 97):
        by_half = [permutations.one_hot[h][p].reshape(3, -1).argmax(0) for h in (0, 1)]
        accuracies = [
            sum(
                shares[i, j, y] for half, ys in zip(halves, by_half, strict=True) for i, y in zip(half, ys, strict=True)
            )
            for j in range(4)
        ]
        assert best[p - 1] == pytest.approx(max(accuracies) / 12)
        assert worst[p - 1] == pytest.approx(min(accuracies) / 12)


def test_a_planted_component_leaves_the_null_and_noise_does_not() -> None:
    """Positive and negative control: 20 guessing components, then one that is right 80 % of the time."""
    rng = np.random.default_rng(1)
    gold = np.arange(200) % 2
    permutations = permuted(gold, (np.arange(100), np.arange(100, 200)), 2)
    inside = 0
    for _ in range(50):
        guesses = rng.integers(0, 2, (200, 20))
        null = all_counts(permutations, 0, credit_counts(guesses, None, 2)).sum(0)[1:].max(1) / 200
        best = (guesses == gold[:, None]).mean(0).max()
        inside += bool(best <= np.quantile(null, 0.99))
        guesses[:, 7] = np.where(rng.random(200) < 0.8, gold, 1 - gold)
        assert (guesses == gold[:, None]).mean(0).max() > np.quantile(null, 0.99)
    assert inside >= 47  # 50 draws at a level of 1 %: 47 or fewer inside has probability .014


def test_answers_hold_one_row_per_prompt_and_example(results: Path) -> None:
    group = groups(results)[0]
    answers = next(read_answers(results, group))
    n_prompts, n_examples, n_components = len(answers.prompts), len(answers.gold), len(answers.components)
    assert answers.credit.shape == (n_prompts, n_examples, n_components, answers.n_labels)
    assert np.bincount(answers.gold).tolist() == [n_examples // 2] * 2
    np.testing.assert_allclose(answers.credit.sum(-1), 1)


def test_heatmap_averages_over_prompts(results: Path) -> None:
    table = analysis.run("component_heatmap", results)
    assert table.filter(task="sentiment")["n_prompts"].unique().to_list() == [6]
    cell = table.filter(task="sentiment", step=4, component="L1H2")
    scores = analysis.load(results, "component_scores").filter(
        pl.col("task") == "sentiment", pl.col("step") == 4, pl.col("component") == "L1H2", pl.col("split") == "test"
    )
    assert cell["accuracy"].item() == pytest.approx(scores.select(pl.col("accuracy").mean()).collect().item())


ABOUT_OTHER_RESULTS = {
    *("by_tokens", "paper_dynamics", "precision", "scaling", "seed_matching", "seed_onsets", "seed_spread"),
    *("ablations", "anchors", "demonstration_sensitivity", "direct_total", "mechanism_onsets", "mechanisms"),
}
"""What needs several models, a size in a name, several seeds, two dtypes, Pythia-6.9B itself, or mechanisms."""


@pytest.mark.parametrize("name", sorted(analysis.ANALYSES))
def test_the_command_prints_and_writes_every_analysis(name: str, results: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [name, "--results", str(results), "--out", str(tmp_path)])
    assert done.exit_code == 0
    assert ("model = tiny" in done.output) is (name not in ABOUT_OTHER_RESULTS)
    assert ("holds nothing of these results" in done.output) is (len(analysis.run(name, results)) == 0)
    assert len(pl.read_csv(tmp_path / f"{name}.csv")) == len(analysis.run(name, results))


def test_unknown_names_and_folders_raise(tmp_path: Path, results: Path) -> None:
    with pytest.raises(PlanError, match="unknown analysis 'emergance'; did you mean 'emergence'"):
        analysis.run("emergance", results)
    ended = CliRunner().invoke(app, ["emergence", "--results", str(tmp_path)])
    assert ended.exit_code == 2
    assert "holds no results; run `pythia-emergence sweep" in ended.output
