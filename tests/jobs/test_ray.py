"""Ray: the same rows as inline, and demands no node can meet. One local Ray for the module."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import analysis
from jobs.sweep import app
from tests import hub_models
from tests.hub_server import FakeHub, Fault, serve
from tests.models import write_plan
from tests.s3_server import LocalS3, environment_of

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
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
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2])]))
        patch.delenv("RAY_ADDRESS", raising=False)
        import ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
        yield hub
        ray.shutdown()


def test_ray_writes_the_rows_that_inline_writes(tmp_path: Path, suite_folder: Path, results: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    done = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "20 of 20 units done, 0 failed" in done.output
    for table, order in TABLES.items():
        a, b = (analysis.load(out, table).collect().sort(order) for out in (tmp_path / "out", results))
        assert a.equals(b)


def test_workers_write_to_a_bucket(tmp_path: Path, suite_folder: Path, results: Path, s3_server: LocalS3) -> None:
    out = f"s3://{s3_server.bucket()}/out"
    done = CliRunner().invoke(app, [str(write_plan(tmp_path / "plan.toml", suite_folder)), "--out", out])
    assert done.exit_code == 0, done.output
    for table, order in TABLES.items():
        a, b = (analysis.load(root, table).collect().sort(order) for root in (out, results))
        assert a.equals(b)


def test_a_demand_that_no_node_meets_is_refused_at_once(tmp_path: Path, suite_folder: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder, resources={"num_gpus": 1})
    refused = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert "the plan asks 1 GPU a worker, the largest node has 0; lower [resources]" in refused.output


def test_checkpoints_of_the_hub_are_fetched_ahead_and_evicted(tmp_path: Path, local_ray: FakeHub) -> None:
    """Two workers, a budget of three checkpoints, one source that is broken."""
    hub, repo, steps = local_ray, "EleutherAI/pythia-14m", list(range(6))
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
