"""Ray: the same rows as inline, and demands no node can meet. One local Ray for the module."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import analysis
from jobs.sweep import app
from tests.models import write_plan

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
TABLES = {"predictions": ["unit_id", "example_id", "split"], "component_scores": ["unit_id", "split", "component"]}


@pytest.fixture(scope="module")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray of two CPUs with a home of its own, so that no token is written into the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2])]))
        patch.delenv("RAY_ADDRESS", raising=False)
        import ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
        yield
        ray.shutdown()


def test_ray_writes_the_rows_that_inline_writes(tmp_path: Path, suite_folder: Path, results: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    done = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "20 of 20 units done, 0 failed" in done.output
    for table, order in TABLES.items():
        a, b = (analysis.load(out, table).collect().sort(order) for out in (tmp_path / "out", results))
        assert a.equals(b)


def test_a_demand_that_no_node_meets_is_refused_at_once(tmp_path: Path, suite_folder: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder, resources={"num_gpus": 1})
    refused = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert "the plan asks 1 GPU a worker, the largest node has 0; lower [resources]" in refused.output
