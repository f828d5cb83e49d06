"""The final top five backwards: planted careers, ties, and chance against all permutations."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.survival import membership, overlap_by_chance
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
