"""Ledger of a cache: one entry per revision that sweeps fetched, in a file guarded by a lock.

An entry names the blobs and links that sweeps created, whether they are complete (`ready`) and have been `used`, the
sweep (`run`) that fetched them, and the processes that use them (`holders`). A holder keeps a lock on a file of its
own, so a killed process is noticed at once. Files without an entry are never changed. An entry holds names, of which
the paths are made here, and one that does not have this form is dropped: no ledger can name a file outside the cache.
"""

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dynamics.atomic_write import write_atomically
from dynamics.errors import CheckpointError
from dynamics.hub.api import STATE_FOLDER
from dynamics.hub.cache import blob_behind, is_inside, leads_inside, remove, repo_folder, snapshot_folder
from dynamics.hub.listing import Commit, HubRevision
from dynamics.hub.names import checked_repo, checked_sha

Etag = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
_PATH = r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*"
FilePath = Annotated[str, Field(pattern=f"^{_PATH}$")]
Holder = Annotated[str, Field(pattern=r"^[0-9]{1,20}-[0-9a-f]{32}$")]


class Entry(BaseModel):
    """What sweeps fetched of a revision: `blobs` as etag -> bytes, `files` as paths in its snapshot."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: str
    ready: bool = False
    used: bool = False
    since: float
    holders: list[Holder]
    blobs: dict[Etag, Annotated[int, Field(ge=0)]]
    files: list[FilePath]


Entries = dict[str, Entry]


@contextmanager
def ledger(cache_folder: Path) -> Iterator[Entries]:
    """Context manager: exclusive access to the entries, which are written back at its end.

    Raises:
        CheckpointError: the cache cannot be read or written.
    """
    state = _state(cache_folder)
    with FileLock(state / "ledger.lock", thread_local=False):
        path = state / "ledger.json"
        before = _text(path)
        entries = _entries(before)
        try:
            yield entries
        finally:
            after = json.dumps({key: entry.model_dump() for key, entry in entries.items()}, sort_keys=True)
            if after != before:
                write_atomically(path, after.encode())


def entry_key(revision: HubRevision) -> str:
    """Key of a revision's entry, `owner/name@commit`, with `/folder` where it is a folder of the commit."""
    return f"{revision.repo}@{revision.commit_sha}{f'/{revision.subfolder}' if revision.subfolder else ''}"


def _commit_of(key: str) -> Commit:
    """The commit, and the folder in it, of an entry's key.

    Raises:
        CheckpointError: it is no such key.
    """
    repo, _, where = key.partition("@")
    sha, slash, subfolder = where.partition("/")
    if slash and not re.fullmatch(_PATH, subfolder):
        raise CheckpointError(f"{subfolder!r} is not a folder of a commit")
    return Commit(checked_repo(repo), sha, checked_sha(sha, "commit"), subfolder=subfolder)


def blobs_of(key: str, entry: Entry, cache_folder: Path) -> dict[Path, int]:
    """Paths and sizes of an entry's blobs."""
    folder = repo_folder(cache_folder, _commit_of(key).repo) / "blobs"
    return {folder / etag: size for etag, size in entry.blobs.items()}


def all_blobs(entries: Entries, cache_folder: Path) -> dict[Path, int]:
    """Paths and sizes of all blobs that sweeps fetched or have reserved space for."""
    return {blob: size for key, entry in entries.items() for blob, size in blobs_of(key, entry, cache_folder).items()}


def total_bytes(entries: Entries, cache_folder: Path) -> int:
    """Size of all these blobs; a blob of several revisions counts once."""
    return sum(all_blobs(entries, cache_folder).values())


def holder_name(cache_folder: Path) -> str:
    """Name of this process as a holder of revisions; to be called while the ledger is locked."""
    return _locked_name(_state(cache_folder), os.getpid())[0]


def in_use(entry: Entry, cache_folder: Path) -> bool:
    """Whether a living process holds the entry."""
    return any(_alive(cache_folder, holder) for holder in entry.holders)


def drop_dead(entries: Entries, cache_folder: Path) -> None:
    """Evict the revisions that processes were fetching or using when they died."""
    for key in sorted(entries):
        entry = entries[key]
        fetched_ahead = entry.ready and not entry.used
        if not fetched_ahead and not in_use(entry, cache_folder):
            evict(entries, key, cache_folder)


def evict(entries: Entries, key: str, cache_folder: Path) -> None:
    """Delete an entry, its links, and its blobs that no other entry or link refers to; nothing outside the cache."""
    entry = entries.pop(key)
    commit = _commit_of(key)
    folder = snapshot_folder(cache_folder, commit)
    files = {folder / name for name in entry.files}
    links = (path for path in folder.parent.glob("**/*") if path.is_symlink() and path not in files)
    kept = {*all_blobs(entries, cache_folder), *(blob_behind(link) for link in links)}
    blobs = {blob for blob in blobs_of(key, entry, cache_folder) if blob not in kept}
    for blob in sorted(blobs):
        for partial in sorted(blob.parent.glob(f"{blob.name}*.incomplete")):
            delete_partial(partial, cache_folder)
    remove(cache_folder, files, blobs)
    for empty in (
        path
        for path in (folder / commit.subfolder, *(folder / commit.subfolder).parents)
        if path.is_relative_to(folder)
    ):
        if is_inside(empty, cache_folder) and empty.is_dir() and not empty.is_symlink() and not any(empty.iterdir()):
            empty.rmdir()


def delete_partial(path: Path, cache_folder: Path) -> int:
    """Delete a partial download unless its writer is alive, as the lock on its blob tells, or it is not in the cache.

    Returns:
        Bytes freed.
    """
    if not is_inside(path, cache_folder):
        return 0
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


def _text(path: Path) -> str:
    """The ledger's text; none where it is a link, which a sweep never makes it."""
    try:
        return "{}" if path.is_symlink() or not path.exists() else path.read_text()
    except UnicodeDecodeError:
        return ""
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); move it away") from error


def _entries(text: str) -> Entries:
    """The entries that have the form of one; files of the others stay in the cache for good."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    entries: Entries = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        try:
            _commit_of(key)
            entries[key] = Entry.model_validate(value)
        except (CheckpointError, ValidationError):
            continue
    return entries


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
    if not leads_inside(state / "holders", cache_folder):
        raise CheckpointError(f"{state} leads outside {cache_folder}; remove that link")
    return state
