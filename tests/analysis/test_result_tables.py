"""Valid checkpoints: flagged ones are left out of every estimate, and every table names them."""

from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.reading.result_tables import flagged_checkpoints, valid_rows
from tests.stores import N_CANDIDATES, add_unit, answering, new_store

GOLD = np.arange(20) % 2
WEIGHTS = {0: "init", 1: "init", 2: "init", 4: "four", 8: "late", 16: "late", 32: "bad", 64: "end"}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Steps 0 to 2 hold the initial weights, 8 and 16 the same ones, 32 is quarantined."""
    store = new_store(tmp_path / "r")
    flags = {step: ["duplicate"] for step in (0, 1, 2, 8, 16)} | {32: ["bos", "quarantined"]}
    for step, weights in WEIGHTS.items():
        right = [min(1.0, 0.5 + step / 128)] * N_CANDIDATES
        add_unit(store, answering(right, GOLD), GOLD, step=step, flags=flags.get(step, []), content_hash=weights)
    return store.root


def test_flagged_steps_are_invalid_but_for_the_initial_weights(suite: Path) -> None:
    assert {step: (flags, counts) for _, _, _, step, flags, counts in flagged_checkpoints(suite).iter_rows()} == {
        0: ("duplicate", True),
        1: ("duplicate", False),
        2: ("duplicate", False),
        8: ("duplicate", False),
        16: ("duplicate", False),
        32: ("quarantined", False),
    }
    assert valid_rows(suite, "units").select("step").collect()["step"].sort().to_list() == [0, 4, 64]
    assert analysis.load(suite, "units").collect()["step"].n_unique() == len(WEIGHTS)


def test_step_zero_with_later_weights_is_invalid(tmp_path: Path) -> None:
    store = new_store(tmp_path / "r")
    for step, weights in ((0, "end"), (1, "one"), (64, "end")):
        flags = ["duplicate"] if weights == "end" else []
        add_unit(store, answering([0.5] * N_CANDIDATES, GOLD), GOLD, step=step, flags=flags, content_hash=weights)
    assert flagged_checkpoints(store.root).select("step", "counts").rows() == [(0, False), (64, False)]


@pytest.mark.parametrize("name", ["emergence", "component_heatmap", "diamond", "component_kinds"])
def test_every_table_leaves_them_out_and_names_them(name: str, suite: Path) -> None:
    table = analysis.run(name, suite)
    assert table["step"].unique().sort().to_list() == [0, 4, 64]
    named = "0:duplicate 1:duplicate 2:duplicate 8:duplicate 16:duplicate 32:quarantined"
    assert table["flagged"].unique().to_list() == [named]


@pytest.mark.parametrize("name", sorted(analysis.ANALYSES))
def test_no_analysis_lacks_the_column(name: str, results: Path) -> None:
    table = analysis.run(name, results)
    assert table["flagged"].unique().to_list() in ([""], [])
