"""The ledger of a cache: one entry for each revision that sweeps fetched, guarded by a file lock.

An entry says which blobs and links sweeps brought, whether they are complete (`ready`) and were `used`, which sweep
(`run`) they are for, and who holds them. A holder is a process that keeps a lock on a file of its own: a killed one is
noticed at once. What no entry names is never touched.
"""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from huggingface_hub import DeleteCacheStrategy

from dynamics.atomic_write import write_atomically
from dynamics.errors import CheckpointError
from dynamics.hub.fetch import repo_folder
from dynamics.hub.listing import STATE_FOLDER, HubRevision
from dynamics.hub.names import checked_sha

Entries = dict[str, dict[str, Any]]


@contextmanager
def ledger(cache_folder: Path) -> Iterator[Entries]:
    """The entries, for this process alone; written back when the block ends."""
    state = _state(cache_folder)
    with FileLock(state / "ledger.lock", thread_local=False):
        path = state / "ledger.json"
        before = path.read_text() if path.exists() else "{}"
        try:
            entries: Entries = json.loads(before)
        except ValueError:
            entries = {}  # what it named is left alone from now on
        try:
            yield entries
        finally:
            after = json.dumps(entries, sort_keys=True)
            if after != before:
                write_atomically(path, after.encode())


def entry_key(revision: HubRevision) -> str:
    """The name of a revision's entry."""
    return f"{revision.repo}@{revision.commit_sha}"


def total_bytes(entries: Entries) -> int:
    """Size of all blobs that sweeps brought or have reserved; a blob of several revisions counts once."""
    return sum({blob: size for entry in entries.values() for blob, size in entry["blobs"].items()}.values())


def holder_name(cache_folder: Path) -> str:
    """The name under which this process uses revisions. Call it with the ledger's lock held."""
    return _locked_name(_state(cache_folder), os.getpid())[0]


def in_use(entry: dict[str, Any], cache_folder: Path) -> bool:
    """Whether a living process holds the entry."""
    return any(_alive(cache_folder, holder) for holder in entry["holders"])


def drop_dead(entries: Entries, cache_folder: Path) -> None:
    """Evict what processes that died were fetching or using."""
    for key in sorted(entries):
        entry = entries[key]
        waiting = entry["ready"] and not entry["used"]
        if not waiting and not in_use(entry, cache_folder):
            evict(entries, key, cache_folder)


def evict(entries: Entries, key: str, cache_folder: Path) -> None:
    """Delete an entry's files, and those of its blobs that nothing else shows."""
    entry = entries.pop(key)
    repo, sha = key.rsplit("@", 1)
    root = repo_folder(cache_folder, repo)
    files = {path for name in entry["files"] if (path := Path(name)).is_symlink() or path.exists()}
    shared = {blob for other in entries.values() for blob in other["blobs"]}
    shown = {_target(path) for path in root.glob("snapshots/**/*") if path.is_symlink() and path not in files}
    blobs = {Path(blob) for blob in entry["blobs"] if blob not in shared and blob not in shown}
    for blob in sorted(blobs):
        for partial in sorted(blob.parent.glob(f"{blob.name}*.incomplete")):
            delete_partial(partial, cache_folder)
    DeleteCacheStrategy(
        expected_freed_size=0,
        blobs=frozenset(blob for blob in blobs if blob.is_symlink() or blob.exists()),
        refs=frozenset(),
        repos=frozenset(),
        snapshots=frozenset(),
        files=frozenset(files),
        cache_dir=cache_folder,
    ).execute()
    folder = root / "snapshots" / checked_sha(sha, "commit")
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def delete_partial(path: Path, cache_folder: Path) -> int:
    """Delete a partial download unless its writer is alive; bytes freed."""
    lock = cache_folder / ".locks" / path.parent.parent.name / f"{path.name.split('.')[0]}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=0):
            size = path.stat().st_size
            path.unlink()
            return size
    except (Timeout, OSError):
        return 0


def _alive(cache_folder: Path, holder: str) -> bool:
    path = _state(cache_folder) / "holders" / holder
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            path.unlink(missing_ok=True)
            return False
    except Timeout:
        return True


@cache
def _locked_name(state: Path, pid: int) -> tuple[str, FileLock]:
    """A name, and the lock that shows the process is alive; the system frees it when the process ends."""
    name = f"{pid}-{uuid.uuid4().hex}"
    lock = FileLock(state / "holders" / name, thread_local=False)
    lock.acquire(timeout=0)
    return name, lock


def _target(link: Path) -> str:
    """What a link of a snapshot shows, with no look at the disk."""
    return os.path.normpath(link.parent / link.readlink())


def _state(cache_folder: Path) -> Path:
    """Where the ledger is; made when it is not there.

    Raises:
        CheckpointError: the cache cannot be written.
    """
    state = cache_folder / STATE_FOLDER
    try:
        (state / "holders").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{cache_folder} cannot be written ({error.strerror}); point HF_HUB_CACHE to a folder that can, or set "
            "HF_HUB_OFFLINE=1 if all checkpoints are in it"
        ) from error
    return state
