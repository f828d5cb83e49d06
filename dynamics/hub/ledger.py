"""Ledger of a cache: one entry per revision that sweeps fetched, in a file guarded by a lock.

An entry lists the blobs and links that sweeps created, whether they are complete (`ready`) and have been `used`, the
sweep (`run`) that fetched them, and the processes that use them (`holders`). A holder keeps a lock on a file of its
own, so a killed process is noticed at once. Files without an entry are never changed.
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
    """Context manager: exclusive access to the entries, which are written back at its end."""
    state = _state(cache_folder)
    with FileLock(state / "ledger.lock", thread_local=False):
        path = state / "ledger.json"
        before = path.read_text() if path.exists() else "{}"
        try:
            entries: Entries = json.loads(before)
        except ValueError:
            entries = {}  # files of the lost entries stay in the cache for good
        try:
            yield entries
        finally:
            after = json.dumps(entries, sort_keys=True)
            if after != before:
                write_atomically(path, after.encode())


def entry_key(revision: HubRevision) -> str:
    """Key of a revision's entry."""
    return f"{revision.repo}@{revision.commit_sha}"


def total_bytes(entries: Entries) -> int:
    """Size of all blobs that sweeps fetched or have reserved space for; a blob of several revisions counts once."""
    return sum({blob: size for entry in entries.values() for blob, size in entry["blobs"].items()}.values())


def holder_name(cache_folder: Path) -> str:
    """Name of this process as a holder of revisions; to be called while the ledger is locked."""
    return _locked_name(_state(cache_folder), os.getpid())[0]


def in_use(entry: dict[str, Any], cache_folder: Path) -> bool:
    """Whether a living process holds the entry."""
    return any(_alive(cache_folder, holder) for holder in entry["holders"])


def drop_dead(entries: Entries, cache_folder: Path) -> None:
    """Evict the revisions that processes were fetching or using when they died."""
    for key in sorted(entries):
        entry = entries[key]
        fetched_ahead = entry["ready"] and not entry["used"]
        if not fetched_ahead and not in_use(entry, cache_folder):
            evict(entries, key, cache_folder)


def evict(entries: Entries, key: str, cache_folder: Path) -> None:
    """Delete an entry, its links, and its blobs that no other entry or link refers to."""
    entry = entries.pop(key)
    repo, sha = key.rsplit("@", 1)
    root = repo_folder(cache_folder, repo)
    files = {path for name in entry["files"] if (path := Path(name)).is_symlink() or path.exists()}
    shared = {blob for other in entries.values() for blob in other["blobs"]}
    linked = {_target(path) for path in root.glob("snapshots/**/*") if path.is_symlink() and path not in files}
    blobs = {Path(blob) for blob in entry["blobs"] if blob not in shared and blob not in linked}
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
    """Delete a partial download unless its writer is alive, as the lock on its blob tells.

    Returns:
        Bytes freed.
    """
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
    """Whether a holder's process still has the lock on its file."""
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
    """A unique holder name, and a lock on its file, which the operating system releases when the process ends."""
    name = f"{pid}-{uuid.uuid4().hex}"
    lock = FileLock(state / "holders" / name, thread_local=False)
    lock.acquire(timeout=0)
    return name, lock


def _target(link: Path) -> str:
    """Path that a snapshot's link points to, which need not exist."""
    return os.path.normpath(link.parent / link.readlink())


def _state(cache_folder: Path) -> Path:
    """Folder of the ledger, created if it does not exist.

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
