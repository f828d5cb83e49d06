"""Active sweeps of a results folder: each keeps a record there and renews it until it ends."""

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

if TYPE_CHECKING:  # `jobs.status` reads these records, and should not wait for torch
    from jobs.outcomes import Outcome

FOLDER = "drivers"
RENEWED_SECONDS, STALE_SECONDS, DELETED_SECONDS = 15.0, 90.0, 7 * 86_400.0


@dataclass(frozen=True)
class ActiveSweep:
    """A sweep that is running.

    Attributes:
        run: identifies the sweep.
        plan: the plan's name.
        host, pid: where it runs.
        started, beat: seconds since 1970 by its own clock; `beat` is when its record was last renewed.
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
        """A description in words."""
        age = max(0.0, time.time() - self.beat)
        return f"plan {self.plan}, host {self.host}, process {self.pid}, last seen {age:.0f} s ago"


CountOutcome = Callable[["Outcome"], None]


@contextmanager
def registered(store: ResultStore, run: str, plan: str, n_units: int) -> Iterator[CountOutcome]:
    """Keep a record of this sweep until the block ends; gives a function that counts an outcome."""
    now = time.time()
    sweep = ActiveSweep(run, plan, socket.gethostname(), os.getpid(), now, now, n_units)
    counts, ended = Counter[str](), threading.Event()

    def renew() -> None:
        by_status = {name: counts[name] for name in ("done", "failed", "retried")}
        write_metadata(store, FOLDER, run, asdict(replace(sweep, beat=time.time(), **by_status)))

    def keep_renewing() -> None:
        while not ended.wait(RENEWED_SECONDS):
            with suppress(StoreError):  # writing units fails with the same error, and that is reported
                renew()

    renew()
    thread = threading.Thread(target=keep_renewing, name="active-sweep", daemon=True)
    thread.start()
    try:
        yield lambda outcome: counts.update([outcome.status])
    finally:
        ended.set()
        thread.join()  # otherwise it might write the record again
        delete_metadata(store, FOLDER, run)


def active_sweeps(store: ResultStore) -> list[ActiveSweep]:
    """The sweeps running on these results, by start; without those not seen for a while or known to be dead."""
    now = time.time()
    sweeps = [sweep for record in read_metadata(store, FOLDER).values() if (sweep := _parse(record))]
    alive = [sweep for sweep in sweeps if now - sweep.beat < STALE_SECONDS and not _has_ended(sweep)]
    return sorted(alive, key=lambda sweep: sweep.started)


def delete_stale(store: ResultStore) -> None:
    """Delete the records of sweeps that were killed long ago."""
    for name, record in read_metadata(store, FOLDER).items():
        if time.time() - float(record.get("beat", 0)) > DELETED_SECONDS:
            delete_metadata(store, FOLDER, name)


def counting(outcomes: "Iterable[Outcome]", count: CountOutcome) -> "Iterator[Outcome]":
    """The outcomes, each counted as it passes."""
    for outcome in outcomes:
        count(outcome)
        yield outcome


def _parse(record: dict) -> ActiveSweep | None:
    """A sweep, without fields that a later version may add; None where the record is not one."""
    try:
        return ActiveSweep(**{field.name: record[field.name] for field in fields(ActiveSweep)})
    except (KeyError, TypeError):
        return None


def _has_ended(sweep: ActiveSweep) -> bool:
    """Whether its process is gone, which only its own host can tell."""
    if sweep.host != socket.gethostname():
        return False
    try:
        os.kill(sweep.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
