"""Steps that were scored once: new ones cost what is new, and the tables are those of a computation from scratch."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from polars.testing import assert_frame_equal

import analysis
from analysis.cache import parallel, step_tables, steps
from analysis.cache.folders import IN_RESULTS
from analysis.cache.parallel import mapping, processes
from analysis.cache.steps import Arrays, StepWork
from analysis.reading.answers import StepAnswers
from analysis.reading.groups import Group
from analysis.reading.result_tables import load
from analysis.statistics import curves
from analysis.statistics.curve_accuracies import Design
from dynamics.errors import LostProcess, StoreError
from tests.stores import add_step, settle

Capture = pytest.CaptureFixture[str]
CURVES = ("emergence", "onsets", "leads", "grid_thinning", "bias_or_knowledge", "false_emergence")


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that are scored."""
    found: list[int] = []
    score = curves.score_step

    def counted(answers: StepAnswers, design: Design) -> Arrays:
        found.append(answers.step)
        return score(answers, design)

    monkeypatch.setattr(curves, "score_step", counted)
    return found


def files(root: Path) -> list[str]:
    """The steps that are kept, one for each form."""
    return sorted(file.name.split("-")[0] for file in (root / IN_RESULTS / "steps").glob("*/*/*"))


def test_one_more_checkpoint_is_scored_alone(root: Path, scored: list[int], tmp_path: Path) -> None:
    analysis.run("emergence", root)
    assert sorted(scored) == [1, 1, 2, 2, 4, 4, 32, 32], "each, as it is and less its label bias"
    scored.clear()
    add_step(root, 64)
    settle(root / "predictions" / "model=toy" / "step=64")
    incremental = {name: analysis.run(name, root) for name in CURVES}
    assert set(scored) == {64}
    shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("analysis"))
    for name, table in incremental.items():
        assert_frame_equal(analysis.run(name, tmp_path / "copy"), table, check_exact=True)


def test_what_is_kept_does_not_grow_with_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis.run("emergence", root)
    assert files(root) == ["1", "1", "2", "2", "32", "32", "4", "4"]
    monkeypatch.setattr(steps, "code_hash", lambda: "another")
    analysis.run("emergence", root, fresh=True)
    assert files(root) == ["1", "1", "2", "2", "32", "32", "4", "4"]
    for table in ("units", "predictions", "component_scores", "prompt_scores", "reweightings"):
        shutil.rmtree(root / table / "model=toy" / "step=32")
    analysis.run("emergence", root)
    assert files(root) == ["1", "1", "2", "2", "4", "4"]


def test_what_another_process_is_writing_is_left_alone_and_what_a_kill_left_is_deleted(root: Path) -> None:
    analysis.run("emergence", root)
    folder = next((root / IN_RESULTS / "steps").glob("*/*"))
    for name in (".tmp-new", ".tmp-old"):
        (folder / name).write_bytes(b"")
    os.utime(folder / ".tmp-old", (0, 0))
    analysis.run("emergence", root, fresh=True)
    assert sorted(file.name for file in folder.glob(".tmp-*")) == [".tmp-new"]


def test_damaged_arrays_are_computed_again(root: Path) -> None:
    table = analysis.run("emergence", root)
    for file in (root / IN_RESULTS / "steps").glob("*/*/*"):
        file.write_bytes(file.read_bytes()[:-7])
    for file in (root / IN_RESULTS).glob("*.parquet"):
        file.unlink()
    assert_frame_equal(analysis.run("emergence", root), table, check_exact=True)


def test_arrays_are_unpacked_as_they_were_packed() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "a/few values": np.array([0.1, np.nan, -0.0, 0.0] * 50, np.float32).reshape(4, 50),
        "f/few values": np.array([0.1, 0.2, 0.7, 0.1] * 50, np.float32).reshape(50, 4).T,
        "f/many": rng.random((3, 4)).T,
        "many": rng.random((3, 4)),
        "whole": rng.integers(0, 9, (2, 3, 4)).astype(np.uint16),
        "scalar": np.array(-1),
        "empty": np.zeros((3, 0)),
    }
    unpacked = steps._unpacked(steps._packed(arrays))
    assert sorted(unpacked) == sorted(arrays)
    for name, values in arrays.items():
        assert (unpacked[name].dtype, unpacked[name].shape) == (values.dtype, values.shape)
        assert unpacked[name].tobytes() == values.tobytes()
        assert not values.size or unpacked[name].strides == values.strides, "a sum adds in the order of memory"


def test_a_step_may_read_only_the_tables_that_its_hash_covers(root: Path) -> None:
    def reads_weights(results: Path, *_: object) -> Arrays:
        load(results, "reweightings")
        return {}

    work = StepWork("weights", reads_weights, root, Group("toy", "float32", "none", "sst2", 4), 32, "raw", None)
    with pytest.raises(AssertionError, match="reweightings"):
        work.arrays()


def test_two_processes_give_the_same_as_one(root: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    alone = {name: analysis.run(name, root) for name in CURVES}
    shutil.rmtree(root / IN_RESULTS)
    monkeypatch.setattr(parallel, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(parallel, "LINE_SECONDS", 0.0)
    with processes(2) as in_processes, mapping(in_processes):
        together = {name: analysis.run(name, root) for name in CURVES}
    for name, table in alone.items():
        assert_frame_equal(together[name], table, check_exact=True)
    assert "steps of curves: 8 of 8" in capfd.readouterr().err


def test_work_of_other_code_is_refused() -> None:
    with pytest.raises(StoreError, match="run again"):
        parallel._with_tables("another", abs, 1)


def process_of(_: object) -> int:
    """The id of the process that it is called in."""
    return os.getpid()


def test_a_process_that_ends_costs_its_work_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "LONG_SECONDS", 0.0)
    with processes(2) as in_processes:
        lost = in_processes(end_elsewhere, [os.getpid()] * 3, "ends")
        assert next(lost) == os.getpid()
        with pytest.raises(LostProcess, match="for lack of memory; use fewer --workers"):
            next(lost)
        assert list(in_processes(abs, [-3, 1, -2], "numbers")) == [3, 1, 2]


def end_elsewhere(asking: int) -> int:
    """The id of this process, where it is the one that asks; any other ends."""
    if os.getpid() != asking:
        os._exit(1)
    return asking


def test_results_come_in_order_and_what_is_left_is_told(monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    monkeypatch.setattr(parallel, "LONG_SECONDS", 0.0)
    with processes(2) as in_processes:
        assert list(in_processes(abs, [-3, 1, -2], "numbers")) == [3, 1, 2]
        assert os.getpid() not in in_processes(process_of, "ab", "letters"), "they serve what comes later too"
    monkeypatch.setattr(parallel, "LINE_SECONDS", 0.0)
    assert list(parallel.with_progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(";")[0] for line in lines] == ["letters: 2 of 3", "letters: 3 of 3"]


@pytest.mark.parametrize("name", ["diamond", "component_kinds", "sensitivity", "component_sensitivity"])
def test_rows_of_steps_are_kept_by_step(name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis.run(name, root)
    add_step(root, 64)
    read: list[int] = []
    read_answers = step_tables.read_answers

    def counted(results: Path, group: Group, steps: list[int]) -> Iterator[StepAnswers]:
        read.extend(steps)
        return read_answers(results, group, steps=steps)

    monkeypatch.setattr(step_tables, "read_answers", counted)
    table = analysis.run(name, root)
    assert read == [64]
    assert set(table["step"]) == {1, 2, 4, 32, 64}
    shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("analysis"))
    assert_frame_equal(analysis.run(name, tmp_path / "copy"), table, check_exact=True)


def test_workers_end_when_the_process_that_asks_is_killed(tmp_path: Path) -> None:
    code = (
        "import os\nfrom analysis.cache import parallel\nparallel.LONG_SECONDS = 0\n"
        "if __name__ == '__main__':\n"
        "    with parallel.processes(2) as in_processes:\n"
        "        for pid in in_processes(eval, ['__import__(\"os\").getpid()'] * 3, 'pids'):\n"
        "            if pid != os.getpid():\n"
        "                print(pid, flush=True)\n"
        "                os.kill(os.getpid(), 9)\n"
    )
    (tmp_path / "asks.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[2])}
    command = [sys.executable, str(tmp_path / "asks.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == -9, done.stderr
    (worker,) = map(int, done.stdout.split())
    deadline = time.monotonic() + 60
    while psutil.pid_exists(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(worker)
