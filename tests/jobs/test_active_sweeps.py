"""Active sweeps: their records, and two sweeps on one store."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import jobs.run_checkpoint
from dynamics.results.metadata import read_metadata, write_metadata
from dynamics.results.schema import TABLES
from dynamics.results.store import ResultStore, open_store
from jobs.active_sweeps import DELETED_SECONDS, STALE_SECONDS, ActiveSweep, active_sweeps, delete_stale, registered
from jobs.outcomes import Outcome
from jobs.sweep import app
from tests.models import write_plan
from tests.results import rows


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return open_store(tmp_path / "out", create=True)


def elsewhere(**changes: object) -> ActiveSweep:
    """An active sweep on another host."""
    now = time.time()
    return replace(ActiveSweep("run", "tiny", "another-host", 1, now - 10, now, 20), **changes)


def record(store: ResultStore, sweep: ActiveSweep, **more: object) -> None:
    write_metadata(store, "drivers", sweep.run, {**asdict(sweep), **more})


def test_a_sweep_is_seen_while_it_is_at_work(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.active_sweeps.RENEWED_SECONDS", 0.01)
    with registered(store, "mine", "tiny", 20) as note:
        note(Outcome("u", "u", "done"))
        deadline = time.monotonic() + 20
        while not active_sweeps(store)[0].done and time.monotonic() < deadline:
            time.sleep(0.01)
        (sweep,) = active_sweeps(store)
        assert (sweep.run, sweep.plan, sweep.pid, sweep.n_units) == ("mine", "tiny", os.getpid(), 20)
        assert (sweep.done, sweep.failed) == (1, 0)
    assert active_sweeps(store) == []
    assert read_metadata(store, "drivers") == {}


def test_the_silent_and_the_dead_are_not_at_work(store: ResultStore) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    record(store, elsewhere(run="alive"), new_column="of a later version")
    record(store, elsewhere(run="silent", beat=time.time() - STALE_SECONDS - 1))
    record(store, elsewhere(run="dead", host=socket.gethostname(), pid=ended.pid))
    write_metadata(store, "drivers", "foreign", {"host": "x"})
    (store.root / "drivers" / "torn.json").write_text("{")
    assert [sweep.run for sweep in active_sweeps(store)] == ["alive"]


def test_notes_of_the_long_dead_are_deleted(store: ResultStore) -> None:
    record(store, elsewhere(run="old", beat=time.time() - DELETED_SECONDS - 1))
    record(store, elsewhere(run="new"))
    delete_stale(store)
    assert list(read_metadata(store, "drivers")) == ["new"]


def test_a_second_sweep_says_that_another_is_at_work(tmp_path: Path, suite_folder: Path) -> None:
    store = open_store(tmp_path / "out", create=True)
    record(store, elsewhere())
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    done = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out"), "--executor", "inline"])
    assert done.exit_code == 0
    assert "another sweep is writing to this folder (plan tiny, host another-host, process 1, last seen" in done.output


def test_what_another_sweep_finishes_meanwhile_is_not_run_again_and_not_doubled(
    tmp_path: Path, suite_folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second sweep of the plan runs from start to end while the first is in its first task."""
    honest, calls = jobs.run_checkpoint.decompose, []
    call = [
        str(write_plan(tmp_path / "plan.toml", suite_folder)),
        "--out",
        str(tmp_path / "out"),
        "--executor",
        "inline",
    ]

    def slow(*args, **settings):
        calls.append(1)
        if len(calls) == 3:
            assert CliRunner().invoke(app, call).exit_code == 0
        return honest(*args, **settings)

    monkeypatch.setattr("jobs.run_checkpoint.decompose", slow)
    done = CliRunner().invoke(app, call)
    assert "20 of 20 units done, 0 failed" in done.output
    assert len(calls) == 10 + 20  # the first checkpoint's twice; the second was found done
    for table in TABLES:
        assert rows(tmp_path / "out", table).equals(rows(results, table)), table
