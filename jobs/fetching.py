"""Fetching the next checkpoints while one computes, and having one at hand while its units run."""

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from dynamics.checkpoints import Checkpoint
from dynamics.errors import CheckpointError, Unreachable
from dynamics.hub import disk
from dynamics.hub.fetch import fetch_setup
from dynamics.hub.names import redact
from jobs.outcomes import kind_of
from jobs.units import CheckpointWork


@contextmanager
def at_hand(work: CheckpointWork) -> Iterator[Checkpoint]:
    """The checkpoint with its files on disk and verified, until the block ends; fetched now if nobody did before.

    Raises:
        CheckpointError: its files cannot be had, or are not what the Hub lists.
    """
    checkpoint = work.checkpoint
    if work.refusal is not None:
        raise work.refusal
    if checkpoint.remote is None:
        yield checkpoint
        return
    if checkpoint.init_seed is not None:  # small files that stay, so that nothing is claimed or evicted for them
        yield replace(checkpoint, folder=fetch_setup(checkpoint.remote))
        return
    with disk.using(checkpoint.remote, run=work.run, budget=work.disk_bytes, keep=work.keep) as folder:
        yield replace(checkpoint, folder=folder)


def fetch(work: CheckpointWork) -> CheckpointWork:
    """Fetch and verify the files of a checkpoint; the same work, or with the reason why that failed.

    Never raises: a checkpoint that cannot be fetched must not stop the others.
    """
    if work.checkpoint.remote is None or work.checkpoint.init_seed is not None:
        return work
    try:
        disk.acquire(work.checkpoint.remote, run=work.run, budget=work.disk_bytes)
    except Exception as error:
        refusal = Unreachable if kind_of(error) == "passes" else CheckpointError
        return replace(work, refusal=refusal(redact(str(error)) or type(error).__name__))
    return work


def fetched(works: Sequence[CheckpointWork], ahead: int) -> Iterator[CheckpointWork]:
    """The works in order, fetched by a thread that is at most `ahead` checkpoints in front of the caller.

    The budget holds the thread back where fewer fit. With `ahead = 0`, or nothing on the Hub, there is no thread.
    """
    if ahead == 0 or all(work.checkpoint.remote is None for work in works):
        yield from works
        return
    permits, ready, stop = threading.Semaphore(ahead), queue.Queue(), threading.Event()

    def run() -> None:
        for work in works:
            permits.acquire()
            if stop.is_set():
                return
            ready.put(fetch(work))

    # A daemon: an interrupted sweep must not wait for gigabytes; what it leaves is swept by the next one.
    threading.Thread(target=run, name="fetch-ahead", daemon=True).start()
    try:
        for _ in works:
            work = ready.get()
            permits.release()
            yield work
    finally:
        stop.set()
        permits.release()
