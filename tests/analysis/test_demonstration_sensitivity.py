"""Components and a full model that follow the demonstrations, or do not, are told apart."""

from pathlib import Path

import numpy as np
import pytest

import analysis
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(40) % 2


def test_what_follows_the_demonstrations_is_told_from_what_knows_the_words(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for seed in (0, 1):
        for control, follower, other in (
            ("none", 1.0, 0.9),
            ("permuted_demonstrations-0", 0.0, 0.9),
            ("permuted_demonstrations-1", 0.2, 0.9),
            ("abstract_labels-0", 0.8, 0.5),
        ):
            answers = answering([follower, other] + [0.5] * 8, GOLD, seed)
            add_unit(store, answers, GOLD, full=answers[:, 0], control=control, demo_seed=seed, step=1)
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, step=2)
    table = analysis.run("demonstration_sensitivity", store.root)
    assert set(table["step"]) == {1}, "a step without these controls has no rows"
    rows = {row["component"]: row for row in table.iter_rows(named=True)}
    follower, other = rows["L0H0"], rows["L0H1"]
    assert [follower[name] for name in ("true", "permuted", "abstract")] == pytest.approx([1.0, 0.1, 0.8])
    assert follower["follows"] == pytest.approx(0.9)
    assert (other["follows"], other["abstract"]) == (pytest.approx(0.0), pytest.approx(0.5))
    assert (follower["n_prompts"], follower["n_control_seeds"]) == (2, 2)
    assert rows["Full"]["follows"] == pytest.approx(0.9)


def test_without_these_controls_the_table_is_empty(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    add_unit(store, answering([0.5] * 10, GOLD), GOLD)
    assert analysis.run("demonstration_sensitivity", store.root).is_empty()
