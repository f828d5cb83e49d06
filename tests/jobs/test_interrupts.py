"""A sweep that is interrupted ends in seconds, whatever it waits for; the same command then resumes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from dynamics.checkpoints import find_checkpoints
from dynamics.hub import disk
from dynamics.results.store import open_store, read_units
from jobs.doctor import app as doctor_app
from jobs.plan import app as plan_app
from jobs.sweep import app
from tests import hub_models as models
from tests.hub_server import FakeHub, Fault

REPO, STEPS = "EleutherAI/pythia-14m", (3, 4)
WEIGHTS = r"/resolve/.*\.safetensors"
SECONDS = 6.0
"""Within which a sweep ends; a test that fails ends after 20 s."""
LONG = {"Retry-After": "600"}


def write_plan(path: Path, hub: str = "") -> Path:
    """A plan of one unit at each of two steps."""
    path.write_text(
        f'name = "hub"\n[[models]]\nid = "{REPO}"\nsteps = {list(STEPS)}\n'
        f'[[tasks]]\nname = "sentiment"\ntemplates = ["plain"]\ndemo_seeds = 1\nn_test = 8\nn_train = 2\n'
        f"[hub]\n{hub}\n"
    )
    return path


@contextmanager
def interrupted_when(begun: Callable[[], Any]) -> Iterator[list[float]]:
    """Send SIGINT to this process soon after something has begun; gives the time of that."""
    times: list[float] = []
    ended = threading.Event()

    def interrupt() -> None:
        while not begun() and not ended.wait(0.02):
            pass
        if ended.wait(0.3):
            return
        times.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
        if not ended.wait(20):  # so that a test fails instead of hanging
            signal.siginterrupt(signal.SIGINT, True)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield times
    finally:
        ended.set()
        thread.join()


@dataclass(frozen=True)
class Case:
    """A wait: the faults that cause it, how it is seen that it has begun, and settings of the plan."""

    faults: tuple[Fault, ...] = ()
    begun: Callable[[FakeHub], Any] = lambda hub: hub.faults[0].times < 99
    ahead: int = 1
    pace: float | None = None
    held: bool = False


def begun_file(hub: FakeHub) -> int:
    """GETs of weights."""
    return hub.files["model.safetensors"]


CASES = {
    "refs, Retry-After": Case((Fault("status", "/refs", status=429, headers=LONG, times=99),)),
    "refs, hanging": Case((Fault("hang", "/refs", times=99),)),
    "listings, Retry-After": Case((Fault("status", "/tree/", status=429, headers=LONG, times=99),)),
    "listings, hanging": Case((Fault("hang", "/tree/", times=99),)),
    "file ahead, hanging": Case((Fault("hang", WEIGHTS, times=99),)),
    "file, hanging": Case((Fault("hang", WEIGHTS, times=99),), ahead=0),
    "file ahead, slow": Case(pace=20_000, begun=begun_file),
    "file, slow": Case(pace=20_000, begun=begun_file, ahead=0),
    "file ahead, Retry-After": Case((Fault("status", WEIGHTS, status=429, headers=LONG, times=99),)),
    "file, Retry-After": Case((Fault("status", WEIGHTS, status=429, headers=LONG, times=99),), ahead=0),
    "disk ahead": Case(held=True, begun=lambda hub: hub.requests["GET refs"]),
    "disk": Case(held=True, begun=lambda hub: hub.requests["GET refs"], ahead=0),
}


@pytest.fixture
def patient(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """The local Hub, with the time limits and the waits of a real sweep, and two steps."""
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", 30)
    monkeypatch.setattr("dynamics.hub.api.API_TIMEOUT", 30.0)
    monkeypatch.setattr("huggingface_hub.utils._http.time", time)
    for step in STEPS:
        hub.add(REPO, f"step{step}", models.single(step))
    return hub


@pytest.mark.parametrize("name", CASES)
def test_a_sweep_that_waits_ends_soon(patient: FakeHub, tmp_path: Path, name: str) -> None:
    hub, case = patient, CASES[name]
    plan, other = write_plan(tmp_path / "plan.toml", f"ahead = {case.ahead}"), nullcontext()
    if case.held:
        hub.add(REPO, "step9", models.single(9))
        (theirs,) = find_checkpoints(REPO, [9])
        assert theirs.remote is not None
        plan = write_plan(plan, f"ahead = {case.ahead}\ndisk_gb = {1.5 * theirs.remote.n_bytes / 1e9!r}")
        other = disk.using(theirs.remote, run="other", budget=None, keep=False)
        with other:
            hub.reset_counts()
            interrupt(hub, plan, tmp_path / "out", case)
    else:
        hub.faults, hub.bytes_per_second = list(case.faults), case.pace
        interrupt(hub, plan, tmp_path / "out", case)
    hub.faults, hub.bytes_per_second = [], None
    hub.released.set()
    resumed = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out"), "--executor", "inline"])
    assert resumed.exit_code == 0, resumed.output


def _reports() -> list[str]:
    """Waits that are still reported, soon after they should not be: lines of threads that were left behind."""
    end = time.monotonic() + 5
    while (reports := [t.name for t in threading.enumerate() if t.name == "wait-report"]) and time.monotonic() < end:
        time.sleep(0.05)
    return reports


def interrupt(hub: FakeHub, plan: Path, out: Path, case: Case) -> None:
    """Run a sweep and interrupt it once the wait has begun."""
    faults = [Fault(**fault.__dict__) for fault in case.faults]
    hub.faults = faults
    with interrupted_when(lambda: case.begun(hub)) as times:
        stopped = CliRunner().invoke(app, [str(plan), "--out", str(out), "--executor", "inline"])
        seconds = time.monotonic() - times[0]
    assert stopped.exit_code == 130, stopped.output
    assert seconds < SECONDS
    assert not _reports()
    last = stopped.output.strip().splitlines()[-1]
    assert last == f"interrupted; finished tasks are kept in {out}. The same command resumes"


def test_a_sweep_that_computes_ends_soon(patient: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def compute(*_: object, **__: object) -> None:
        begun.set()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            torch.ones(100, 100) @ torch.ones(100, 100)

    monkeypatch.setattr("jobs.run_checkpoint.decompose", compute)
    interrupt(patient, write_plan(tmp_path / "plan.toml"), tmp_path / "out", Case(begun=lambda _: begun.is_set()))


@pytest.mark.parametrize("line", [plan_app, doctor_app], ids=["plan", "doctor"])
def test_other_commands_end_soon_too(patient: FakeHub, tmp_path: Path, line: Typer) -> None:
    patient.faults = [Fault("hang", "/tree/", times=99)]
    with interrupted_when(lambda: patient.faults[0].times < 99) as times:
        stopped = CliRunner().invoke(line, [str(write_plan(tmp_path / "plan.toml"))])
        assert time.monotonic() - times[0] < SECONDS
    assert stopped.exit_code == 130
    assert stopped.output.strip().splitlines()[-1] == "interrupted"


def test_what_is_finished_is_kept(patient: FakeHub, tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path / "plan.toml"), tmp_path / "out"
    whole = tmp_path / "whole"
    assert CliRunner().invoke(app, [str(plan), "--out", str(whole), "--executor", "inline"]).exit_code == 0
    patient.faults = [Fault("hang", rf"/resolve/{patient.branches[REPO]['step4']}/model", times=99)]
    with interrupted_when(lambda: list(out.glob("units/*/*/*.parquet"))) as times:
        stopped = CliRunner().invoke(app, [str(plan), "--out", str(out), "--executor", "inline"])
        assert time.monotonic() - times[0] < SECONDS
    assert stopped.exit_code == 130
    assert read_units(open_store(out))["step"].to_list() == [3]
    patient.faults = []
    patient.released.set()
    resumed = CliRunner().invoke(app, [str(plan), "--out", str(out), "--executor", "inline"])
    assert "2 units, 1 already done, 1 to run" in resumed.output
    ids = [sorted(read_units(open_store(folder))["unit_id"]) for folder in (out, whole)]
    assert ids[0] == ids[1]


def test_the_process_ends_too_while_the_client_of_the_xet_store_hangs(patient: FakeHub, tmp_path: Path) -> None:
    """A process whose main thread has ended may still wait for others; the real client runs threads of its own."""
    patient.xet = True
    command = [sys.executable, "-m", "jobs.sweep", str(write_plan(tmp_path / "plan.toml")), "--executor", "inline"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not patient.requests["GET content"] and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "The same command resumes" in said


@pytest.mark.ray
def test_what_a_worker_of_ray_waits_for_is_shown_and_an_interrupt_ends_all(
    patient: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    patient.add(REPO, "step9", models.single(9))
    (theirs,) = find_checkpoints(REPO, [9])
    assert theirs.remote is not None
    plan = write_plan(tmp_path / "plan.toml", f"disk_gb = {1.5 * theirs.remote.n_bytes / 1e9!r}")
    command = [sys.executable, "-m", "jobs.sweep", str(plan), "--out", str(tmp_path / "out")]
    log = tmp_path / "log"
    with (
        disk.using(theirs.remote, run="other", budget=None, keep=False),
        log.open("w") as said,
        subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=said, stderr=said) as process,
    ):
        deadline = time.monotonic() + 90
        while "waiting for space for" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(3 * SECONDS)  # Ray takes seconds to end
        finally:
            process.kill()
    assert process.returncode == 130, log.read_text()
    assert f"waiting for space for {REPO}@step" in log.read_text()
    assert log.read_text().splitlines()[-1].startswith("interrupted; ")
