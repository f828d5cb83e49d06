"""The cache under a budget: what is claimed fits, what sweeps fetched is evicted, earlier files never are."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download

from dynamics.checkpoints import find_checkpoints
from dynamics.errors import CheckpointError
from dynamics.hub import disk, ledger
from dynamics.hub.listing import HubRevision
from tests import hub_models as models
from tests.hub_server import FakeHub, Fault

REPO = "EleutherAI/pythia-14m"
RUN, OTHER = "run", "other"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where the fixture `hub` puts the cache."""
    return tmp_path / "cache"


def listed(hub: FakeHub, *layouts: models.Files) -> Sequence[HubRevision]:
    """A repository whose steps 0, 1, ... have these files."""
    for step, files in enumerate(layouts):
        hub.add(REPO, f"step{step}", files)
    checkpoints = find_checkpoints(REPO, range(len(layouts)))
    return [checkpoint.remote for checkpoint in checkpoints if checkpoint.remote]


def content(cache: Path) -> set[str]:
    """Everything a repository's folder holds, blobs and links, relative."""
    root = cache / "models--EleutherAI--pythia-14m"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or path.is_file()}


def held_bytes(cache: Path) -> int:
    """Bytes that sweeps hold or have reserved."""
    with ledger.ledger(cache) as entries:
        return ledger.total_bytes(entries, cache)


def evict_dead(cache: Path) -> None:
    """What every claim begins with."""
    with ledger.ledger(cache) as entries:
        ledger.drop_dead(entries, cache)


def test_after_its_use_a_revision_leaves_nothing(hub: FakeHub, cache: Path) -> None:
    (first,) = listed(hub, models.sharded(0))
    with disk.using(first, run=RUN, budget=first.n_bytes, keep=False) as folder:
        assert {path.name for path in folder.iterdir()} == {file.path for file in first.files}
        assert held_bytes(cache) == first.n_bytes
    assert content(cache) == set()
    assert held_bytes(cache) == 0


def test_after_an_error_too(hub: FakeHub, cache: Path) -> None:
    (first,) = listed(hub, models.single(0))
    with pytest.raises(KeyError), disk.using(first, run=RUN, budget=None, keep=False):
        raise KeyError
    assert content(cache) == set()
    hub.faults = [Fault("flip", times=9)]
    with pytest.raises(CheckpointError, match="twice"):
        disk.acquire(first, run=RUN, budget=None)
    assert content(cache) == set()
    assert held_bytes(cache) == 0


def test_what_the_user_had_stays(hub: FakeHub, cache: Path) -> None:
    """One file of the same commit, and a blob that another commit shows."""
    first, second = listed(hub, models.single(0), models.sharded(1))
    settings = {"cache_dir": cache, "endpoint": hub.endpoint, "token": False}
    hf_hub_download(REPO, "config.json", revision=first.commit_sha, **settings)
    hf_hub_download(REPO, "model-00001-of-00002.safetensors", revision=second.commit_sha, **settings)
    before = content(cache)
    for revision in (first, second):
        with disk.using(revision, run=RUN, budget=None, keep=False):
            assert content(cache) > before
    assert content(cache) == before


def test_keep_leaves_everything_to_the_user(hub: FakeHub, cache: Path) -> None:
    (first,) = listed(hub, models.single(0))
    with disk.using(first, run=RUN, budget=None, keep=True):
        pass
    before = content(cache)
    assert held_bytes(cache) == 0
    with disk.using(first, run=RUN, budget=None, keep=False):
        pass
    assert content(cache) == before != set()


def test_shared_blobs_are_fetched_once_and_go_with_the_last(hub: FakeHub, cache: Path) -> None:
    first, same = listed(hub, models.sharded(0), models.sharded(0))
    for revision in (first, same):
        disk.acquire(revision, run=RUN, budget=first.n_bytes)
    assert set(hub.files.values()) == {1}
    with disk.using(first, run=RUN, budget=first.n_bytes, keep=False):
        pass
    with disk.using(same, run=RUN, budget=first.n_bytes, keep=False) as folder:
        assert (folder / "model-00002-of-00002.safetensors").read_bytes() == models.sharded(0)[
            "model-00002-of-00002.safetensors"
        ]
    assert content(cache) == set()
    assert set(hub.files.values()) == {1}


def test_what_the_user_comes_to_share_stays(hub: FakeHub, cache: Path) -> None:
    """While a sweep used the weights, the user opened another commit that has them too."""
    first, same = listed(hub, models.single(0), models.single(0))
    with disk.using(first, run=RUN, budget=None, keep=False):
        name = "model.safetensors"
        theirs = hf_hub_download(
            REPO, name, revision=same.commit_sha, cache_dir=cache, endpoint=hub.endpoint, token=False
        )
    assert Path(theirs).read_bytes() == models.single(0)[name]
    assert len(content(cache)) == 2


def test_a_blob_another_revision_claimed_stays(hub: FakeHub, cache: Path) -> None:
    """Before any link of that revision shows it."""
    first, same = listed(hub, models.single(0), models.single(0))
    with disk.using(first, run=RUN, budget=first.n_bytes, keep=False):
        disk.claim(same, cache, run=RUN, budget=first.n_bytes)
    assert len(content(cache)) == len(first.files)
    hub.reset_counts()
    with disk.using(same, run=RUN, budget=first.n_bytes, keep=False):
        assert hub.requests["GET file"] == 0


def test_a_claim_waits_until_what_is_held_is_released(hub: FakeHub, cache: Path) -> None:
    first, second = listed(hub, models.single(0), models.single(1))
    budget = int(1.5 * first.n_bytes)
    with disk.using(first, run=RUN, budget=budget, keep=False):
        waiting = threading.Thread(target=disk.acquire, args=(second,), kwargs={"run": RUN, "budget": budget})
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert held_bytes(cache) == first.n_bytes
    waiting.join(10)
    assert not waiting.is_alive()
    assert held_bytes(cache) == second.n_bytes


@pytest.mark.parametrize("run", [RUN, OTHER])
def test_a_wait_for_another_sweep_is_reported_at_once(
    hub: FakeHub, cache: Path, capsys: pytest.CaptureFixture[str], run: str
) -> None:
    """A sweep's own checkpoints are released in turn, which is no news."""
    first, second = listed(hub, models.single(0), models.single(1))
    with disk.using(first, run=RUN, budget=None, keep=False), pytest.raises(CheckpointError, match="nothing was"):
        disk.claim(second, cache, run=run, budget=first.n_bytes, wait=0.3)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == (run == OTHER)
    if said:
        assert f"waiting for space for {REPO}@step1 at {cache}: {REPO}@step1 needs" in said[0]
        assert "but sweeps hold" in said[0]
        assert said[0].endswith("0 s so far")


def test_a_budget_below_one_checkpoint_is_refused(hub: FakeHub) -> None:
    (first,) = listed(hub, models.single(0))
    with pytest.raises(CheckpointError, match=r"less than one checkpoint: EleutherAI/pythia-14m@step0.*raise disk_gb"):
        disk.acquire(first, run=RUN, budget=first.n_bytes - 1)
    assert hub.requests["GET file"] == 0


def test_a_full_disk_is_refused_before_the_download(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = listed(hub, models.single(0))
    usage = shutil.disk_usage("/")._replace(free=disk.MARGIN_BYTES)
    monkeypatch.setattr("dynamics.hub.disk.shutil.disk_usage", lambda _: usage)
    with pytest.raises(CheckpointError, match=r"needs .* GB more on disk, but 0 GB are free.*move HF_HUB_CACHE"):
        disk.acquire(first, run=RUN, budget=None)
    assert hub.requests["GET file"] == 0


def test_what_another_sweep_left_unused_makes_way(hub: FakeHub, cache: Path) -> None:
    first, second = listed(hub, models.single(0), models.single(1))
    disk.acquire(first, run=OTHER, budget=first.n_bytes)
    disk.acquire(second, run=RUN, budget=first.n_bytes)
    assert held_bytes(cache) == second.n_bytes
    assert len(content(cache)) == 2 * len(second.files)


def test_what_this_sweep_fetched_ahead_does_not(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until nobody has used anything for a while: then whoever wanted it is gone."""
    first, second = listed(hub, models.single(0), models.single(1))
    disk.acquire(first, run=RUN, budget=first.n_bytes)
    with pytest.raises(CheckpointError, match="nothing was released within 0 s"):
        disk.claim(second, cache, run=RUN, budget=first.n_bytes, wait=0.2)
    monkeypatch.setattr("dynamics.hub.disk.IDLE_SECONDS", 0.1)
    disk.claim(second, cache, run=RUN, budget=first.n_bytes, wait=5)
    assert held_bytes(cache) == second.n_bytes


def test_a_resumed_sweep_verifies_what_an_earlier_one_fetched(hub: FakeHub) -> None:
    (first,) = listed(hub, models.single(0))
    weights = disk.acquire(first, run=OTHER, budget=None) / "model.safetensors"
    weights.resolve().write_bytes(models.single(1)["model.safetensors"])
    with disk.using(first, run=RUN, budget=None, keep=False) as folder:
        assert (folder / "model.safetensors").read_bytes() == models.single(0)["model.safetensors"]


def in_a_process(code: str) -> subprocess.Popen[str]:
    """Python in another process, with this process's environment; prints when it is ready."""
    text = "import time\nfrom dynamics.hub import disk\nfrom dynamics.hub.listing import *\n" + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())


def test_what_a_killed_process_held_is_evicted_partial_files_too(hub: FakeHub, cache: Path) -> None:
    first, second = listed(hub, models.single(0), models.single(1))
    hub.faults = [Fault("hang", r"model.safetensors")]
    with in_a_process(f"disk.acquire({first!r}, run='run', budget=None)") as process:
        until(lambda: hub.faults[0].times == 0 and any(name.endswith(".incomplete") for name in content(cache)))
        evict_dead(cache)
        assert any(name.endswith(".incomplete") for name in content(cache))  # its writer lives
        assert held_bytes(cache) == first.n_bytes
        process.send_signal(signal.SIGKILL)
    disk.acquire(second, run=RUN, budget=first.n_bytes)
    assert held_bytes(cache) == second.n_bytes
    assert not any(name.endswith(".incomplete") for name in content(cache))
    assert len(content(cache)) == 2 * len(second.files)


def test_what_another_process_uses_stays(hub: FakeHub, cache: Path) -> None:
    (first,) = listed(hub, models.single(0))
    used = f"""
        with disk.using({first!r}, run='run', budget=None, keep=False):
            print('ready', flush=True)
            time.sleep(60)
    """
    with in_a_process(used) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with disk.using(first, run=RUN, budget=None, keep=False):
            pass
        assert len(content(cache)) == 2 * len(first.files)
        process.kill()
    evict_dead(cache)
    assert content(cache) == set()


def test_a_broken_ledger_deletes_nothing(hub: FakeHub, cache: Path) -> None:
    (first,) = listed(hub, models.single(0))
    disk.acquire(first, run=RUN, budget=None)
    before = content(cache)
    (cache / ".pythia-emergence" / "ledger.json").write_text("{broken")
    disk.release(first, cache)
    evict_dead(cache)
    assert content(cache) == before


def tampered(cache: Path, target: Path) -> dict[str, object]:
    """Ledgers that name a file outside the cache, or are none."""
    key, blob = f"{REPO}@{'0' * 40}", "0" * 40
    sound = {"run": "x", "ready": False, "used": True, "since": 1.0, "holders": [], "blobs": {}, "files": []}
    up = os.path.relpath(target, cache / "models--EleutherAI--pythia-14m" / "blobs")
    return {
        "absolute blob": {key: sound | {"blobs": {str(target): 9}}},
        "relative blob": {key: sound | {"blobs": {up: 9}}},
        "a folder as blob": {key: sound | {"blobs": {"": 9}}},
        "absolute file": {key: sound | {"files": [str(target)]}},
        "relative file": {key: sound | {"files": ["../" * 9 + str(target)]}},
        "holder": {key: sound | {"holders": [os.path.relpath(target, cache / ".pythia-emergence" / "holders")]}},
        "repository": {f"../..@{'0' * 40}": sound | {"blobs": {blob: 9}}},
        "commit": {f"{REPO}@../../..": sound | {"files": [target.name]}},
        "folder of a commit": {f"{key}/../..": sound | {"files": [target.name]}},
        "negative size": {key: sound | {"blobs": {blob: -(10**12)}}},
        "older form": {key: sound | {"blobs": [blob]}},
        "a missing key": {key: {"run": "x"}},
        "a list": [1],
        "a number": 1,
        "a list as entry": {key: [1]},
        "null": None,
    }


@pytest.mark.parametrize("kind", tampered(Path("/a"), Path("/b")))
def test_whatever_a_ledger_says_nothing_outside_the_cache_is_touched(
    hub: FakeHub, cache: Path, tmp_path: Path, kind: str
) -> None:
    outside = tmp_path / "thesis.txt"
    outside.write_text("mine")
    (first,) = listed(hub, models.single(0))
    kept = cache / ".pythia-emergence" / "ledger.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(tampered(cache, outside)[kind]))
    with disk.using(first, run=RUN, budget=first.n_bytes, keep=False):
        assert held_bytes(cache) == first.n_bytes
    assert outside.read_text() == "mine"
    assert content(cache) == set()
    assert json.loads(kept.read_text()) == {}


@pytest.mark.parametrize("text", ["[" * 100_000, "\udcff", "", "NaN"], ids=["deep", "no text", "empty", "NaN"])
def test_a_ledger_that_is_no_json_starts_afresh(hub: FakeHub, cache: Path, text: str) -> None:
    (first,) = listed(hub, models.single(0))
    kept = cache / ".pythia-emergence" / "ledger.json"
    kept.write_bytes(text.encode(errors="surrogateescape"))
    with disk.using(first, run=RUN, budget=first.n_bytes, keep=False):
        pass
    assert content(cache) == set()


@pytest.mark.parametrize("link", ["snapshots", "blobs", "."])
def test_a_folder_that_leads_outside_the_cache_is_not_emptied(
    hub: FakeHub, cache: Path, tmp_path: Path, link: str
) -> None:
    """A tampered cache: the names are right, but a folder of the repository is a link."""
    (first,) = listed(hub, models.single(0))
    disk.acquire(first, run=RUN, budget=None)
    folder = cache / "models--EleutherAI--pythia-14m" / link
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    before = sorted(path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file() or path.is_symlink())
    disk.release(first, cache)
    evict_dead(cache)
    after = sorted(path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file() or path.is_symlink())
    assert after == before
    assert held_bytes(cache) == 0


def test_weights_of_the_xet_store_are_evicted_from_it_too(xet: FakeHub, cache: Path) -> None:
    """And what another repository shows of it stays."""
    first, second = listed(xet, models.single(0), models.sharded(1))
    xet.add("owner/copy", "main", models.sharded(1))
    mine = {"cache_dir": cache, "endpoint": xet.endpoint, "token": False}
    shard = "model-00001-of-00002.safetensors"
    theirs = Path(hf_hub_download("owner/copy", shard, **mine))
    for revision in (first, second):
        with disk.using(revision, run=RUN, budget=revision.n_bytes, keep=False) as folder:
            assert (folder / revision.weights[0].path).resolve().parent.parent == cache / "blobs"
    assert content(cache) == set()
    assert theirs.read_bytes() == models.sharded(1)[shard]
    assert [path for path in (cache / "blobs").glob("*/*") if len(path.name) == 64] == [theirs.resolve()]


def test_a_cache_that_cannot_be_written_is_reported(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = listed(hub, models.single(0))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match=r"cannot be written.*HF_HUB_OFFLINE=1"):
        disk.acquire(first, run=RUN, budget=None)
    assert ledger.total_bytes({}, tmp_path) == 0


def until(true, seconds: float = 20.0) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
