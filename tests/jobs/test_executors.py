"""What both executors promise, and what only Ray can break: killed workers, placement. One local Ray for the module."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

import analysis
from dynamics.errors import StoreError
from dynamics.results.metadata import read_metadata, write_metadata
from dynamics.results.store import ResultStore, open_store, read_units
from jobs.attempts import Job
from jobs.executors import Results, run_inline, run_ray
from jobs.outcomes import Outcome
from jobs.sweep import app
from jobs.sweep_plan import Limits, read_plan
from jobs.work import CheckpointWork
from tests import hub_models
from tests.hub_server import FakeHub, Fault, serve
from tests.jobs.test_interrupts import interrupted_when
from tests.models import write_plan
from tests.s3_server import LocalS3, environment_of
from tests.works import with_settings, works_of

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
Run = Callable[[CheckpointWork, ResultStore], list[Outcome]]
EXECUTORS = ["inline", "ray"]
TABLES = {"predictions": ["unit_id", "example_id", "split"], "component_scores": ["unit_id", "split", "component"]}


@pytest.fixture(scope="module")
def local_ray(tmp_path_factory: pytest.TempPathFactory, s3_server: LocalS3) -> Iterator[FakeHub]:
    """A Ray of two CPUs with a home of its own, so that no token is written into the user's; a local Hub and S3."""
    with pytest.MonkeyPatch.context() as patch, environment_of(s3_server), serve(FakeHub()) as hub:
        patch.setenv("HF_ENDPOINT", hub.endpoint)
        patch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("HF_HUB_OFFLINE", raising=False)
        patch.setattr("huggingface_hub.utils._detect_agent._get_registry", dict)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2])]))
        patch.delenv("RAY_ADDRESS", raising=False)
        import ray

        quiet: dict = {
            "address": "local",
            "include_dashboard": False,
            "log_to_driver": False,
            "configure_logging": False,
        }
        ray.init(num_cpus=2, num_gpus=2, labels={"zone": "east"}, **quiet)  # GPUs that only Ray believes in
        yield hub
        ray.shutdown()


def two_works(tmp_path: Path, folder: Path, **resources: object) -> list[CheckpointWork]:
    """The two checkpoints of a folder, one unit each."""
    tasks = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_test": 8}]
    plan = read_plan(write_plan(tmp_path / "plan.toml", folder, tasks=tasks, resources={"num_cpus": 1, **resources}))
    return works_of(plan)


def start(executor: str, works: list[CheckpointWork], run: Run, store: ResultStore, attempts: int = 3) -> Results:
    """Run `run` on each of the works."""
    return (run_inline if executor == "inline" else run_ray)(works, Job(run, store, Limits(attempts=attempts)))


def seen(work: CheckpointWork, store: ResultStore) -> list[Outcome]:
    """Leave a note of the attempt, and say that all is done."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    note = {
        "step": work.checkpoint.step,
        "attempt": work.retries.attempt,
        "budget": work.settings.token_budget,
        "gpus": gpus,
    }
    write_metadata(store, "seen", f"{work.checkpoint.step}-{work.retries.attempt}", {**note, "pid": os.getpid()})
    return [Outcome(unit.unit_id, str(unit), "done", seconds={"forward": 0.5}) for unit in work.all_units]


def network_fails_once(work: CheckpointWork, store: ResultStore) -> list[Outcome]:
    seen(work, store)
    if work.retries.attempt == 1:
        raise ConnectionResetError("peer left")
    return seen(work, store)


def memory_runs_out(work: CheckpointWork, store: ResultStore) -> list[Outcome]:
    seen(work, store)
    raise MemoryError(f"no room for {work.settings.token_budget} tokens")


def step_4_is_broken(work: CheckpointWork, store: ResultStore) -> list[Outcome]:
    if work.checkpoint.step == 4:
        raise AwkwardError(4, "four")
    return seen(work, store)


class AwkwardError(Exception):
    """Its constructor takes two arguments, so that it cannot be unpickled."""

    def __init__(self, number: int, word: str) -> None:
        super().__init__(f"{number} is {word}")


def disk_is_full(work: CheckpointWork, store: ResultStore) -> list[Outcome]:
    raise StoreError(f"cannot write step {work.checkpoint.step} to {store.root}")


def killed_at_first(work: CheckpointWork, store: ResultStore) -> list[Outcome]:
    if work.retries.attempt == 1:
        seen(work, store)
        os.kill(os.getpid(), signal.SIGKILL)
    return seen(work, store)


def slow(work: CheckpointWork, store: ResultStore) -> list[Outcome]:
    if work.checkpoint.step:
        time.sleep(600)
    return seen(work, store)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_sweep_writes_the_same_rows(executor: str, tmp_path: Path, suite_folder: Path, results: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    done = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out"), "--executor", executor])
    assert done.exit_code == 0, done.output
    assert "20 of 20 units done, 0 failed" in done.output
    for table, order in TABLES.items():
        a, b = (analysis.load(out, table).collect().sort(order) for out in (tmp_path / "out", results))
        assert a.equals(b)
    assert analysis.load(tmp_path / "out", "units").collect()["attempts"].to_list() == [1] * 20


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_passes_is_tried_again(executor: str, tmp_path: Path, suite_folder: Path) -> None:
    store = open_store(tmp_path / "out", create=True)
    ended = list(start(executor, two_works(tmp_path, suite_folder), network_fails_once, store))
    said = [(work.checkpoint.step, work.retries.attempt, outcome.status) for work, (outcome,) in ended]
    assert sorted(said) == [(0, 1, "retried"), (0, 2, "done"), (4, 1, "retried"), (4, 2, "done")]
    assert {o.error for _, (o,) in ended if o.status == "retried"} == {"peer left"}
    assert sorted(read_metadata(store, "seen")) == ["0-1", "0-2", "4-1", "4-2"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_memory_that_runs_out_halves_the_batch_until_the_attempts_end(
    executor: str, tmp_path: Path, suite_folder: Path
) -> None:
    store = open_store(tmp_path / "out", create=True)
    works = [with_settings(work, token_budget=16_384) for work in two_works(tmp_path, suite_folder)[:1]]
    ended = [outcome for _, outcomes in start(executor, works, memory_runs_out, store) for outcome in outcomes]
    assert [outcome.status for outcome in ended] == ["retried", "retried", "failed"]
    assert [note["budget"] for note in read_metadata(store, "seen").values()] == [16_384, 8_192, 4_096]
    (row,) = read_units(store).iter_rows(named=True)
    assert (row["status"], row["attempts"], row["error_class"]) == ("failed", 3, "MemoryError")
    assert row["error"] == "no room for 4096 tokens"
    assert "Traceback" in Path(str(ended[-1].log)).read_text()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_breaks_in_one_checkpoint_stays_there(executor: str, tmp_path: Path, suite_folder: Path) -> None:
    store = open_store(tmp_path / "out", create=True)
    ended = list(start(executor, two_works(tmp_path, suite_folder), step_4_is_broken, store))
    said = sorted((work.checkpoint.step, o.status, o.error_class, o.error) for work, (o,) in ended)
    assert said == [(0, "done", None, None), (4, "failed", "AwkwardError", "4 is four")]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_store_that_cannot_be_written_ends_the_sweep(executor: str, tmp_path: Path, suite_folder: Path) -> None:
    store = open_store(tmp_path / "out", create=True)
    with pytest.raises(StoreError, match="cannot write step"):
        list(start(executor, two_works(tmp_path, suite_folder), disk_is_full, store))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_interrupt_leaves_what_is_done_and_nobody_at_work(
    executor: str, tmp_path: Path, suite_folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(outcomes: Iterable[Outcome], note: Callable) -> Iterator[Outcome]:
        for outcome in outcomes:
            yield outcome
            note(outcome)
            raise KeyboardInterrupt

    monkeypatch.setattr("jobs.running.counting", interrupted)
    call = [
        str(write_plan(tmp_path / "plan.toml", suite_folder)),
        "--out",
        str(tmp_path / "out"),
        "--executor",
        executor,
    ]
    stopped = CliRunner().invoke(app, call)
    assert stopped.exit_code == 130, stopped.output
    assert "The same command resumes" in stopped.output
    assert not list((tmp_path / "out/drivers").iterdir())
    monkeypatch.undo()
    resumed = CliRunner().invoke(app, call)
    assert "20 units, 0 already done" not in resumed.output
    assert "20 of 20 units done" in resumed.output
    a, b = (
        analysis.load(out, "predictions").collect().sort(TABLES["predictions"]) for out in (tmp_path / "out", results)
    )
    assert a.equals(b)


def test_a_killed_worker_is_replaced(tmp_path: Path, suite_folder: Path) -> None:
    store = open_store(tmp_path / "out", create=True)
    ended = [outcome for _, (outcome,) in start("ray", two_works(tmp_path, suite_folder)[:1], killed_at_first, store)]
    assert [(outcome.status, outcome.error_class) for outcome in ended] == [
        ("retried", "WorkerCrashedError"),
        ("done", None),
    ]
    assert read_units(store)["attempts"].to_list() == [1]  # on disk, where the next sweep counts on


def test_workers_stop_with_the_driver(tmp_path: Path, suite_folder: Path) -> None:
    import ray

    store = open_store(tmp_path / "out", create=True)
    for _ in range(5):  # the slow one is just starting, at a moment that differs
        results = start("ray", two_works(tmp_path, suite_folder), slow, store)
        work, _ = next(results)
        assert work.checkpoint.step == 0
        results.close()
        deadline = time.monotonic() + 30
        while ray.available_resources().get("CPU") != 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert ray.available_resources()["CPU"] == 2


def test_an_interrupt_ends_downloads_of_workers_too(tmp_path: Path, local_ray: FakeHub) -> None:
    """The task that fetches a checkpoint is not a child of the one that waits for it."""
    hub, repo = local_ray, "EleutherAI/pythia-31m"
    for step in (3, 4):
        hub.add(repo, f"step{step}", hub_models.single(step))
    hub.faults = [Fault("hang", f"{repo}/resolve/.*/model", times=99)]
    changes: dict = {
        "models": [{"id": repo, "steps": [3, 4]}],
        "tasks": [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_test": 8, "n_train": 2}],
    }
    plan = write_plan(tmp_path / "plan.toml", tmp_path, **changes)
    with interrupted_when(lambda: hub.faults[0].times <= 97) as times:
        stopped = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
        seconds = time.monotonic() - times[0]
    assert stopped.exit_code == 130, stopped.output
    assert seconds < 15
    deadline = time.monotonic() + 5
    while (fetching := running("ray::fetch_ahead")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not fetching
    hub.faults = []
    assert CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")]).exit_code == 0


def running(name: str) -> list[psutil.Process]:
    """The processes that this one has started, or those have, which are called so."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found += [process] if " ".join(process.cmdline()).startswith(name) else []
    return found


def test_workers_have_their_share_of_a_gpu_and_end_when_the_plan_says(tmp_path: Path, suite_folder: Path) -> None:
    store = open_store(tmp_path / "out", create=True)
    asked = {"num_cpus": 2, "num_gpus": 0.5, "memory_gb": 0.1, "labels": {"zone": "in(east, west)"}}
    works = two_works(tmp_path, suite_folder, **asked, checkpoints_per_process=1)
    assert [outcome.status for _, (outcome,) in start("ray", works, seen, store)] == ["done", "done"]
    notes = read_metadata(store, "seen").values()
    assert {note["gpus"] for note in notes} <= {"0", "1"}
    assert len({note["pid"] for note in notes}) == 2


def test_a_token_in_the_runtime_env_is_refused(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"runtime_env": {"env_vars": {"HF_TOKEN": "hf_abcdefghij", "OTHER": "x"}}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(env))
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    refused = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert "HF_TOKEN is in the job's runtime_env" in refused.output
    assert "hf_abc" not in refused.output


def test_a_demand_that_no_node_meets_is_refused_at_once(tmp_path: Path, suite_folder: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder, resources={"num_gpus": 3, "labels": {"zone": "west"}})
    refused = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert "a worker requests 1 CPU, 3 GPU, zone=west of one node, and no node has that" in refused.output
    assert "the cluster has 1 x (2 CPU, 2 GPU, " in refused.output
    assert "zone=east" in refused.output


def test_workers_write_to_a_bucket(tmp_path: Path, suite_folder: Path, results: Path, s3_server: LocalS3) -> None:
    out = f"s3://{s3_server.bucket()}/out"
    done = CliRunner().invoke(app, [str(write_plan(tmp_path / "plan.toml", suite_folder)), "--out", out])
    assert done.exit_code == 0, done.output
    for table, order in TABLES.items():
        a, b = (analysis.load(root, table).collect().sort(order) for root in (out, results))
        assert a.equals(b)


def test_checkpoints_of_the_hub_are_fetched_ahead_and_evicted(tmp_path: Path, local_ray: FakeHub) -> None:
    """Two workers, a budget of three checkpoints, one source that is broken."""
    hub, repo, steps = local_ray, "EleutherAI/pythia-14m", list(range(6))
    hub.reset_counts()
    for step in steps:
        hub.add(repo, f"step{step}", hub_models.single(step))
    hub.faults = [
        Fault("flip", f"/resolve/{hub.branches[repo]['step3']}/model", times=99),
        Fault("status", "/resolve/.*/model", status=503, times=2),
    ]
    one = sum(map(len, hub_models.single(0).values()))
    changes: dict = {
        "models": [{"id": repo, "steps": steps}],
        "tasks": [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_test": 8, "n_train": 2}],
        "hub": {"disk_gb": 3 * one / 1e9},
    }
    plan = write_plan(tmp_path / "plan.toml", tmp_path, **changes)
    done = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1, done.output
    assert "5 of 6 units done, 1 failed" in done.output
    assert "step 3 sentiment/plain seed 0 4-shot: CheckpointError" in done.output
    assert hub.files["model.safetensors"] == 7  # each once, the broken one twice
    assert not list(Path(os.environ["HF_HUB_CACHE"]).glob("models--*/blobs/*"))
    hub.faults = []
    inline = [str(plan), "--out", str(tmp_path / "inline"), "--executor", "inline"]
    assert CliRunner().invoke(app, inline).exit_code == 0
    for table, order in TABLES.items():
        a, b = (analysis.load(tmp_path / out, table).collect().sort(order) for out in ("out", "inline"))
        assert a.equals(b.join(a.select("unit_id").unique(), on="unit_id", how="semi").sort(order))
