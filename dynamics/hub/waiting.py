"""Long waits: a line every 30 s says what is waited for and how far it is, and a download that is too slow is ended."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

EVERY_SECONDS = 30.0
LEAST_RATE = 10_000.0
"""Bytes a second; a download that is slower for `WINDOW_SECONDS` is ended and tried once more."""
WINDOW_SECONDS = 60.0
_reported: set[threading.Event] = set()
"""An event for every wait that is reported now, which ends its reports."""
least_rate: ContextVar[float] = ContextVar("least_rate", default=LEAST_RATE)


class TooSlow(ConnectionError):
    """A download that is slower than the least rate; another attempt may get a faster server."""


@dataclass
class Wait:
    """What is waited for, and why at the moment (`note`), as far as it is known."""

    what: str
    progress: Callable[[], str] | None = None
    note: str = ""
    started: float = field(default_factory=time.monotonic)

    def report(self) -> None:
        """Say on standard error what is waited for, how far it is, why and since when."""
        seconds = f"{time.monotonic() - self.started:.0f} s so far"
        parts = (self.progress() if self.progress else "", self.note, seconds)
        say(f"waiting for {self.what}: {', '.join(part for part in parts if part)}")


@contextmanager
def reported(what: str, progress: Callable[[], str] | None = None) -> Iterator[Wait]:
    """Context manager: report a wait every 30 s, until the block ends."""
    wait, done = Wait(what, progress), threading.Event()
    _reported.add(done)

    def keep_reporting() -> None:
        while not done.wait(EVERY_SECONDS):
            wait.report()

    threading.Thread(target=keep_reporting, name="wait-report", daemon=True).start()
    try:
        yield wait
    finally:
        end_reports([done])


def end_reports(reports: Iterable[threading.Event] | None = None) -> None:
    """End reports of waits: all of them where an interrupt leaves threads behind that go on waiting."""
    for done in list(_reported) if reports is None else list(reports):
        done.set()
        _reported.discard(done)


def say(line: str) -> None:
    """Say a line on standard error."""
    print(line, file=sys.stderr, flush=True)


def watch_rate(response: Any) -> None:
    """Hook of the HTTP client: let the body of a response raise `TooSlow` where it comes below the least rate.

    Only time spent waiting for the server counts. The client cannot see this itself: each read ends in time, and it
    hands on chunks of 10 MB.
    """
    original = response.iter_raw

    def watched(chunk_size: int | None = None) -> Iterator[bytes]:
        pieces, n_bytes, seconds = iter(original(chunk_size)), 0, 0.0
        while True:
            started = time.monotonic()
            piece = next(pieces, None)
            seconds += time.monotonic() - started
            if piece is None:
                return
            n_bytes += len(piece)
            yield piece
            if seconds >= WINDOW_SECONDS:
                if n_bytes / seconds < least_rate.get():
                    raise too_slow(n_bytes / seconds, least_rate.get())
                n_bytes, seconds = 0, 0.0

    response.iter_raw = watched


def too_slow(rate: float, least: float) -> TooSlow:
    """The error of a download at a rate below the least, both in bytes a second."""
    return TooSlow(f"it comes at {rate / 1e3:.3g} kB/s, and least_kb_s = {least / 1e3:.3g} in the plan's [hub]")
