"""`ray job submit` from a clone to a running head: rows on shared storage, exit codes, resume, and what is uploaded."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import analysis

ROOT = Path(__file__).parents[2]
PLAN = """
name = "submitted"
models = [{ id = "reference", steps = [0, 512] }]
tasks = [{ name = "sentiment", templates = ["plain"], demo_seeds = 1, n_shots = [4], n_test = 20, n_train = 8 }]
fits = { n_labelled = [8] }
"""

pytestmark = [pytest.mark.ray, pytest.mark.chaos]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a user who may submit to a head of one CPU: a home, a token and ports of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "HF_"))}
    environment |= {
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "OMP_NUM_THREADS": "1",
    }
    folder = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie below it
    ports = [str(port) for port in free_ports(6)]
    names = ("--port", "--dashboard-port", "--dashboard-agent-listen-port", "--dashboard-agent-grpc-port")
    names += ("--metrics-export-port", "--runtime-env-agent-port")
    options = [text for pair in zip(names, ports, strict=True) for text in pair]
    command = [ray(), "start", "--head", "--block", "--num-cpus=1", "--object-store-memory=100000000"]
    command += ["--dashboard-host=127.0.0.1", "--disable-usage-stats", "--temp-dir", folder, *options]
    log = Path(folder, "start.log")
    with log.open("w") as output:
        head = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{ports[1]}"
        wait_for(lambda: f"{ports[1]}" in log.read_text() and answers(int(ports[1])), head, log)
        yield {**environment, "RAY_API_SERVER_ADDRESS": address, "UPLOADED_TO": folder}
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def ray() -> str:
    """The `ray` command of this environment."""
    return str(Path(sys.executable).with_name("ray"))


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def answers(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(ready, head: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    """Wait until the head answers; its log is the reason where it does not."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert head.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in use: the packages, a plan, and the results and weights that lie about."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("dynamics", "jobs"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", ".rayignore"):
        shutil.copy(ROOT / name, clone)
    (clone / "plan.toml").write_text(PLAN)
    for name in ("mine/units/model=a/step=0/t.parquet", "mine/step5/model.safetensors", ".venv/lib/python.so"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes(os.urandom(20_000_000))
    return clone


def submit(clone: Path, cluster: dict[str, str], out: str) -> subprocess.CompletedProcess:
    """`ray job submit --working-dir . -- python -m jobs.sweep plan.toml --out OUT`, from the clone."""
    command = [ray(), "job", "submit", "--working-dir", ".", "--", "python", "-m", "jobs.sweep", "plan.toml"]
    return subprocess.run(
        [*command, "--out", out], cwd=clone, env=cluster, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_submitted_sweep_writes_and_resumes(clone: Path, cluster: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "shared"
    started = datetime.now(UTC)
    first = submit(clone, cluster, str(out))
    said = first.stdout + first.stderr
    assert first.returncode == 0, said
    assert "2 units, 0 already done, 2 to run" in said
    assert "2 of 2 units done, 0 failed" in said
    assert analysis.load(out, "predictions").collect().group_by("step").len().sort("step").rows() == [
        (0, 28),
        (512, 28),
    ]
    seconds = (analysis.load(out, "units").collect()["created"].min() - started).total_seconds()
    print(f"first unit {seconds:.1f} s after submission")

    again = submit(clone, cluster, str(out))
    assert again.returncode == 0
    assert "2 units, 2 already done, 0 to run" in again.stdout + again.stderr


def test_a_relative_out_is_refused_and_the_upload_holds_the_code_and_nothing_that_lies_about(
    clone: Path, cluster: dict[str, str]
) -> None:
    refused = submit(clone, cluster, "results")
    said = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "--out results is relative: inside a Ray job" in said
    assert "exit code 2" in said
    (uploaded,) = Path(cluster["UPLOADED_TO"]).glob("session_2*/runtime_resources/working_dir_files/_ray_pkg_*/")
    there = {path.relative_to(uploaded).as_posix() for path in uploaded.rglob("*") if path.is_file()}
    code = {p.relative_to(clone).as_posix() for name in ("dynamics", "jobs") for p in (clone / name).rglob("*.*")}
    assert {name for name in code if Path(clone, name).is_file()} | {"plan.toml", ".gitignore", ".rayignore"} == there
    assert "dynamics/reference/checkpoints/step512/model.safetensors" in there


def test_without_the_token_nothing_can_be_submitted(clone: Path, cluster: dict[str, str], tmp_path: Path) -> None:
    stranger = {key: value for key, value in cluster.items() if not key.startswith("RAY_AUTH")}
    refused = submit(clone, {**stranger, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, str(tmp_path / "out"))
    assert refused.returncode != 0
    assert not (tmp_path / "out").exists()
