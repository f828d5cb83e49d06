"""Who is at work on a results folder: each sweep leaves a note there and renews it until it ends."""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from dynamics.errors import StoreError
from dynamics.results.metadata import delete_metadata, read_metadata, write_metadata
from dynamics.results.store import ResultStore

if TYPE_CHECKING:  # status reads notes, and should not wait for torch
    from jobs.outcomes import Outcome

FOLDER = "drivers"
BEAT_SECONDS, STALE_SECONDS, FORGOTTEN_SECONDS = 15.0, 90.0, 7 * 86_400.0


@dataclass(frozen=True)
class Driver:
    """A sweep at work.

    Attributes:
        run: identifies the sweep.
        plan: the plan's name.
        host, pid: where it runs.
        started, beat: seconds since 1970, by its own clock; `beat` is when it was last seen.
        n_units: units it set out to run.
        done, failed, retried: how attempts at them have ended so far.
    """

    run: str
    plan: str
    host: str
    pid: int
    started: float
    beat: float
    n_units: int
    done: int = 0
    failed: int = 0
    retried: int = 0

    @property
    def line(self) -> str:
        """In words."""
        seen = max(0.0, time.time() - self.beat)
        return f"plan {self.plan}, host {self.host}, process {self.pid}, last seen {seen:.0f} s ago"


Note = Callable[["Outcome"], None]


@contextmanager
def announced(store: ResultStore, run: str, plan: str, n_units: int) -> Iterator[Note]:
    """Say that this sweep is at work, until the block ends; gives a function that notes each outcome."""
    now = time.time()
    driver = Driver(run, plan, socket.gethostname(), os.getpid(), now, now, n_units)
    counts, ended = Counter[str](), threading.Event()

    def beat() -> None:
        seen = replace(driver, beat=time.time(), **{name: counts[name] for name in ("done", "failed", "retried")})
        write_metadata(store, FOLDER, run, asdict(seen))

    def beats() -> None:
        while not ended.wait(BEAT_SECONDS):
            with suppress(StoreError):  # units say so too, and loudly
                beat()

    beat()
    thread = threading.Thread(target=beats, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield lambda outcome: counts.update([outcome.status])
    finally:
        ended.set()
        thread.join()  # else it might write the note again
        delete_metadata(store, FOLDER, run)


def drivers(store: ResultStore) -> list[Driver]:
    """The sweeps at work here, the first to start first; those not seen for a while, or known to be dead, left out."""
    now = time.time()
    there = [found for note in read_metadata(store, FOLDER).values() if (found := _parse(note))]
    alive = [driver for driver in there if now - driver.beat < STALE_SECONDS and not _ended(driver)]
    return sorted(alive, key=lambda driver: driver.started)


def forget_old(store: ResultStore) -> None:
    """Delete the notes that killed sweeps left long ago."""
    for name, note in read_metadata(store, FOLDER).items():
        if time.time() - float(note.get("beat", 0)) > FORGOTTEN_SECONDS:
            delete_metadata(store, FOLDER, name)


def noted(outcomes: "Iterable[Outcome]", note: Note) -> "Iterator[Outcome]":
    """The outcomes, each noted as it passes."""
    for outcome in outcomes:
        note(outcome)
        yield outcome


def _parse(note: dict) -> Driver | None:
    """A driver, with what a later version may add left out; None where the note is not one."""
    try:
        return Driver(**{field.name: note[field.name] for field in fields(Driver)})
    except (KeyError, TypeError):
        return None


def _ended(driver: Driver) -> bool:
    """Whether its process is gone, which only its own host can tell."""
    if driver.host != socket.gethostname():
        return False
    try:
        os.kill(driver.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
