"""Tiny models with every parameter perturbed: zero biases and unit gains would hide errors."""

import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.utils import XetFileData
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from typer.testing import CliRunner

from dynamics.reference import suite
from jobs.sweep import app
from tests.gs_server import serve_gs
from tests.hub_server import FakeHub, serve, xet_hash
from tests.models import tiny_neox, tiny_suite, write_plan
from tests.s3_server import LocalS3, environment_of, serve_s3

# Ray reads these once a process, and a token in HOME is the user's: so one of our own, before any test touches Ray.
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
# A shell starts background commands with SIGINT ignored, and so would be every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What analyses keep of remote and read-only results goes into a folder of this run."""
    folder = tmp_path_factory.mktemp("user-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """The reference suite's tokenizer."""
    return AutoTokenizer.from_pretrained(suite.checkpoints_dir() / "step0", local_files_only=True)


@pytest.fixture(scope="session")
def neox(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A GPT-NeoX with parallel residual and the reference vocabulary."""
    return tiny_neox(len(tokenizer), parallel=True)


@pytest.fixture(scope="session")
def suite_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A folder with two tiny checkpoints, `step0` and `step4`; read only."""
    return tiny_suite(tmp_path_factory.mktemp("suite"), tokenizer)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, suite_folder: Path) -> Path:
    """Results of a small sweep over `suite_folder`; read only."""
    root = tmp_path_factory.mktemp("swept")
    plan = write_plan(root / "plan.toml", suite_folder)
    assert CliRunner().invoke(app, [str(plan), "--out", str(root / "out"), "--executor", "inline"]).exit_code == 0
    return root / "out"


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests share two cores with Ray's workers; tiny matrices gain nothing from threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[LocalS3]:
    """A local S3 of the whole run; tests use `s3`."""
    with serve_s3() as local:
        yield local


@pytest.fixture
def s3(s3_server: LocalS3) -> Iterator[LocalS3]:
    """The local S3, with credentials for it in the environment, no requests counted and none refused."""
    s3_server.requests.clear()
    s3_server.keys.clear()
    s3_server.refuse = lambda _method, _path: None
    with environment_of(s3_server):
        yield s3_server


@pytest.fixture
def gs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket in a local Google Cloud Storage."""
    with serve_gs() as host:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
        yield "lab"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """An empty local Hub that the settings of this test point to, with an empty cache and short waits."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    # Reading its list of harnesses would ask the real Hub.
    monkeypatch.setattr("huggingface_hub.utils._detect_agent._get_registry", dict)
    impatient = SimpleNamespace(sleep=lambda _: None, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr("huggingface_hub.file_download.time", impatient)
    monkeypatch.setattr("huggingface_hub.utils._http.time", impatient)
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", 0.3)
    monkeypatch.setattr("dynamics.hub.api.API_TIMEOUT", 0.3)
    monkeypatch.setattr("dynamics.hub.retries.FIRST_WAIT", 0.001)
    with serve(FakeHub()) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
        yield served


@pytest.fixture
def xet(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """Large files are in the Xet store, whose client leaves what the real one leaves."""

    def leave(*, incomplete_path: Path, xet_file_data: XetFileData, **_: object) -> None:
        contents = (content for tree in hub.trees.values() for content in tree.values())
        incomplete_path.write_bytes(next(c for c in contents if xet_hash(c) == xet_file_data.file_hash))

    monkeypatch.setattr("huggingface_hub.file_download.xet_get", leave)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    hub.xet = True
    return hub
