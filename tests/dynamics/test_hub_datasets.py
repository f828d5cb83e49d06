"""A dataset's file from a local Hub: transient errors are retried, what is damaged is never read."""

import io
from pathlib import Path

import polars as pl
import pytest

from dynamics.errors import PlanError
from dynamics.hub import datasets
from dynamics.tasks.files import hub_file, read_tables
from tests.hub_server import FakeHub, Fault

REPO, PATH, SMALL = "owner/rows", "data/train.parquet", "data/train.json"
TABLE = pl.DataFrame({"text": [f"row {i}" for i in range(200)], "label": [0, 1] * 100})


@pytest.fixture
def commit(hub: FakeHub) -> str:
    """The dataset is there, as a large and as a small file."""
    TABLE.write_parquet(buffer := io.BytesIO())
    return hub.add(f"datasets/{REPO}", "main", {PATH: buffer.getvalue(), SMALL: TABLE.write_json().encode()})


@pytest.mark.parametrize("path", [PATH, SMALL])
@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", match="/resolve/", times=2),
        Fault("status", match="/resolve/", method="HEAD", status=429, headers={"Retry-After": "0"}),
        Fault("truncate", match="/resolve/", times=2),
        Fault("flip", match="/resolve/"),
        None,
    ],
    ids=lambda fault: f"{fault.kind}-{fault.method}" if fault else "none",
)
def test_transient_errors_are_retried_and_the_rows_are_right(
    hub: FakeHub, commit: str, fault: Fault | None, path: str
) -> None:
    hub.faults = [fault] if fault else []
    files = hub_file(REPO, path, "main")
    assert fault is None or fault.times == 0
    assert read_tables(files.paths).equals(TABLE)
    assert files.place == f"{REPO}@main ({commit}) {path}"
    gets = hub.files[path]
    hub_file(REPO, path, commit)
    assert hub.files[path] == gets


@pytest.mark.parametrize("path", [PATH, SMALL])
@pytest.mark.usefixtures("commit")
def test_a_file_that_stays_damaged_is_refused_and_not_kept(hub: FakeHub, tmp_path: Path, path: str) -> None:
    hub.faults = [Fault("flip", match="/resolve/", times=9)]
    with pytest.raises(PlanError, match=r"cannot get data/.* of dataset owner/rows at revision main .*: hash"):
        hub_file(REPO, path, "main")
    assert not [path for path in (tmp_path / "cache").rglob("train*") if path.is_file()]
    hub.faults = []
    assert read_tables(hub_file(REPO, path, "main").paths).equals(TABLE)


@pytest.mark.usefixtures("commit")
def test_a_file_that_is_not_there_is_one_line_at_once(hub: FakeHub) -> None:
    with pytest.raises(PlanError, match=r"cannot get other.parquet of dataset owner/rows at revision main") as refused:
        hub_file(REPO, "other.parquet", "main")
    assert "\n" not in str(refused.value)
    assert hub.requests["HEAD file"] == 1


@pytest.mark.usefixtures("commit")
def test_damage_in_the_cache_is_seen_offline_too(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    (cached,) = hub_file(REPO, PATH, "main").paths
    content = cached.resolve()
    content.write_bytes(content.read_bytes()[:-1] + b"x")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.reset_counts()
    with pytest.raises(PlanError, match="HF_HUB_OFFLINE is set, so it is not fetched again"):
        hub_file(REPO, PATH, "main")
    assert content.exists()
    assert not hub.requests


def test_a_cache_that_does_not_say_its_hashes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.parquet").write_bytes(b"x")
    monkeypatch.setattr(datasets, "_download", lambda *_: tmp_path / "train.parquet")
    with pytest.raises(PlanError, match="put HF_HUB_CACHE on a disk with symbolic links"):
        hub_file(REPO, PATH, "main")
