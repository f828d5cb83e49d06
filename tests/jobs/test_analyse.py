"""An analysis whose steps are computed by the workers of a Ray cluster: the same table, of remote results."""

import os
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import analysis
from dynamics.results.places import place, put
from jobs.analyse import app
from tests.s3_server import LocalS3
from tests.stores import add_step, new_store, settle

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]


def test_a_cluster_computes_the_steps_and_the_table_is_the_same(
    s3: LocalS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.reading.snapshots._TICK_OF_OBJECTS_NS", 0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", os.fspath(Path(__file__).parents[2]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    local, remote = tmp_path / "out", place(f"s3://{s3.bucket()}/out")
    new_store(local)
    for step in (1, 2, 32):
        add_step(local, step)
    settle(local)
    for file in local.rglob("*.*"):
        if file.is_file():
            put(remote / file.relative_to(local).as_posix(), file.read_bytes())
    expected = analysis.run("emergence", local)
    with monkeypatch.context() as patch:
        patch.setattr("analysis.cache.steps.StepWork.arrays", None)  # here: workers have processes of their own
        done = CliRunner().invoke(app, ["emergence", "--results", str(remote), "--out", str(tmp_path / "csv")])
    assert done.exit_code == 0, done.output
    written = pl.read_csv(tmp_path / "csv" / "emergence.csv", schema=expected.schema)
    assert written.equals(expected)
    assert {file.name for file in tmp_path.glob("csv/*")} == {"emergence.csv"}
