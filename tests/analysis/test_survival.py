"""The final top five backwards: planted careers, ties, and chance against all permutations."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.reading.answers import all_common_prompts, read_answers
from analysis.survival import membership, overlap_by_chance
from dynamics import scores
from dynamics.methods.selection import balanced_halves
from dynamics.results.places import place
from figures import survival as figure
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(200) % 2


def test_membership_shares_the_last_places_among_the_tied() -> None:
    accuracy = np.array([[0.9, 0.8, 0.5, 0.5, 0.5, 0.1], [0.5] * 6, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
    third = 1 / 3
    expected = [[1, 1, third, third, third, 0], [0.5] * 6, [0, 0, 0, 1, 1, 1]]
    np.testing.assert_allclose(membership(accuracy, 3), expected)
    assert membership(accuracy[:, :2], 5).tolist() == [[1, 1]] * 3


def test_chance_is_the_mean_over_all_permutations() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        final, top = (membership(rng.integers(0, 3, (1, 6)) / 3, 3) for _ in range(2))
        overlaps = [np.minimum(final, top[:, list(order)]).sum() for order in permutations(range(6))]
        assert overlap_by_chance(final, top)[0] == pytest.approx(np.mean(overlaps))


def test_planted_careers(tmp_path: Path) -> None:
    """Of the final five, 0 is always on top, 1 from step 2 on, 2 at step 1 and then not, 3 and 4 at the end."""
    store = new_store(tmp_path / "out")
    tops = {1: (0, 2, 5, 6, 7), 2: (0, 1, 5, 6, 7), 4: (0, 1, 2, 3, 4)}
    for step, top in tops.items():
        right = [0.9 if j in top else 0.2 for j in range(10)]
        add_unit(store, answering(right, GOLD), GOLD, step=step)
    table = analysis.run("survival", store.root)
    assert table["step"].to_list() == [1, 2, 4]
    assert table["present"].to_list() == pytest.approx([0.4, 0.4, 1])
    assert table["survived"].to_list() == pytest.approx([0.2, 0.4, 1])
    assert table["accuracy"].to_list() == pytest.approx([(2 * 0.9 + 3 * 0.2) / 5, (2 * 0.9 + 3 * 0.2) / 5, 0.9])
    assert table["by_luck"].to_list() == pytest.approx([0.5, 0.5, 0.5])
    assert table["final_step"].unique().to_list() == [4]


def test_survival_never_falls_with_training(results: Path) -> None:
    table = analysis.run("survival", results)
    for (_, _), curve in table.group_by("task", "n_shots"):
        survived = curve.sort("step")["survived"]
        assert survived.is_sorted()
        assert survived[-1] == 1
        assert (curve["survived"] <= curve["present"] + 1e-12).all()


def test_halves_of_the_same_step_give_the_ceiling_and_others_less(tmp_path: Path) -> None:
    """Ten components of falling accuracy at the last step, and of rising accuracy before."""
    store = new_store(tmp_path / "out")
    right = {1: np.linspace(0.3, 0.95, 10), 2: np.linspace(0.95, 0.3, 10)}
    for step, shares in right.items():
        for seed in (0, 1, 2):
            add_unit(store, answering(shares.tolist(), GOLD, seed), GOLD, step=step, demo_seed=seed)
    table = analysis.run("survival", store.root)
    assert table["across_halves"].to_list() == pytest.approx([0.05, 0.95], abs=0.06)
    assert table["ceiling"].to_list() == [table["across_halves"][1]] * 2


def test_guesses_have_a_ceiling_at_chance(tmp_path: Path) -> None:
    """Nothing changes between the steps, and everything is noise: `present` says 1, the ceiling a half of the ten."""
    store = new_store(tmp_path / "out")
    for seed in range(12):
        guesses = np.random.default_rng(seed).integers(0, 2, (200, 10))
        for step in (1, 2):
            add_unit(store, guesses, GOLD, step=step, demo_seed=seed)
    table = analysis.run("survival", store.root)
    assert table["present"].to_list() == [1, 1]
    assert table["ceiling"][0] == pytest.approx(0.5, abs=0.12)
    assert table["across_halves"].to_list() == pytest.approx([table["ceiling"][0]] * 2)


def test_the_ceiling_is_what_a_loop_counts(results: Path) -> None:
    table = analysis.run("survival", results).filter(task="sentiment")
    (common,) = [c for c in all_common_prompts(place(results)) if c.group.task == "sentiment"]
    tops = {}
    for answers in read_answers(place(results), common.group, common):
        in_first = balanced_halves(answers.gold, np.array(answers.example_id))
        right = scores.at_gold(answers.credit.transpose(1, 0, 2, 3), answers.gold)
        tops[answers.step] = [membership(right[half].mean(0)) for half in (in_first, ~in_first)]
    first, second = tops[4]
    for step, (a, b) in tops.items():
        expected = np.mean([np.minimum(first, b).sum(1) / 5, np.minimum(second, a).sum(1) / 5])
        assert table.filter(step=step)["across_halves"].item() == pytest.approx(expected)


def test_the_figure_draws_the_ceiling(results: Path) -> None:
    table = analysis.run("survival", results)
    axes = figure.draw(table)["survival"].axes[0]
    (line,) = [line for line in axes.lines if line.get_label() == "ceiling"]
    first = table.filter(task="sentiment")["ceiling"][0]
    assert set(np.asarray(line.get_ydata()).tolist()) == {first}
    assert "noise leaves" in figure.caption(table)
