"""Joining a cluster that is not there, and tokens where they do not belong; no Ray is started."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dynamics.errors import PlanError
from jobs.cluster import check_no_tokens, check_temporary_folder, joined
from jobs.sweep import app
from tests.models import write_plan


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
@pytest.mark.parametrize(("name", "cause"), [("é", "is not ASCII"), ("x" * 60, "has 6. bytes, more than 39")])
def test_a_folder_where_ray_has_no_room_for_its_sockets_is_one_line(
    variable: str, name: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    monkeypatch.setenv(variable, f"/tmp/{name}")
    with pytest.raises(PlanError, match=f"{cause}, and Ray cannot put its sockets there; set RAY_TMPDIR"), joined():
        pass


def test_a_short_folder_has_room_for_rays_sockets() -> None:
    check_temporary_folder("/tmp")
    check_temporary_folder("x" * 39)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where something listens that does not speak Ray's protocol."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """A port where nothing listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.parametrize(
    ("port", "cause"), [("silent", "nothing that speaks Ray's protocol answered"), ("closed", "refused")]
)
def test_an_address_where_no_ray_answers_is_refused_soon(
    port: str, cause: str, request: pytest.FixtureRequest, tmp_path: Path, suite_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("jobs.cluster.CONNECT_SECONDS", 0.5)
    address = f"127.0.0.1:{request.getfixturevalue(port)}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    refused = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert f"joining Ray at RAY_ADDRESS={address}" in refused.output
    assert f"error: no Ray answers at RAY_ADDRESS={address} (" in refused.output
    assert cause in refused.output
    assert "unset RAY_ADDRESS to use this machine" in refused.output


def test_the_dashboards_address_is_refused_in_one_line(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    refused = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert refused.output.strip().splitlines()[-1].startswith("error: RAY_ADDRESS=http://127.0.0.1:8265 is the address")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"HF_TOKEN": "secret"}, "HF_TOKEN"),
        ({"HUGGING_FACE_HUB_TOKEN": "secret"}, "HUGGING_FACE_HUB_TOKEN"),
        ({"A": "x", "SETTINGS": "token=hf_abcdefghijkl"}, "SETTINGS"),
    ],
)
def test_tokens_in_a_runtime_env_are_refused_and_not_shown(variables: dict[str, str], named: str) -> None:
    with pytest.raises(PlanError, match=f"^{named} is in the job's runtime_env") as refused:
        check_no_tokens({"env_vars": variables})
    assert "secret" not in str(refused.value)
    assert "hf_a" not in str(refused.value)


def test_other_variables_of_a_runtime_env_pass() -> None:
    check_no_tokens({"env_vars": {"HF_TOKEN_PATH": "/run/secrets/hf_token", "OMP_NUM_THREADS": "1"}, "pip": ["x"]})
    check_no_tokens({})
    check_no_tokens(None)
