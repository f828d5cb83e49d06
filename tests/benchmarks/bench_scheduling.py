"""Scheduling: the whole Pythia suite as units that return at once, and Ray against inline; prints JSON.

`python -m pytest tests/benchmarks/bench_scheduling.py -m benchmark -s`. Ratios and counts hold on any machine that is
quiet; seconds are those of this one.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil
import pytest

from dynamics.checkpoints import Checkpoint
from dynamics.results.store import ResultStore, open_store
from dynamics.tasks import get_task
from jobs.attempts import Job
from jobs.executors import run_inline, run_ray
from jobs.missing import MissingWork, missing_units, work_by_checkpoint
from jobs.outcomes import Outcome
from jobs.placement import largest_first
from jobs.resolving import expand
from jobs.run_checkpoint import run_checkpoint
from jobs.sweep_plan import Limits, SweepPlan, read_plan
from jobs.work import CheckpointWork
from tests.dynamics.raw_rows import write_folder
from tests.models import write_plan
from tests.works import with_settings, works_of

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
SIZES = ("14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
STEPS = (0, *(2**n for n in range(10)), *range(1000, 144_000, 1000))
TASKS = ("sst2", "boolq", "qqp", "wic", "rte", "mnli", "agnews", "arc_easy")
ROUNDS = 3


@pytest.fixture(scope="module")
def two_cores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[float]:
    """A local Ray with two CPUs; seconds until it was ready."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        patch.delenv("RAY_ADDRESS", raising=False)
        import ray

        started = time.perf_counter()
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
        yield time.perf_counter() - started
        ray.shutdown()


def at_once(work: CheckpointWork, _: ResultStore) -> list[Outcome]:
    """A checkpoint whose units take no time."""
    return [Outcome(unit.unit_id, str(unit), "done") for unit in work.units]


def pythia(folder: Path) -> tuple[SweepPlan, list[Checkpoint]]:
    """The plan of 10 sizes x 154 steps x 8 tasks x 15 prompts, and its checkpoints, of which only the names exist."""
    write_folder(folder, *TASKS)
    models = [{"id": f"EleutherAI/pythia-{size}"} for size in SIZES]
    first = {name: [template.name for template in get_task(name).templates[:3]] for name in TASKS}
    tasks = [{"name": name, "templates": first[name], "n_test": 20, "n_train": 4} for name in TASKS]
    plan = SweepPlan.model_validate({"name": "all", "models": models, "tasks": tasks, "data": folder})
    checkpoints = [
        Checkpoint(model["id"], f"step{n}", n, n * 2_097_152, f"{i:040x}", f"{n:064x}", "0" * 64, folder)
        for i, model in enumerate(models)
        for n in STEPS
    ]
    return plan, checkpoints


def timed(results: Iterator) -> tuple[float, float]:
    """Seconds until the first result, and until the last."""
    started = time.perf_counter()
    next(results)
    first = time.perf_counter() - started
    for _ in results:
        pass
    return first, time.perf_counter() - started


def show(name: str, **numbers: float) -> None:
    print(json.dumps({"benchmark": name, **{key: round(value, 4) for key, value in numbers.items()}}))


def test_the_whole_suite_is_expanded_and_scheduled(tmp_path: Path, two_cores: float) -> None:
    plan, checkpoints = pythia(tmp_path / "data")
    store = open_store(tmp_path / "out", create=True)
    process = psutil.Process(os.getpid())
    before, started = process.memory_info().rss, time.perf_counter()
    units = missing_units(store, expand(plan, checkpoints))
    expanded = time.perf_counter() - started
    works = largest_first(work_by_checkpoint(plan, MissingWork(tuple(units))))
    grouped = time.perf_counter() - started - expanded
    assert (len(units), len(works)) == (184_800, 1_540)
    job = Job(at_once, store, Limits())
    _, inline = timed(run_inline(works, job))
    first, ray = timed(run_ray(works, job))
    show(
        "whole_suite",
        expand_seconds=expanded,
        group_seconds=grouped,
        inline_ms_per_checkpoint=inline / len(works) * 1e3,
        ray_ms_per_checkpoint=(ray - first) / (len(works) - 1) * 1e3,
        ray_start_seconds=two_cores,
        first_checkpoint_seconds=first,
        driver_megabytes=(process.memory_info().rss - before) / 1e6,
    )


@pytest.mark.usefixtures("two_cores")
def test_two_workers_against_one_and_ray_against_inline(tmp_path: Path) -> None:
    """Eight of the reference suite's checkpoints with one thread each; medians of interleaved runs.

    Each way runs twice in a row and the second is timed: while one task holds both CPUs, Ray ends the idle worker, and
    another takes as long to start as these checkpoints take.
    """
    tasks = [{"name": "sentiment", "demo_seeds": 3, "n_shots": [8], "n_test": 200, "n_train": 24}]
    models = [{"id": "reference", "steps": [0, 16, 64, 128, 256, 512, 768, 1024]}]
    plan = read_plan(write_plan(tmp_path / "plan.toml", tmp_path, models=models, tasks=tasks))
    works = works_of(plan)
    alone = [
        with_settings(work, resources=work.settings.resources.model_copy(update={"num_cpus": 2})) for work in works
    ]
    seconds: dict[str, list[float]] = {"inline": [], "one_worker": [], "two_workers": []}
    for n in range(ROUNDS):
        for name, run in (
            ("inline", lambda job: run_inline(works, job)),
            ("one_worker", lambda job: run_ray(alone, job)),
            ("two_workers", lambda job: run_ray(works, job)),
        ):
            for turn in ("first", "timed"):
                store = open_store(tmp_path / f"{name}-{n}-{turn}", create=True)
                _, spent = timed(run(Job(run_checkpoint, store, Limits())))
            seconds[name].append(spent)
    middle = {name: median(values) for name, values in seconds.items()}
    show(
        "workers",
        throughput_of_two_over_one=middle["one_worker"] / middle["two_workers"],
        one_worker_over_inline=middle["one_worker"] / middle["inline"],
        overhead_ms_per_checkpoint=(middle["one_worker"] - middle["inline"]) / len(works) * 1e3,
    )
