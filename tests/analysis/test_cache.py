"""What analyses keep: made again exactly when what they read has changed, whole or not at all, and without a trace."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import analysis
from analysis.__main__ import app
from analysis.cache import folders, tables
from analysis.reading import snapshots
from dynamics.results.places import place, put, read
from dynamics.results.store import ResultStore
from tests.s3_server import LocalS3
from tests.stores import add_step


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The result tables that are scanned."""
    scanned: list[str] = []
    scan = snapshots.scan

    def counted(store: ResultStore, name: str, *more: Any) -> pl.LazyFrame:
        scanned.append(name)
        return scan(store, name, *more)

    monkeypatch.setattr(snapshots, "scan", counted)
    return scanned


def kept(root: Path, name: str) -> Path:
    """The file of a kept table."""
    return root / folders.IN_RESULTS / f"{name}.parquet"


@pytest.mark.parametrize("name", ["component_heatmap", "provenance", "weights", "emergence", "diamond"])
def test_a_second_time_nothing_is_scanned_and_the_table_is_the_same(name: str, root: Path, scans: list[str]) -> None:
    first = analysis.run(name, root)
    assert scans or name == "provenance"
    scans.clear()
    assert_frame_equal(analysis.run(name, str(root)), first, check_exact=True)
    assert scans == []


def test_only_tables_that_read_a_changed_file_are_made_again(root: Path, scans: list[str]) -> None:
    for name in ("component_heatmap", "weights"):
        analysis.run(name, root)
    settled = [kept(root, name).read_bytes() for name in ("component_heatmap", "weights")]
    file = next((root / "reweightings").rglob("step=32/*.parquet"))
    os.utime(file, ns=(0, 0))
    scans.clear()
    analysis.run("component_heatmap", root)
    assert scans == []
    analysis.run("weights", root)
    assert "reweightings" in scans
    assert kept(root, "component_heatmap").read_bytes() == settled[0]
    assert kept(root, "weights").read_bytes() != settled[1]


def test_a_new_checkpoint_is_in_the_table(root: Path) -> None:
    before = analysis.run("component_heatmap", root)
    add_step(root, 64)
    assert set(analysis.run("component_heatmap", root)["step"]) - set(before["step"]) == {64}


def test_other_code_makes_every_table_again(root: Path, scans: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    analysis.run("component_heatmap", root)
    scans.clear()
    monkeypatch.setattr(tables, "code_hash", lambda: "another")
    analysis.run("component_heatmap", root)
    assert scans
    scans.clear()
    analysis.run("component_heatmap", root)
    assert scans == []


def test_fresh_ignores_what_is_kept_and_keeps_the_new(root: Path, scans: list[str]) -> None:
    table = analysis.run("component_heatmap", root)
    wrong = table.with_columns(accuracy=pl.lit(0.0))
    with snapshots.snapshot(root) as now:
        tables._keep({"component_heatmap": wrong}, now, ["units", "component_scores"])
    assert analysis.run("component_heatmap", root)["accuracy"].max() == 0
    scans.clear()
    assert_frame_equal(analysis.run("component_heatmap", root, fresh=True), table)
    assert "component_scores" in scans
    assert_frame_equal(analysis.run("component_heatmap", root), table)


@pytest.mark.parametrize("damage", [lambda _: b"", lambda data: data[:-20], lambda data: data[:99] + b"?" + data[100:]])
def test_a_damaged_table_is_made_again(damage: Callable[[bytes], bytes], root: Path) -> None:
    table = analysis.run("component_heatmap", root)
    whole = kept(root, "component_heatmap").read_bytes()
    kept(root, "component_heatmap").write_bytes(damage(whole))
    assert_frame_equal(analysis.run("component_heatmap", root), table)
    assert kept(root, "component_heatmap").read_bytes() == whole


def test_a_kill_while_a_table_is_written_leaves_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dynamics.atomic_write.os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            analysis.run("component_heatmap", root)
    assert not kept(root, "component_heatmap").exists()
    assert len(analysis.run("component_heatmap", root))


def test_nothing_is_kept_of_results_that_change_meanwhile(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def while_a_sweep_writes(results: Path) -> pl.DataFrame:
        table = analysis.load(results, "component_scores").select("step").unique().collect()
        add_step(root, 64)
        return table

    monkeypatch.setitem(analysis.ANALYSES, "component_heatmap", while_a_sweep_writes)
    assert len(analysis.run("component_heatmap", root)) == 4
    assert not kept(root, "component_heatmap").exists()
    assert len(analysis.run("component_heatmap", root)) == 5


def test_nothing_is_kept_of_files_so_new_that_a_change_could_have_their_time(root: Path) -> None:
    soon = snapshots.time.time_ns() + 10**9
    os.utime(next((root / "component_scores").rglob("*.parquet")), ns=(soon, soon))
    analysis.run("component_heatmap", root)
    assert not kept(root, "component_heatmap").exists()


def test_one_pass_makes_all_tables_of_curves(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("emergence", "onsets", "leads", "paper_dynamics")
    expected = {name: analysis.run(name, root, fresh=True) for name in names}
    analysis.run("emergence", root, fresh=True)
    monkeypatch.setattr("analysis.curve_tables.scored_groups", None)
    for name, table in expected.items():
        assert_frame_equal(analysis.run(name, root), table, check_exact=True)


def test_two_processes_at_once_give_the_same(root: Path) -> None:
    code = f"import analysis; print(analysis.run('emergence', {str(root)!r}).hash_rows().sum())"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert outputs[0] == outputs[1] == f"{analysis.run('emergence', root).hash_rows().sum()}\n"


def test_of_results_that_cannot_be_written_tables_are_kept_in_the_users_cache(
    root: Path, scans: list[str], tmp_path: Path
) -> None:
    (root / "analysis").write_text("a file, so that no folder can be made here")
    command = ["component_heatmap", "--results", str(root), "--out", str(tmp_path / "csv")]
    assert CliRunner().invoke(app, command).exit_code == 0
    scans.clear()
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, scans) == (0, [])
    other = tmp_path / "elsewhere" / "out"
    shutil.copytree(root, other)
    CliRunner().invoke(app, ["component_heatmap", "--results", str(other), "--out", str(tmp_path / "csv")])
    assert scans, "another folder's table was taken"


def test_where_nothing_can_be_kept_tables_are_computed_all_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = analysis.run("emergence", root, fresh=True)
    shutil.rmtree(root / "analysis")
    (root / "analysis").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "analysis"))
    assert_frame_equal(analysis.run("emergence", root), table, check_exact=True)


def test_folders_of_the_users_cache_that_are_long_unused_are_deleted(user_cache: Path) -> None:
    old = folders.folders(place("s3://lab/old"))[0]
    old.mkdir(parents=True)
    (old / "x.parquet").write_bytes(b"")
    os.utime(old, (0, 0))
    (new,) = folders.folders(place("s3://lab/new"))
    folders.keep(place("s3://lab/new"), "y.parquet", b"")
    assert (old.exists(), new.exists()) == (False, True)
    assert new.is_relative_to(user_cache)


def test_tables_of_remote_results_are_kept_in_the_users_cache(
    s3: LocalS3, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_TICK_OF_OBJECTS_NS", 0)
    remote = place(f"s3://{s3.bucket()}/out")
    for file in root.rglob("*"):
        if file.is_file():
            put(remote / file.relative_to(root).as_posix(), file.read_bytes())
    table = analysis.run("emergence", root)
    s3.requests.clear()
    assert_frame_equal(analysis.run("emergence", remote), table)
    assert s3.count("PUT", "") == 0
    s3.requests.clear()
    assert_frame_equal(analysis.run("emergence", remote), table)
    assert s3.count("GET", r"\.parquet") == 0
    scores = next(iter(root.glob("predictions/*/step=32/*.parquet")))
    where = remote / scores.relative_to(root).as_posix()
    put(where, read(where))
    s3.requests.clear()
    analysis.run("emergence", remote)
    steps = {found[1] for _, path, _ in s3.requests if (found := re.search(r"/component_scores/.*step=(\d+)", path))}
    assert steps == {"1", "32"}, "the first tells the test rows; of the others only the changed one is read"
