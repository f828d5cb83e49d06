"""Files of checkpoints of the Hub: fetched ahead while another checkpoint computes, and kept while their units run."""

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dynamics.checkpoint_files import only_files
from dynamics.checkpoints import Checkpoint
from dynamics.errors import CheckpointError, Unreachable, UnsupportedModel
from dynamics.folder_checks import check_config, read_json
from dynamics.hub import disk
from dynamics.hub.fetch import fetch_setup
from dynamics.hub.names import redact
from dynamics.tokenizer_files import check_tokenizer
from jobs.outcomes import error_kind
from jobs.work import CheckpointWork


@contextmanager
def local_files(work: CheckpointWork) -> Iterator[Checkpoint]:
    """The checkpoint with its files on disk and verified until the block ends; fetched now unless that was done.

    Raises:
        CheckpointError: its files cannot be fetched, or differ from the Hub's listing.
        UnsupportedModel: no family covers its config.
    """
    checkpoint, cache = work.checkpoint, work.settings.cache
    if work.fetch_error is not None:
        raise work.fetch_error
    if checkpoint.remote is None:
        yield checkpoint
    elif checkpoint.init_seed is not None:  # config and tokenizer are small and stay: no space is claimed for them
        yield replace(checkpoint, folder=fetch_setup(checkpoint.remote))
    else:
        weights, setup = (
            [checkpoint.remote.name_in_folder(file) for file in files]
            for files in (checkpoint.remote.weights, checkpoint.remote.setup)
        )
        with (
            disk.using(checkpoint.remote, keep=cache.keep, **_options(work)) as fetched,
            only_files(fetched, checkpoint.weights, weights, setup) as folder,
        ):
            yield replace(checkpoint, folder=folder)


def fetch(work: CheckpointWork) -> CheckpointWork:
    """Fetch and verify the files of a checkpoint; returns the work, with the reason where that failed.

    Never raises: a checkpoint that cannot be fetched must not stop the others.
    """
    checkpoint = work.checkpoint
    if checkpoint.remote is None or checkpoint.init_seed is not None:
        return work
    try:
        disk.acquire(checkpoint.remote, **_options(work))
    except Exception as error:
        permanent = UnsupportedModel if isinstance(error, UnsupportedModel) else CheckpointError
        kind = Unreachable if error_kind(error) == "transient" else permanent
        return replace(work, fetch_error=kind(redact(str(error)) or type(error).__name__))
    return work


def check_setup(checkpoint: Checkpoint, folder: Path) -> None:
    """Check what a checkpoint's config and tokenizer tell without its weights, in a plan and before a download.

    Raises:
        CheckpointError: a file is none, or the config says that the weights are not those that would be opened.
        UnsupportedModel: no family covers it.
    """
    check_config(read_json(folder, "config.json"), f"{checkpoint.model}@{checkpoint.revision}")
    check_its_tokenizer(checkpoint, folder)


def check_its_tokenizer(checkpoint: Checkpoint, folder: Path) -> None:
    """Check the tokenizer that is used with a checkpoint: the one that the plan names, else that in its folder.

    Raises:
        CheckpointError: there is none, or a file that is none.
    """
    if checkpoint.tokenizer is None:
        check_tokenizer(folder, checkpoint.weights)
    else:
        check_tokenizer(checkpoint.tokenizer.local(), "")


def _options(work: CheckpointWork) -> dict[str, Any]:
    """What fetching a checkpoint depends on, beside its revision."""
    cache = work.settings.cache
    check = partial(check_setup, work.checkpoint)
    return {"run": cache.run, "budget": cache.disk_bytes, "rate": cache.least_rate, "check": check}


def fetched_ahead(works: Sequence[CheckpointWork], ahead: int) -> Iterator[CheckpointWork]:
    """The works in order, fetched by a thread that is at most `ahead` checkpoints in front of the caller.

    The thread waits where fewer fit into the disk budget. With `ahead = 0`, or nothing on the Hub, there is no thread.
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

    # A daemon: an interrupted sweep must not wait for gigabytes. The next sweep deletes the partial files.
    threading.Thread(target=run, name="fetch-ahead", daemon=True).start()
    try:
        for _ in works:
            work = ready.get()
            permits.release()
            yield work
    finally:
        stop.set()
        permits.release()
