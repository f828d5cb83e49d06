"""The store: whole parts or none, the units row as commit, and what readers leave out."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from dynamics.components import component_grid
from dynamics.errors import StoreError
from dynamics.results import object_stores
from dynamics.results import store as store_module
from dynamics.results.checksums import encode
from dynamics.results.file_names import OPTIONAL, part_id
from dynamics.results.places import Place, put, read
from dynamics.results.schema import COLUMNS, KEYS, TABLES
from dynamics.results.store import ResultStore, open_store, part_files, read_units, scan, write_failures, write_units
from dynamics.results.tables import table, unit_tables
from dynamics.unit_arrays import UnitArrays
from tests.s3_server import LocalS3

GRID = component_grid(1, 2, attention_bias=True)


def keys(unit_id: str, step: int = 0) -> dict[str, object]:
    """Keys of a unit."""
    return {
        "unit_id": unit_id, "model": "org/model", "revision": f"step{step}", "step": step, "tokens_seen": None,
        "commit_sha": "abc", "dtype": "float32", "control": "none", "task": "toy", "template": "plain",
        "demo_seed": int(unit_id[1:]), "n_shots": 4,
    }  # fmt: skip


def write(store: ResultStore, unit_ids: list[str], step: int = 0) -> None:
    """Commit finished units with random contributions that depend on the unit id only."""
    parts = []
    for unit_id in unit_ids:
        rng = np.random.default_rng(list(unit_id.encode()))
        contributions = rng.normal(size=(4, len(GRID), 2)).astype(np.float32)
        arrays = UnitArrays(
            keys(unit_id, step), GRID, ["train", "train", "test", "test"], list("abcd"), np.array([0, 1, 0, 1]),
            contributions, np.zeros(2, np.float32), contributions.sum(1), 4,
        )  # fmt: skip
        parts.append(unit_tables(arrays))
    record = {"part": part_id(unit_ids), "created": datetime.now(UTC)}
    units = pa.concat_tables([table("units", {**keys(u, step), **record}, {"status": ["done"]}) for u in unit_ids])
    write_units(store, units, {name: pa.concat_tables([p[name] for p in parts]) for name in parts[0]})


KEYS_OF_U1 = keys("u1")


@pytest.fixture(params=["folder", "file URI", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ResultStore:
    """An empty store, in each kind of place."""
    if request.param == "s3":
        return open_store(f"s3://{request.getfixturevalue('s3').bucket()}/some/out", create=True)
    return open_store(tmp_path / "out" if request.param == "folder" else (tmp_path / "out").as_uri(), create=True)


def files(store: ResultStore, table: str) -> list[Place]:
    """The files of a table."""
    return [entry.place for entry in part_files(store, table)]


def remove(where: Place) -> None:
    """Delete a file, as somebody who tidies up would."""
    if isinstance(where, Path):
        where.unlink()
    else:
        object_stores.filesystem(where).delete_file(str(where.path))


def test_rows_come_back_with_the_schema_of_the_contract(store: ResultStore) -> None:
    write(store, ["u1", "u2"])
    for name, schema in TABLES.items():
        rows = scan(store, name).collect()
        assert rows.columns == schema.names
        assert set(KEYS) <= set(COLUMNS[name])
        assert rows["unit_id"].unique().sort().to_list() == ([] if name in OPTIONAL else ["u1", "u2"])
    assert all(
        where.parent == store.root / "predictions/model=org%2Fmodel/step=0" for where in files(store, "predictions")
    )


def test_a_filter_on_the_step_opens_no_other_file(s3: LocalS3) -> None:
    store = open_store(f"s3://{s3.bucket()}/out", create=True)
    for step in range(4):
        write(store, [f"u{step}"], step)
    rows = scan(store, "predictions")
    s3.requests.clear()
    assert rows.filter(step=2).collect()["unit_id"].unique().to_list() == ["u2"]
    assert {path.split("/")[-2] for _, path, _ in s3.requests} == {"step=2"}


def test_folders_above_the_results_may_look_like_keys(tmp_path: Path) -> None:
    store = open_store(tmp_path / "model=x" / "seed=3" / "out", create=True)
    write(store, ["u1"], 7)
    assert scan(store, "predictions").select("model", "step").unique().collect().rows() == [("org/model", 7)]


def test_what_units_does_not_name_does_not_exist(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, ["u1"])
    real = store_module._write_part

    def dies_before_the_commit(path: Place, rows: pa.Table, name: str) -> None:
        if name == "units":
            raise KeyboardInterrupt
        real(path, rows, name)

    monkeypatch.setattr(store_module, "_write_part", dies_before_the_commit)
    with pytest.raises(KeyboardInterrupt):
        write(store, ["u2"])
    assert len(files(store, "predictions")) == 2
    assert scan(store, "predictions").collect()["unit_id"].unique().to_list() == ["u1"]
    monkeypatch.undo()
    write(store, ["u2"])
    assert len(scan(store, "predictions").collect()) == 8


def test_the_same_units_again_replace_themselves(store: ResultStore) -> None:
    write(store, ["u1", "u2"])
    first = scan(store, "component_scores").collect()
    write(store, ["u1", "u2"])
    assert scan(store, "component_scores").collect().equals(first)


def test_a_unit_in_two_parts_is_read_once(store: ResultStore) -> None:
    """Two drivers that grouped the same units otherwise."""
    write(store, ["u1", "u2"])
    write(store, ["u2", "u3"])
    rows = scan(store, "predictions").collect()
    assert rows.group_by("unit_id").len().sort("unit_id").rows() == [("u1", 4), ("u2", 4), ("u3", 4)]


def test_a_failure_is_recorded_and_superseded_by_success(store: ResultStore) -> None:
    record = {**keys("u1"), "error_class": "FailedCheck", "error": "parts miss", "created": datetime.now(UTC)}
    write_failures(store, table("units", record, {"status": ["failed"]}))
    assert read_units(store).select("unit_id", "status", "error_class").rows() == [("u1", "failed", "FailedCheck")]
    with pytest.raises(StoreError, match="holds no finished unit yet"):
        scan(store, "predictions")
    write(store, ["u1"])
    assert read_units(store)["status"].to_list() == ["done"]


def test_two_results_for_one_cell_are_refused(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two drivers with different settings that both committed."""
    write(store, ["u1"])
    monkeypatch.setattr("tests.dynamics.test_store.keys", lambda unit_id, _=0: {**KEYS_OF_U1, "unit_id": unit_id})
    write(store, ["u2"])
    with pytest.raises(StoreError, match=r"holds two different results for .*'demo_seed': 1"):
        read_units(store)


def test_temporary_files_are_not_read_and_empty_ones_are_refused(store: ResultStore) -> None:
    write(store, ["u1"])
    folder = files(store, "predictions")[0].parent
    put(folder / ".tmp-toy-1234", b"half a file")
    assert len(scan(store, "predictions").collect()) == 4
    put(folder / "toy-0123456789abcdef.parquet", b"")
    with pytest.raises(StoreError, match=r"toy-0123456789abcdef.parquet is empty \(0 bytes\)"):
        scan(store, "predictions")


def test_a_lost_part_is_named(store: ResultStore) -> None:
    write(store, ["u1"])
    remove(files(store, "predictions")[0])
    with pytest.raises(StoreError, match="predictions lacks 1 of 1 parts that `units` names"):
        scan(store, "predictions")


def test_a_column_that_a_file_lacks_is_null(store: ResultStore) -> None:
    write(store, ["u1"])
    write(store, ["u2"], step=1)
    path = next(where for where in files(store, "component_scores") if where.parent.name == "step=0")
    put(path, encode(pl.read_parquet(read(path)).drop("entropy").to_arrow(), "component_scores"))
    rows = scan(store, "component_scores").collect()
    assert rows.group_by("step").agg(pl.col("entropy").null_count()).sort("step").rows() == [(0, 10), (1, 0)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_text("x"), "is a file; results need a folder"),
        (lambda p: (p.mkdir(), (p / "thesis.doc").touch()), "holds files that are not results"),
        (lambda p: (p.mkdir(), (p / "store.json").write_text('{"schema_version": 99}')), "schema version 99"),
        (lambda p: (p.mkdir(), (p / "store.json").write_text("{")), "cannot be read"),
    ],
)
def test_a_folder_that_is_not_a_store_is_refused(tmp_path: Path, make, message: str) -> None:
    make(tmp_path / "out")
    with pytest.raises(StoreError, match=message):
        open_store(tmp_path / "out", create=True)


def test_an_unknown_table_answers_with_the_nearest(store: ResultStore) -> None:
    with pytest.raises(StoreError, match=r"unknown table 'prediction'; did you mean 'predictions'"):
        scan(store, "prediction")
    with pytest.raises(StoreError, match=r"holds no results; run `pythia-emergence sweep"):
        open_store(store.root / "elsewhere")


def test_every_column_says_what_it_is() -> None:
    for columns in COLUMNS.values():
        assert all(about for _, about in columns.values())
