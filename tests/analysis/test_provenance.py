"""Provenance: one row a checkpoint, with its flags and failures, and the plans."""

from pathlib import Path

import numpy as np

import analysis
from analysis.provenance import plans
from tests.stores import add_unit, answering, new_store

GOLD = np.arange(20) % 2


def test_every_checkpoint_has_a_row_with_its_checks(results: Path) -> None:
    table = analysis.run("provenance", results)
    assert table["step"].to_list() == [0, 4]
    assert (table["n_units"] > 0).all()
    assert table["n_failed"].to_list() == [0, 0]
    assert table["counts"].all()
    assert (table["decomposition_error"] < 1e-4).all()
    assert table["commit_sha"].n_unique() == 2
    assert "torch" in table["versions"][0]


def test_flagged_checkpoints_are_listed_as_invalid(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    for step, flags in ((1, ["duplicate"]), (2, ["duplicate"]), (8, [])):
        add_unit(store, answering([0.5] * 10, GOLD), GOLD, step=step, flags=flags)
    table = analysis.run("provenance", store.root)
    assert dict(table.select("step", "counts").rows()) == {1: False, 2: False, 8: True}
    assert table["flags"].to_list() == ["duplicate", "duplicate", ""]


def test_what_is_known_of_a_checkpoint_and_a_named_tokenizer_are_shown(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out")
    facts = {"notes": ["b", "a"], "tokenizer": "them/neox@main commit 0"}
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, step=1, facts=facts)
    add_unit(store, answering([0.5] * 10, GOLD), GOLD, step=2)
    table = analysis.run("provenance", store.root)
    assert table["notes"].to_list() == ["a; b", ""]
    assert table["tokenizer"].to_list() == ["them/neox@main commit 0", ""]


def test_the_plans_are_those_that_were_swept(results: Path) -> None:
    (text,) = plans(results).values()
    assert 'name = "tiny"' in text
