"""What sweeps put into the cache of a node, under a budget: claim, hold, release; never what was there before."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dynamics.errors import CheckpointError
from dynamics.hub.fetch import blob_path, fetch_revision, snapshot_folder
from dynamics.hub.ledger import (
    Entries,
    delete_partial,
    drop_dead,
    entry_key,
    evict,
    holder_name,
    in_use,
    ledger,
    total_bytes,
)
from dynamics.hub.listing import HubRevision
from dynamics.hub.names import settings

MARGIN_BYTES = 64 * 2**20
FOREIGN_PARTIAL_AGE = 3600.0
POLL_SECONDS = 0.05
IDLE_SECONDS = 60.0


@contextmanager
def using(revision: HubRevision, *, run: str, budget: int | None, keep: bool) -> Iterator[Path]:
    """The folder of a revision's verified files, for as long as the block runs; then evicted if sweeps brought them.

    Args:
        revision: what to use; fetched now unless `acquire` did so for the same run.
        run, budget: as in `claim`.
        keep: leave the files in the cache.

    Raises:
        CheckpointError: as `acquire`.
    """
    at = settings()
    if at.offline:
        yield fetch_revision(revision)
        return
    while not hold(revision, at.cache, run=run):
        acquire(revision, run=run, budget=budget)
    try:
        yield snapshot_folder(at.cache, revision)
    finally:
        release(revision, at.cache, keep=keep)


def acquire(revision: HubRevision, *, run: str, budget: int | None) -> Path:
    """Claim the space, fetch and verify; the folder of the files, which stays until `release`.

    Raises:
        CheckpointError: it does not fit, or a file cannot be had or is wrong; nothing is left behind then.
    """
    at = settings()
    if at.offline:
        return fetch_revision(revision)
    claim(revision, at.cache, run=run, budget=budget)
    try:
        folder = fetch_revision(revision)
    except BaseException:
        release(revision, at.cache)
        raise
    mark_ready(revision, at.cache)
    return folder


def claim(revision: HubRevision, cache_folder: Path, *, run: str, budget: int | None, wait: float = 86_400.0) -> None:
    """Wait until the files that a revision lacks fit, and reserve the space.

    Args:
        revision: what is to be fetched.
        cache_folder: the hub cache of this node.
        run: identifies the sweep; what another sweep left unused makes way, what this one fetched ahead does not.
        budget: bytes that sweeps may hold in this cache at once; None for the free space of the disk.
        wait: seconds to wait for others to release theirs.

    Raises:
        CheckpointError: it can never fit, or nothing was released in time.
    """
    if budget is not None and revision.n_bytes > budget:
        raise CheckpointError(too_small(revision, budget))
    started, idle_since = time.monotonic(), None
    while True:
        with ledger(cache_folder) as entries:
            drop_dead(entries, cache_folder)
            refusal = _try_claim(entries, revision, cache_folder, run, budget)
            if refusal is None:
                return
            if not entries:
                raise CheckpointError(refusal)
            busy = any(in_use(entry, cache_folder) for entry in entries.values())
            idle_since = None if busy else idle_since or time.monotonic()
            if idle_since and time.monotonic() - idle_since > IDLE_SECONDS:  # whoever asked for these is gone
                evict(entries, min(entries, key=lambda key: entries[key]["since"]), cache_folder)
        if time.monotonic() - started > wait:
            raise CheckpointError(f"{refusal}; nothing was released within {wait:.0f} s")
        time.sleep(POLL_SECONDS)


def too_small(revision: HubRevision, budget: int) -> str:
    """Why a budget is refused."""
    return (
        f"disk_gb = {budget / 1e9:.3g} is less than one checkpoint: {revision.repo}@{revision.revision} takes "
        f"{revision.n_bytes / 1e9:.3g} GB; raise disk_gb in the plan's [hub]"
    )


def mark_ready(revision: HubRevision, cache_folder: Path) -> None:
    """All files are on disk and verified; they stay until they were used."""
    with ledger(cache_folder) as entries:
        entry = entries[entry_key(revision)]
        entry["ready"] = True
        entry["holders"] = [holder for holder in entry["holders"] if holder != holder_name(cache_folder)]


def hold(revision: HubRevision, cache_folder: Path, *, run: str) -> bool:
    """Use what was made ready; False where it is not there (any more) or another sweep made it ready."""
    with ledger(cache_folder) as entries:
        entry = entries.get(entry_key(revision))
        if entry is None or not entry["ready"] or entry["run"] != run:
            return False
        entry["used"] = True
        entry["holders"].append(holder_name(cache_folder))
        return True


def release(revision: HubRevision, cache_folder: Path, *, keep: bool = False) -> None:
    """Stop using a revision; the last user evicts what sweeps brought, or (`keep`) leaves it to the user for good."""
    with ledger(cache_folder) as entries:
        key = entry_key(revision)
        if key not in entries:
            return
        holders = list(entries[key]["holders"])
        if holder_name(cache_folder) in holders:
            holders.remove(holder_name(cache_folder))
        entries[key]["holders"] = holders
        if in_use(entries[key], cache_folder):
            return
        if keep:
            del entries[key]
        else:
            evict(entries, key, cache_folder)


def held_bytes(cache_folder: Path) -> int:
    """Bytes that sweeps hold or have reserved in this cache."""
    with ledger(cache_folder) as entries:
        return total_bytes(entries)


def sweep_partial(cache_folder: Path) -> int:
    """Delete what dead processes left: their unfinished revisions, and `.incomplete` files nobody writes; bytes freed.

    huggingface_hub holds a lock on a blob while it downloads it. A partial file without such a lock is dead; to be safe
    on filesystems whose locks do nothing, one that no sweep started must also be an hour old.
    """
    with ledger(cache_folder) as entries:
        drop_dead(entries, cache_folder)
    freed = 0
    for path in sorted(cache_folder.glob("models--*/blobs/*.incomplete")):
        if time.time() - path.stat().st_mtime > FOREIGN_PARTIAL_AGE:
            freed += delete_partial(path, cache_folder)
    return freed


def _try_claim(entries: Entries, revision: HubRevision, cache_folder: Path, run: str, budget: int | None) -> str | None:
    """Enter the revision as being fetched; or say why it does not fit."""
    key = entry_key(revision)
    if key in entries:
        entries[key]["holders"].append(holder_name(cache_folder))
        entries[key]["run"] = run
        return None
    owned = {str(blob) for entry in entries.values() for blob in entry["blobs"]}
    blobs = {
        str(blob): file.size
        for file in revision.files
        if not (blob := blob_path(cache_folder, revision, file)).exists() or str(blob) in owned
    }
    new = {blob: size for blob, size in blobs.items() if blob not in owned}
    refusal = _does_not_fit(entries, new, cache_folder, budget, revision)
    while refusal and (idle := _idle(entries, run, cache_folder)):
        evict(entries, idle, cache_folder)
        refusal = _does_not_fit(entries, new, cache_folder, budget, revision)
    if refusal:
        return refusal
    folder = snapshot_folder(cache_folder, revision)
    entries[key] = {
        "run": run,
        "ready": False,
        "used": False,
        "since": time.time(),
        "holders": [holder_name(cache_folder)],
        "blobs": blobs,
        "files": [str(folder / file.path) for file in revision.files if not (folder / file.path).exists()],
    }
    return None


def _does_not_fit(
    entries: Entries, new: dict[str, int], cache_folder: Path, budget: int | None, revision: HubRevision
) -> str | None:
    need, held = sum(new.values()), total_bytes(entries)
    coming = sum(
        size
        for entry in entries.values()
        if not entry["ready"]
        for blob, size in entry["blobs"].items()
        if not Path(blob).exists()
    )
    free = shutil.disk_usage(cache_folder).free - coming - (MARGIN_BYTES if need else 0)
    what = f"{revision.repo}@{revision.revision} needs {need / 1e9:.3g} GB more on disk"
    if budget is not None and held + need > budget:
        return f"{what}, sweeps hold {held / 1e9:.3g} of disk_gb = {budget / 1e9:.3g}"
    if need > free:
        return f"{what}, {max(free, 0) / 1e9:.3g} GB are free at {cache_folder}; free space or move HF_HUB_CACHE"
    return None


def _idle(entries: Entries, run: str, cache_folder: Path) -> str | None:
    """The oldest entry of another sweep that nobody uses."""
    idle = [key for key, entry in entries.items() if entry["run"] != run and not in_use(entry, cache_folder)]
    return min(idle, key=lambda key: entries[key]["since"], default=None)
