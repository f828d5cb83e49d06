"""Waits on the Hub: reported, limited, and ended where a download or the Xet store is too slow."""

import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import file_download, get_session
from huggingface_hub.errors import HfHubHTTPError

from dynamics.checkpoints import find_checkpoints
from dynamics.errors import CheckpointError, Unreachable
from dynamics.hub import api, disk, retries
from dynamics.hub import xet as xet_store
from dynamics.hub.fetch import fetch_revision
from tests import hub_models as models
from tests.dynamics.test_hub_fetch import REPO, WEIGHTS, opened, permanent, revision, unembedding
from tests.hub_server import FakeHub, Fault


@pytest.mark.parametrize("rate", [1e6, 0.0])
def test_a_download_below_the_least_rate_is_ended(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, rate: float) -> None:
    monkeypatch.setattr("dynamics.hub.waiting.WINDOW_SECONDS", 0.2)
    what = revision(hub, models.single(1))
    hub.bytes_per_second = 200_000
    if rate:
        with pytest.raises(Unreachable, match=r"kB/s, and least_kb_s = 1e\+03 .*2 attempts"):
            fetch_revision(what, rate)
    else:
        assert fetch_revision(what, rate).is_dir()


def test_the_client_does_not_sleep_as_long_as_a_server_says(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own repetitions know no longest wait, and no line says what is waited for."""
    what, waits = revision(hub, models.single(1)), []
    clock = SimpleNamespace(sleep=waits.append, monotonic=time.monotonic)
    monkeypatch.setattr("dynamics.hub.retries.time", clock)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
    for method in ("HEAD", "GET"):
        hub.reset_counts()
        hub.faults = [permanent("status", method, status=429, headers={"Retry-After": "86400"})]
        with pytest.raises(Unreachable, match=r"429.*6 attempts"):
            fetch_revision(what)
        assert 999 - hub.faults[0].times == 6
    assert len(waits) == 10
    assert max(waits) <= 1.25 * retries.LONGEST_REQUESTED_WAIT


def test_every_request_of_the_client_has_a_time_limit(hub: FakeHub) -> None:
    """That for a token of the Xet store names none."""
    fetch_revision(revision(hub, models.single(1)))
    assert get_session().timeout.as_dict() == dict.fromkeys(("connect", "read", "write", "pool"), api.API_TIMEOUT)


def test_every_wait_is_reported(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("dynamics.hub.waiting.EVERY_SECONDS", 0.1)
    hub.faults = [Fault("hang", "/refs"), Fault("status", WEIGHTS, status=429, headers={"Retry-After": "1"})]
    what = revision(hub, models.single(1))
    hub.bytes_per_second = 1e6
    weights = (replace(what.weights[0], oid="1" * 40, sha256=None),)
    other = replace(what, commit_sha="0" * 40, revision="step1", weights=weights)
    with disk.using(what, run="a", budget=what.n_bytes, keep=False), pytest.raises(CheckpointError, match="released"):
        disk.claim(other, tmp_path / "cache", run="a", budget=what.n_bytes, wait=0.3)
    said = capsys.readouterr().err
    assert f"waiting for the revisions of {REPO}: 0 s so far" in said
    assert re.search(rf"waiting for {REPO}@step0 model.safetensors: \d.\d of \d.\d MB, .*s so far", said)
    assert re.search(rf"waiting for space for {REPO}@step1 at .*cache: {REPO}@step1 needs", said)


@pytest.mark.parametrize("how", ["refused", "fails"])
def test_a_dead_xet_store_is_noticed_once_and_content_comes_by_https(
    xet: FakeHub, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    calls = []

    def fail(**_: object) -> None:
        calls.append(1)
        raise RuntimeError("CAS service error")

    monkeypatch.setattr("huggingface_hub.file_download.xet_get", fail)
    xet.xet_store = "http://localhost:9" if how == "refused" else None
    assert torch.equal(opened(xet, models.sharded(1)), unembedding(1))
    assert len(calls) == (how == "fails")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)  # as in another process
    xet.add(REPO, "step1", models.single(2))
    (found,) = find_checkpoints(REPO, [1])
    assert found.remote is not None
    assert fetch_revision(found.remote).is_dir()
    assert len(calls) == (how == "fails")
    assert xet.requests["GET xet"] == 1


def test_a_xet_store_that_delivers_nothing_is_left_for_https(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real client, which waits without end."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr("dynamics.hub.waiting.WINDOW_SECONDS", 0.5)
    hub.xet = True
    assert torch.equal(opened(hub, models.sharded(1)), unembedding(1))
    assert hub.requests["GET content"] == 1
    assert "the Xet store fails (it comes at 0 kB/s, and least_kb_s = 10" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rate", "least", "is_ended"), [(1e5, 1e4, False), (1e3, 1e4, True), (1e3, 0, False), (0, 0, True)]
)
def test_a_transfer_from_the_xet_store_has_the_least_rate(
    xet: FakeHub, monkeypatch: pytest.MonkeyPatch, rate: float, least: float, is_ended: bool
) -> None:
    """Bytes that arrive count before they are written."""
    aborted, get = threading.Event(), file_download.xet_get

    def slow(*, tqdm_class: type[xet_store.TransferBar], **options: Any) -> None:
        bar = tqdm_class()
        for _ in range(10):
            if aborted.wait(0.1):
                bar.close()
                raise RuntimeError("Operation cancelled")
            bar.update_transfer(rate / 10)
        bar.close()
        get(**options)

    monkeypatch.setattr("huggingface_hub.file_download.xet_get", slow)
    monkeypatch.setattr("dynamics.hub.xet.abort_xet_session", aborted.set)
    monkeypatch.setattr("dynamics.hub.waiting.WINDOW_SECONDS", 0.45)
    assert fetch_revision(revision(xet, models.single(1)), least).is_dir()
    assert aborted.is_set() == is_ended
    assert xet.files["model.safetensors"] == is_ended
    assert not [thread for thread in threading.enumerate() if thread.name == "xet-rate" and not aborted.is_set()]


def test_a_disk_that_is_full_for_the_xet_store_is_full_for_all(xet: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("huggingface_hub.file_download.xet_get", full)
    with pytest.raises(CheckpointError, match="the disk is full"):
        fetch_revision(revision(xet, models.single(1)))
    assert not xet.sent["model.safetensors"]


def answered(status: int, **headers: str) -> HfHubHTTPError:
    """An error of the Hub with these headers."""
    error = HfHubHTTPError.__new__(HfHubHTTPError)
    error.response = SimpleNamespace(status_code=status, headers=headers)  # pyright: ignore[reportAttributeAccessIssue]
    return error


IN_FIVE_MINUTES = "in five minutes"
"""A date, which is made when the test runs: the tests before it may take longer."""


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "7"}, 7, 8.75),
        ({"retry-after": IN_FIVE_MINUTES}, 290, 375),
        ({"RateLimit": '"api";r=0;t=55'}, 55, 69),
        ({"RateLimit": '"api";r=3;t=55'}, 2, 4),
        ({"Retry-After": "99999"}, 600, 750),
        ({"Retry-After": "soon"}, 2, 4),
        ({}, 2, 4),
    ],
)
def test_waits_are_those_asked_for_with_jitter(headers: dict[str, str], low: float, high: float) -> None:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 300))
    headers = {name: value.replace(IN_FIVE_MINUTES, date) for name, value in headers.items()}
    waits = {retries.wait_seconds(answered(429, **headers), attempt=2) for _ in range(20)}
    assert low <= min(waits) < max(waits) <= high
