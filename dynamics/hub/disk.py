"""Disk budget of a node's cache: claim space, fetch, use and evict revisions, and only those that sweeps fetched."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dynamics.errors import CheckpointError
from dynamics.hub.cache import blob_path, checkpoint_folder, snapshot_folder
from dynamics.hub.fetch import Check, accept, fetch_revision
from dynamics.hub.ledger import (
    Entries,
    Entry,
    all_blobs,
    blobs_of,
    drop_dead,
    entry_key,
    evict,
    holder_name,
    in_use,
    ledger,
    total_bytes,
)
from dynamics.hub.listing import HubRevision
from dynamics.hub.settings import settings
from dynamics.hub.waiting import LEAST_RATE, Wait, reported

MARGIN_BYTES = 64 * 2**20
POLL_SECONDS = 0.05
IDLE_SECONDS = 60.0


@contextmanager
def using(
    revision: HubRevision,
    *,
    run: str,
    budget: int | None,
    keep: bool,
    rate: float = LEAST_RATE,
    check: Check = accept,
) -> Iterator[Path]:
    """Context manager: the folder of a revision's verified files, evicted at the end if sweeps fetched them.

    Args:
        revision: the revision to use; fetched now unless `acquire` did so for the same run.
        run, budget: as in `claim`.
        keep: leave the files in the cache.
        rate, check: as in `fetch_revision`.

    Raises:
        CheckpointError, UserError: as `acquire`.
    """
    hub = settings()
    if hub.offline:
        yield fetch_revision(revision, check=check)
        return
    while not hold(revision, hub.cache, run=run):
        acquire(revision, run=run, budget=budget, rate=rate, check=check)
    try:
        yield checkpoint_folder(hub.cache, revision.commit)
    finally:
        release(revision, hub.cache, keep=keep)


def acquire(
    revision: HubRevision, *, run: str, budget: int | None, rate: float = LEAST_RATE, check: Check = accept
) -> Path:
    """Claim the space of a revision, fetch and verify its files, and return their folder; they stay until `release`.

    Raises:
        CheckpointError: it does not fit, or a file cannot be fetched or verified; no file is left behind.
        UserError: as `check`, before any weights are fetched.
    """
    hub = settings()
    if hub.offline:
        return fetch_revision(revision, check=check)
    claim(revision, hub.cache, run=run, budget=budget)
    try:
        folder = fetch_revision(revision, rate, check)
    except BaseException:
        release(revision, hub.cache)
        raise
    mark_ready(revision, hub.cache)
    return folder


def claim(revision: HubRevision, cache_folder: Path, *, run: str, budget: int | None, wait: float = 86_400.0) -> None:
    """Wait until the missing files of a revision fit on disk, and reserve the space.

    Args:
        revision: the revision to be fetched.
        cache_folder: the hub cache of this node.
        run: id of the sweep; unused revisions of other sweeps are evicted, those it fetched ahead are not.
        budget: bytes that sweeps may hold in this cache at once; None for the free space of the disk.
        wait: seconds to wait for other processes to release revisions.

    Raises:
        CheckpointError: it can never fit, or nothing was released in time.
    """
    if budget is not None and revision.n_bytes > budget:
        raise CheckpointError(too_small(revision, budget))
    with reported(f"space for {revision.repo}@{revision.revision} at {cache_folder}") as waiting:
        _wait_for_space(revision, cache_folder, run, budget, wait, waiting)


def _wait_for_space(
    revision: HubRevision, cache_folder: Path, run: str, budget: int | None, wait: float, waiting: Wait
) -> None:
    """Claim, as often as it takes; the reason for the wait is put into `waiting`.

    A wait for another sweep is reported at once: nobody can tell how long it takes. A sweep's own checkpoints are
    released as they are done.
    """
    started, idle_since = time.monotonic(), None
    while True:
        with ledger(cache_folder) as entries:
            drop_dead(entries, cache_folder)
            shortage = _try_claim(entries, revision, cache_folder, run, budget)
            if shortage is None:
                return
            if not entries:
                raise CheckpointError(shortage)
            held_by_others = any(entry.run != run for entry in entries.values())
            busy = any(in_use(entry, cache_folder) for entry in entries.values())
            idle_since = None if busy else idle_since or time.monotonic()
            if idle_since and time.monotonic() - idle_since > IDLE_SECONDS:  # the sweep that fetched these has ended
                evict(entries, min(entries, key=lambda key: entries[key].since), cache_folder)
        is_first, waiting.note = not waiting.note, shortage
        if is_first and held_by_others:
            waiting.report()
        if time.monotonic() - started > wait:
            raise CheckpointError(f"{shortage}; nothing was released within {wait:.0f} s")
        time.sleep(POLL_SECONDS)


def too_small(revision: HubRevision, budget: int) -> str:
    """Message about a disk budget that is smaller than one checkpoint."""
    return (
        f"disk_gb = {budget / 1e9:.3g} is less than one checkpoint: {revision.repo}@{revision.revision} takes "
        f"{revision.n_bytes / 1e9:.3g} GB; raise disk_gb in the plan's [hub]"
    )


def mark_ready(revision: HubRevision, cache_folder: Path) -> None:
    """Record that all files of a revision are verified; they then stay until they have been used."""
    with ledger(cache_folder) as entries:
        entry = entries.get(entry_key(revision))
        if entry is None:  # the ledger was lost; `using` claims the space again
            return
        entry.ready = True
        entry.holders = [holder for holder in entry.holders if holder != holder_name(cache_folder)]


def hold(revision: HubRevision, cache_folder: Path, *, run: str) -> bool:
    """Start to use a revision that is ready; False where it is not in the cache, or was fetched by another sweep."""
    with ledger(cache_folder) as entries:
        entry = entries.get(entry_key(revision))
        if entry is None or not entry.ready or entry.run != run:
            return False
        entry.used = True
        entry.holders.append(holder_name(cache_folder))
        return True


def release(revision: HubRevision, cache_folder: Path, *, keep: bool = False) -> None:
    """Stop using a revision; its last user evicts the files that sweeps fetched, or leaves them for good (`keep`)."""
    with ledger(cache_folder) as entries:
        key = entry_key(revision)
        if key not in entries:
            return
        holders = list(entries[key].holders)
        if holder_name(cache_folder) in holders:
            holders.remove(holder_name(cache_folder))
        entries[key].holders = holders
        if in_use(entries[key], cache_folder):
            return
        if keep:
            del entries[key]
        else:
            evict(entries, key, cache_folder)


def _try_claim(entries: Entries, revision: HubRevision, cache_folder: Path, run: str, budget: int | None) -> str | None:
    """Record the revision as being fetched; where it does not fit, return the reason instead."""
    key = entry_key(revision)
    if key in entries:
        entries[key].holders.append(holder_name(cache_folder))
        entries[key].run = run
        return None
    recorded = all_blobs(entries, cache_folder)
    blobs = {
        blob: file.size
        for file in revision.files
        if not (blob := blob_path(cache_folder, revision.commit, file)).exists() or blob in recorded
    }
    new_blobs = {blob: size for blob, size in blobs.items() if blob not in recorded}
    shortage = _shortage(entries, new_blobs, cache_folder, budget, revision)
    while shortage and (idle := _oldest_idle(entries, run, cache_folder)):
        evict(entries, idle, cache_folder)
        shortage = _shortage(entries, new_blobs, cache_folder, budget, revision)
    if shortage:
        return shortage
    folder = snapshot_folder(cache_folder, revision.commit)
    entries[key] = Entry(
        run=run,
        since=time.time(),
        holders=[holder_name(cache_folder)],
        blobs={blob.name: size for blob, size in blobs.items()},
        files=[file.path for file in revision.files if not (folder / file.path).exists()],
    )
    return None


def _shortage(
    entries: Entries, new_blobs: dict[Path, int], cache_folder: Path, budget: int | None, revision: HubRevision
) -> str | None:
    """The reason why new blobs do not fit into the budget or on the disk; None where they do."""
    need, held = sum(new_blobs.values()), total_bytes(entries, cache_folder)
    reserved = sum(
        size
        for key, entry in entries.items()
        if not entry.ready
        for blob, size in blobs_of(key, entry, cache_folder).items()
        if not blob.exists()
    )
    free = shutil.disk_usage(cache_folder).free - reserved - (MARGIN_BYTES if need else 0)
    what = f"{revision.repo}@{revision.revision} needs {need / 1e9:.3g} GB more on disk"
    if budget is not None and held + need > budget:
        return f"{what}, but sweeps hold {held / 1e9:.3g} GB of disk_gb = {budget / 1e9:.3g}; raise disk_gb in [hub]"
    if need > free:
        return f"{what}, but {max(free, 0) / 1e9:.3g} GB are free at {cache_folder}; free space or move HF_HUB_CACHE"
    return None


def _oldest_idle(entries: Entries, run: str, cache_folder: Path) -> str | None:
    """The oldest entry of another sweep that no process uses."""
    idle = [key for key, entry in entries.items() if entry.run != run and not in_use(entry, cache_folder)]
    return min(idle, key=lambda key: entries[key].since, default=None)
