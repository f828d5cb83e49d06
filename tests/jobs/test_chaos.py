"""Killing drivers, workers and a node at random moments: the results are those of a run that nobody disturbed."""

import multiprocessing
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from transformers import PreTrainedTokenizerBase

from dynamics.results.metadata import read_metadata, write_metadata
from dynamics.results.schema import TABLES
from dynamics.results.store import ResultStore, open_store, read_units
from jobs.attempts import Job
from jobs.executors import run_ray
from jobs.run_checkpoint import run_checkpoint
from jobs.sweep import sweep
from jobs.sweep_plan import Limits, read_plan
from tests.models import tiny_suite, write_plan
from tests.results import rows
from tests.works import works_of

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]
STEPS = (0, 1, 2, 4, 8, 16, 32, 64)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A plan of 8 checkpoints, 80 units, 16 parts."""
    folder = tiny_suite(tmp_path_factory.mktemp("suite"), tokenizer, STEPS)
    return write_plan(folder / "plan.toml", folder)


@pytest.fixture(scope="module")
def undisturbed(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the plan."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    sweep(plan, out, "inline")
    return out


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for Ray, and a token; every process that still lives there afterwards is ended."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.delenv("RAY_ADDRESS", raising=False)
        yield home
        for process in at_home(home):
            process.kill()


def at_home(home: Path, name: str = "") -> list[psutil.Process]:
    """The processes of this test, other than itself, whose command begins with `name`."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.pid != os.getpid() and process.environ().get("HOME") == str(home)
            if ours and " ".join(process.cmdline()).startswith(name):
                found.append(process)
        except psutil.Error:
            continue
    return found


def n_files(out: Path) -> int:
    """Finished files of results."""
    return len(list(out.rglob("*.parquet")))


def assert_same(out: Path, undisturbed: Path) -> None:
    """All rows of all tables, none lost, none double, whole files only."""
    for table in TABLES:
        assert rows(out, table).equals(rows(undisturbed, table)), table


def swept(plan: Path, out: Path) -> None:
    """In a process of its own: the sweep."""
    sweep(plan, out, "inline")


@pytest.mark.parametrize("seed", range(2))
def test_a_driver_killed_ten_times(seed: int, plan: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Each time after some more files were written; between kills everything on disk is readable."""
    rng, out, kills = random.Random(seed), tmp_path / "out", 0
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload(["jobs.running"])
    while kills < 10:
        before = n_files(out)
        enough = before + rng.randint(1, 9)
        driver = fresh.Process(target=swept, args=(plan, out))
        driver.start()
        while driver.is_alive() and n_files(out) < enough:
            time.sleep(rng.uniform(0, 0.004))
        assert driver.is_alive(), f"finished before it was killed {kills + 1} times"
        os.kill(driver.pid or 0, signal.SIGKILL)
        driver.join()
        kills += 1
        read_units(open_store(out))
    assert 0 < len(read_units(open_store(out))) < 80
    sweep(plan, out, "inline")
    assert_same(out, undisturbed)


def test_two_drivers_at_once(plan: Path, undisturbed: Path, tmp_path: Path) -> None:
    fresh = multiprocessing.get_context("forkserver")
    drivers = [fresh.Process(target=swept, args=(plan, tmp_path / "out")) for _ in range(2)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert [driver.exitcode for driver in drivers] == [0, 0]
    assert_same(tmp_path / "out", undisturbed)


def test_workers_killed_at_random(plan: Path, undisturbed: Path, tmp_path: Path, home: Path) -> None:
    """One sweep under Ray, whose workers are killed ten times while they run."""
    import ray

    rng, kills = random.Random(0), 0
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        store = open_store(tmp_path / "out", create=True)
        works = works_of(read_plan(plan))
        results = run_ray(works, Job(slowly, store, Limits(attempts=12)))
        while kills < 10:
            time.sleep(rng.uniform(0.1, 1.0))
            next(results) if rng.random() < 0.2 else None
            for worker in at_home(home, "ray::run")[:1]:
                worker.kill()
                kills += 1
        ended = [outcome for _, outcomes in results for outcome in outcomes]
    finally:
        ray.shutdown()
    assert not [outcome for outcome in ended if outcome.status == "failed"]
    assert len(read_units(store).filter(status="done")) == 80
    assert read_units(store)["attempts"].max() > 1
    assert_same_when_resumed(plan, tmp_path / "out", undisturbed)


def slowly(work, store: ResultStore):
    """As a sweep does, at a pace at which a worker can be caught."""
    time.sleep(0.3)
    return run_checkpoint(work, store)


def slowly_where_told(work, store: ResultStore):
    """`slowly`, with a note of the node that begins it."""
    import ray

    write_metadata(store, "begun", str(work.checkpoint.step), {"node": ray.get_runtime_context().get_node_id()})
    time.sleep(1.5)
    return run_checkpoint(work, store)


def busy_node(store: ResultStore, ended: set[str]) -> str:
    """Id of a node that has begun a checkpoint and not ended it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        notes = read_metadata(store, "begun")
        if at_work := sorted(set(notes) - ended):
            return notes[at_work[0]]["node"]
        time.sleep(0.05)
    raise AssertionError("no worker begins anything")


def assert_same_when_resumed(plan: Path, out: Path, undisturbed: Path) -> None:
    """As `assert_same`, once the same command has made the fits of parts whose worker died before it came to them."""
    before = n_files(out / "contributions")
    sweep(plan, out, "inline")
    assert n_files(out / "contributions") == before
    assert_same(out, undisturbed)


def test_a_driver_of_ray_killed(plan: Path, undisturbed: Path, tmp_path: Path, home: Path) -> None:
    """Its cluster dies with it; the same command resumes and another kill does no harm."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "jobs.sweep", str(plan), "--out", str(out)]
    for more in (1, 40):
        enough = n_files(out) + more
        driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while driver.poll() is None and n_files(out) < enough:
            time.sleep(0.002)
        driver.kill()
        driver.wait()
        deadline = time.monotonic() + 60
        while at_home(home, "ray::run") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not at_home(home, "ray::run"), "workers outlive their driver"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same(out, undisturbed)


@pytest.mark.usefixtures("home")
def test_a_node_lost_mid_sweep(plan: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Three nodes, of which one is killed while its worker is busy."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0}, shutdown_at_exit=False)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        store = open_store(tmp_path / "out", create=True)
        works = works_of(read_plan(plan))
        ended, steps = [], set()
        for n, (work, outcomes) in enumerate(run_ray(works, Job(slowly_where_told, store, Limits()))):
            ended += outcomes
            steps.add(str(work.checkpoint.step))
            if n == 1:
                busy = busy_node(store, steps)
                cluster.remove_node(next(node for node in nodes if node.node_id == busy), allow_graceful=False)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert {outcome.status for outcome in ended} == {"done", "retried"}
    assert_same_when_resumed(plan, tmp_path / "out", undisturbed)
