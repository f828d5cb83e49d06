"""Compaction: the same rows in few files, read by everything; the original untouched; never half a folder."""

import shutil
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

import analysis
import dynamics.results.compaction
from dynamics.errors import StoreError
from dynamics.results.schema import TABLES
from dynamics.results.store import open_store
from jobs import derive, status, sweep, verify
from jobs.compact import app
from tests.models import write_plan


def run(out: Path, to: Path) -> Result:
    """`python -m jobs.compact OUT --to DIR`."""
    return CliRunner().invoke(app, [str(out), "--to", str(to)])


def rows(out: Path, table: str) -> pl.DataFrame:
    """All rows of a table, sorted by all that sorts."""
    found = analysis.load(out, table).collect()
    return found.sort([name for name, kind in found.schema.items() if not kind.is_nested()], nulls_last=True)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, suite_folder: Path) -> Path:
    """Results with fits, two models, and a part in three pieces: two plans, one wider than the other. Read only."""
    folder = tmp_path_factory.mktemp("fitted")
    models = [{"id": name, "folder": str(suite_folder)} for name in ("a/b", "c")]
    task = {"name": "sentiment", "demo_seeds": 1, "n_test": 12, "n_train": 10}
    for templates in (["plain"], ["cue", "plain"]):
        plan = write_plan(
            folder / "plan.toml", suite_folder, models=models, fits={"n_labelled": [8]},
            tasks=[{**task, "templates": templates}], mechanisms=["copying", "ablation"],
        )  # fmt: skip
        done = CliRunner().invoke(sweep.app, [str(plan), "--out", str(folder / "out"), "--executor", "inline"])
        assert done.exit_code == 0, done.output
    return folder / "out"


@pytest.fixture(scope="module")
def compacted(fitted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its compaction. Read only."""
    to = tmp_path_factory.mktemp("compacted") / "few"
    assert run(fitted, to).exit_code == 0
    return to


def test_every_table_has_the_same_rows_in_one_file_a_model(fitted: Path, compacted: Path) -> None:
    for table in TABLES:
        assert rows(compacted, table).equals(rows(fitted, table)), table
        assert len(rows(compacted, table)) > 0
        files = sorted(
            path.relative_to(compacted / table).as_posix() for path in (compacted / table).rglob("*.parquet")
        )
        assert files == ["model=a%2Fb/0000.parquet", "model=c/0000.parquet"]


def test_rows_are_sorted_within_a_file(compacted: Path) -> None:
    order = ["task", "step", "template", "n_shots", "demo_seed"]
    for path in compacted.glob("*/model=*/*.parquet"):
        keys = pl.read_parquet(path, hive_partitioning=False).select(order)
        assert keys.equals(keys.sort(order, maintain_order=True)), path


def test_large_rows_go_to_more_files_and_no_unit_to_two(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamics.results.compaction, "FILE_BYTES", 1)
    assert run(fitted, tmp_path / "few").exit_code == 0
    files = list((tmp_path / "few/contributions/model=c").glob("*.parquet"))
    assert len(files) == 2  # one for each step
    ids = [set(pl.read_parquet(path)["unit_id"]) for path in files]
    assert not ids[0] & ids[1]
    assert rows(tmp_path / "few", "contributions").equals(rows(fitted, "contributions"))


def test_verify_status_and_duckdb_read_it(fitted: Path, compacted: Path) -> None:
    sound = CliRunner().invoke(verify.app, [str(compacted)])
    assert sound.exit_code == 0, sound.output
    assert "8 finished units in 16 files" in sound.output
    assert CliRunner().invoke(status.app, [str(compacted)]).exit_code == 0
    query = "select count(*), sum(accuracy) from '{}/component_scores/*/*.parquet'"
    scores = rows(fitted, "component_scores")
    (found,) = duckdb.sql(query.format(compacted)).fetchall()
    assert found == (len(scores), pytest.approx(scores["accuracy"].sum()))


def test_verify_sees_faults_in_it(compacted: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(compacted, tmp_path / "copy")
    path = min((copy / "predictions").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    damaged = CliRunner().invoke(verify.app, [str(copy)])
    assert damaged.exit_code == 1
    assert "problem (damaged)" in damaged.output
    assert "Traceback" not in damaged.output
    path.unlink()
    assert "problem (missing rows)" in CliRunner().invoke(verify.app, [str(copy)]).output
    assert CliRunner().invoke(verify.app, [str(copy), "--repair"]).exit_code == 2


def test_the_original_is_untouched_and_the_copy_is_for_reading(fitted: Path, compacted: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in fitted.rglob("*")}
    assert run(fitted, tmp_path / "few").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in fitted.rglob("*")} == before
    with pytest.raises(StoreError, match="is a compacted copy, only for reading; sweep into"):
        open_store(compacted, create=True)
    refused = CliRunner().invoke(derive.app, [str(compacted)])
    assert refused.exit_code == 2
    assert "compacted copy" in refused.output


@pytest.mark.parametrize(("to", "message"), [(".", "is or lies in"), ("sub", "is or lies in"), ("..", "is not empty")])
def test_a_place_that_holds_something_else_is_refused(fitted: Path, to: str, message: str) -> None:
    refused = run(fitted, fitted / to)
    assert refused.exit_code == 2
    assert message in refused.output


def test_a_finished_copy_is_not_written_over_and_none_is_made_of_it(fitted: Path, compacted: Path) -> None:
    assert "is not empty" in run(fitted, compacted).output
    assert "is a compacted copy already" in run(compacted, compacted.with_name("again")).output


def test_a_cut_off_compaction_is_no_results_folder_and_begins_again(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def dies(where, data: bytes) -> None:
        written.append(where)
        if len(written) == 6:
            raise KeyboardInterrupt
        honest(where, data)

    honest = dynamics.results.compaction.put
    monkeypatch.setattr(dynamics.results.compaction, "put", dies)
    assert run(fitted, tmp_path / "few").exit_code != 0
    with pytest.raises(StoreError, match="holds no results"):
        open_store(tmp_path / "few")
    monkeypatch.undo()
    assert run(fitted, tmp_path / "few").exit_code == 0
    assert rows(tmp_path / "few", "predictions").equals(rows(fitted, "predictions"))
    assert not (tmp_path / "few/compaction.json").exists()


def test_raced_units_and_orphans_stay_behind_and_a_lost_part_is_refused(fitted: Path, tmp_path: Path) -> None:
    out = shutil.copytree(fitted, tmp_path / "out")
    for path in list((out / "predictions/model=c").rglob("*.parquet")):
        shutil.copy(path, path.with_name("sentiment-" + "e" * 16 + ".parquet"))
    assert run(out, tmp_path / "few").exit_code == 0
    assert rows(tmp_path / "few", "predictions").equals(rows(fitted, "predictions"))
    min(path for path in (out / "component_scores/model=c").rglob("*.parquet")).unlink()
    refused = run(out, tmp_path / "other")
    assert refused.exit_code == 2
    assert "component_scores lacks the rows of" in refused.output


def test_a_changed_file_is_not_copied(fitted: Path, tmp_path: Path) -> None:
    """The copy's checksum would be right."""
    out = shutil.copytree(fitted, tmp_path / "out")
    path = min((out / "component_scores").rglob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[pq.read_metadata(path).row_group(0).column(0).data_page_offset + 30] ^= 1
    path.write_bytes(data)
    refused = run(out, tmp_path / "few")
    assert refused.exit_code == 2
    assert f"{path} is changed since it was written" in refused.output


def test_a_relative_folder_is_refused_in_a_job(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    refused = run(fitted, Path("few"))
    assert refused.exit_code == 2
    assert "--to few is relative: inside a Ray job" in refused.output
