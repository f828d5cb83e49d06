"""Stored contributions come back as the arrays that were written."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dynamics.components import component_grid
from dynamics.errors import StoreError
from dynamics.results.contributions import contribution_arrays, read_label_logits, read_unit_arrays, unit_arrays
from dynamics.results.file_names import Part, part_id
from dynamics.results.store import ResultStore, open_store, parts, scan, write_units
from dynamics.results.tables import table, unit_tables
from dynamics.unit_arrays import UnitArrays

GRID = component_grid(1, 2, attention_bias=True)


def unit(unit_id: str, n_labels: int = 2, task: str = "sentiment") -> UnitArrays:
    """A unit of random contributions, with a skipped example."""
    rng = np.random.default_rng(list(unit_id.encode()))
    contributions = rng.normal(size=(4, len(GRID), n_labels)).astype(np.float32)
    constant = rng.normal(size=n_labels).astype(np.float32)
    keys = {"unit_id": unit_id, "model": "m", "revision": "r", "step": 0, "tokens_seen": None, "commit_sha": "abc"}
    keys |= {"dtype": "float32", "control": "none", "task": task, "template": "plain", "n_shots": 4}
    return UnitArrays(
        keys={**keys, "demo_seed": int(unit_id[1:])},
        components=GRID,
        split=["train", "train", "test", "test"],
        example_id=list("abcd"),
        gold=np.array([0, 1, 0, 1]),
        contributions=contributions,
        constant=constant,
        full=contributions.sum(1) + constant,
        n_shots_used=3,
        skipped=(("test", "e", 1, "too long"),),
        groups={"a": "a", "b": "a", "d": "d", "e": "d"},
    )


def write(store: ResultStore, arrays: UnitArrays) -> None:
    """Commit a unit as a part of its own."""
    record = {**arrays.keys, "part": part_id([str(arrays.keys["unit_id"])]), "n_shots_used": arrays.n_shots_used}
    write_units(store, table("units", record, {"status": ["done"]}), unit_tables(arrays))


def assert_equal(actual: UnitArrays, expected: UnitArrays) -> None:
    """Every field, arrays with their dtype."""
    for field in fields(UnitArrays):
        values = [getattr(arrays, field.name) for arrays in (actual, expected)]
        if isinstance(values[1], np.ndarray):
            np.testing.assert_array_equal(*values, strict=True)
        else:
            assert values[0] == values[1], field.name


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """A store with units u1 and u2 of one task, and u3 of a task with three labels."""
    store = open_store(tmp_path / "out", create=True)
    for arrays in (unit("u1"), unit("u2"), unit("u3", 3, "topic")):
        write(store, arrays)
    return store


def test_a_committed_part_comes_back_as_it_was_computed(store: ResultStore) -> None:
    read = [arrays for part in parts(store) for arrays in read_unit_arrays(store, part)]
    expected = [unit("u1"), unit("u2"), unit("u3", 3, "topic")]
    for actual in read:
        assert_equal(actual, next(arrays for arrays in expected if arrays.keys == actual.keys))
    assert len(read) == len(expected)


def test_rows_of_many_units_are_told_apart(store: ResultStore) -> None:
    rows, units = scan(store, "contributions").collect(), scan(store, "units").collect()
    for actual, expected in zip(
        unit_arrays(rows.sort("unit_id", maintain_order=True), units),
        [unit("u1"), unit("u2"), unit("u3", 3, "topic")],
        strict=True,
    ):
        assert_equal(actual, replace(expected, skipped=(), groups={"a": "a", "b": "a", "d": "d"}))


def test_rows_keep_their_order_and_sum_to_the_full_logits(store: ResultStore) -> None:
    rows = scan(store, "contributions").filter(pl.col("task") == "sentiment").collect().sort("unit_id", "example_id")
    arrays = contribution_arrays(rows.reverse())
    assert arrays.components == tuple(component.name for component in GRID)
    expected = np.concatenate([unit("u1").contributions, unit("u2").contributions])[::-1]
    np.testing.assert_array_equal(arrays.contributions, expected)
    np.testing.assert_allclose(arrays.contributions.sum(1) + arrays.constant, arrays.full, rtol=1e-5, atol=1e-5)


def test_rows_with_other_axes_are_no_array(store: ResultStore) -> None:
    rows = scan(store, "contributions").collect()
    with pytest.raises(ValueError, match=r"lists of `full` have lengths \[2, 3\]; give rows of one model"):
        contribution_arrays(rows)
    with pytest.raises(ValueError, match="0 rows of `contributions` have 0 different component axes"):
        contribution_arrays(rows.head(0))
    other = rows.with_columns(components=pl.lit("embed L0H0"))
    with pytest.raises(ValueError, match="have 2 different component axes; give the rows of one model"):
        contribution_arrays(pl.concat([rows.head(1), other.head(1)]))


def test_label_logits_are_those_of_the_test_rows(store: ResultStore) -> None:
    read = {key: logits for part in parts(store) for key, logits in read_label_logits(store, part).items()}
    assert sorted(read) == ["u1", "u2", "u3"]
    for unit_id, expected in (("u2", unit("u2")), ("u3", unit("u3", 3, "topic"))):
        assert read[unit_id].example_id == ["c", "d"]
        np.testing.assert_array_equal(read[unit_id].gold, expected.gold[2:], strict=True)
        np.testing.assert_array_equal(read[unit_id].full, expected.full[2:], strict=True)


@pytest.mark.parametrize("read", [read_unit_arrays, read_label_logits])
def test_nothing_is_read_of_a_part_that_lost_rows(read: Callable[[ResultStore, Part], object], tmp_path: Path) -> None:
    store, arrays = open_store(tmp_path / "out", create=True), unit("u1")
    counts = {"n_test": 2, "n_train": 2, "n_skipped": 1, "n_shots_used": 3, "part": part_id(["u1"])}
    rows = unit_tables(arrays)
    lost = {**rows, "contributions": rows["contributions"].slice(1)}
    write_units(store, table("units", {**arrays.keys, **counts}, {"status": ["done"]}), lost)
    with pytest.raises(StoreError, match="rows of 1 units are lost from contributions or predictions"):
        read(store, parts(store)[0])
