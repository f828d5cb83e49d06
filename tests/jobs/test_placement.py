"""Order of checkpoints, options of their tasks, and which nodes can take them; no Ray."""

from pathlib import Path

import pytest

from dynamics.errors import PlanError
from jobs.model_plan import Resources
from jobs.placement import check_feasible, largest_first, matches, n_workers, ray_options, weight_bytes
from jobs.sweep_plan import read_plan
from jobs.work import CheckpointWork
from tests.models import write_plan
from tests.works import with_settings, works_of

SMALL = {"Alive": True, "NodeID": "a", "Resources": {"CPU": 4.0, "memory": 16e9}, "Labels": {"zone": "east"}}
LARGE = {
    "Alive": True, "NodeID": "b", "Resources": {"CPU": 16.0, "GPU": 2.0, "memory": 64e9}, "Labels": {"zone": "west"},
}  # fmt: skip


def works(tmp_path: Path, folder: Path, **changes: object) -> list[CheckpointWork]:
    plan = read_plan(write_plan(tmp_path / "plan.toml", folder, **changes))
    return works_of(plan)


def asking(work: CheckpointWork, **resources: object) -> CheckpointWork:
    return with_settings(work, resources=Resources.model_validate(resources))


def test_the_largest_model_goes_first_and_its_steps_stay_neighbours(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [{"id": name, "folder": str(suite_folder)} for name in ("small", "large", "middle")]
    sizes = {("small", 0): 1, ("small", 4): 2, ("large", 0): 30, ("large", 4): 10, ("middle", 0): 20, ("middle", 4): 20}
    monkeypatch.setattr("jobs.placement.weight_bytes", lambda c: sizes[c.model, c.step])
    order = [
        (w.checkpoint.model, w.checkpoint.step) for w in largest_first(works(tmp_path, suite_folder, models=models))
    ]
    assert order == [("large", 0), ("large", 4), ("middle", 0), ("middle", 4), ("small", 0), ("small", 4)]


def test_a_models_own_resources_stand_in_place_of_the_plans(tmp_path: Path, suite_folder: Path) -> None:
    own = {"num_cpus": 3, "num_gpus": 0.25, "memory_gb": 2, "labels": {"zone": "west"}}
    models = [{"id": "a", "folder": str(suite_folder), "resources": own}, {"id": "b", "folder": str(suite_folder)}]
    found = {w.checkpoint.model: w for w in works(tmp_path, suite_folder, models=models, resources={"num_cpus": 2})}
    assert (found["a"].settings.n_threads, found["b"].settings.n_threads) == (3, 2)
    options = ray_options(found["a"])
    assert options.pop("max_calls") > 1
    assert options == {
        "num_cpus": 3, "num_gpus": 0.25, "memory": 2_000_000_000, "label_selector": {"zone": "west"}, "max_retries": 0,
    }  # fmt: skip
    assert ray_options(found["b"]) == {"num_cpus": 2, "num_gpus": 0, "max_retries": 0, "max_calls": 0}


@pytest.mark.parametrize(
    ("n_bytes", "resources", "calls"),
    [
        (13_900_000_000, {"num_gpus": 1}, 1),
        (2_900_000_000, {"num_gpus": 1}, 4),
        (170_000_000, {"num_gpus": 0.25}, 32),
        (0, {"num_gpus": 1}, 32),
        (170_000_000, {}, 0),
        (170_000_000, {"checkpoints_per_process": 5}, 5),
        (170_000_000, {"num_gpus": 1, "checkpoints_per_process": 5}, 5),
    ],
)
def test_processes_on_gpus_end_after_some_checkpoints(
    n_bytes: int, resources: dict, calls: int, tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.placement.weight_bytes", lambda _: n_bytes)
    assert ray_options(asking(works(tmp_path, suite_folder)[0], **resources))["max_calls"] == calls


def test_bytes_of_weights_are_those_on_disk(tmp_path: Path, suite_folder: Path) -> None:
    checkpoint = works(tmp_path, suite_folder)[0].checkpoint
    assert weight_bytes(checkpoint) == (suite_folder / "step0/model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("resources", "small", "large"),
    [
        ({}, 4, 16),
        ({"num_cpus": 3}, 1, 5),
        ({"num_cpus": 2, "num_gpus": 0.5}, 0, 4),
        ({"memory_gb": 10}, 1, 6),
        ({"labels": {"zone": "west"}}, 0, 16),
        ({"labels": {"zone": "!west"}}, 4, 0),
        ({"labels": {"zone": "in(west, north)"}}, 0, 16),
        ({"labels": {"gpu": "!a100"}}, 4, 16),
    ],
)
def test_how_many_workers_a_node_has(resources: dict, small: int, large: int) -> None:
    requested = Resources.model_validate(resources)
    assert (n_workers(SMALL, requested), n_workers(LARGE, requested)) == (small, large)
    assert n_workers({**LARGE, "Alive": False}, requested) == 0


def test_label_selectors() -> None:
    assert matches("a", "in(a, b)")
    assert not matches("c", "in(a, b)")
    assert matches("c", "!in(a, b)")
    assert not matches(None, "a")
    assert matches(None, "!a")


def test_what_no_node_has_is_refused_with_what_the_cluster_has(tmp_path: Path, suite_folder: Path) -> None:
    work = works(tmp_path, suite_folder)[0]
    cluster = [SMALL, {**SMALL, "NodeID": "c"}, LARGE, {**LARGE, "Alive": False, "Resources": {"GPU": 8.0}}]
    check_feasible([work, asking(work, num_gpus=2)], cluster)
    with pytest.raises(PlanError, match="requests 1 CPU, 4 GPU, zone=west of one node") as refused:
        check_feasible([work, asking(work, num_gpus=4, labels={"zone": "west"})], cluster)
    has = "the cluster has 2 x (4 CPU, 16 GB, zone=east), 1 x (16 CPU, 2 GPU, 64 GB, zone=west). Lower"
    assert has in str(refused.value)
    with pytest.raises(PlanError, match="100 GB of one node"):
        check_feasible([asking(work, memory_gb=100)], cluster)
    check_feasible([asking(work, num_gpus=4, autoscaled=True)], cluster)
