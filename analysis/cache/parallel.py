"""Work on many items, one after the other or in several processes, with the time that is left.

What is computed from an item does not depend on the others, and results come in the order of the items, so they are the
same however many processes there are.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from analysis.cache.versions import code_hash
from analysis.reading.snapshots import list_all_tables, record, recorded
from dynamics.errors import LostProcess, StoreError

LONG_SECONDS = 5.0
"""Work that takes longer is worth processes, which take a second or two to start, and a bar."""
LINE_SECONDS = 15.0
"""Between lines that stand in for a bar where no terminal shows one."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


class Map(Protocol):
    """A way to apply a function to items; results in the order of the items."""

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any], what: str) -> Iterator[Any]:
        """The results.

        Args:
            function: of a module, so that other processes find it.
            items: its arguments.
            what: the items, in a word, for messages.
        """
        ...


def one_by_one(function: Callable[[Any], Any], items: Sequence[Any], what: str) -> Iterator[Any]:
    """In this process, silently."""
    del what
    yield from map(function, items)


_anywhere: ContextVar[Map] = ContextVar("map to any machine", default=one_by_one)
_here: ContextVar[Map] = ContextVar("map on this machine", default=one_by_one)


@contextmanager
def mapping(anywhere: Map, here: Map | None = None) -> Iterator[None]:
    """Within it, `mapped` works in this way.

    Args:
        anywhere: for functions that read results only.
        here: for those that read what is kept on this machine too; the same unless given.
    """
    tokens = _anywhere.set(anywhere), _here.set(here or anywhere)
    try:
        yield
    finally:
        _anywhere.reset(tokens[0])
        _here.reset(tokens[1])


def mapped(
    function: Callable[[Any], Any], items: Sequence[Any], what: str, *, only_here: bool = False
) -> Iterator[Any]:
    """The results of a function of a module on each item, in the order of the items.

    The tables that it reads of results count as read here (`reading.snapshots`).

    Args:
        function: of a module.
        items: its arguments.
        what: the items, in a word, for messages.
        only_here: whether it reads what is kept on this machine, so that other machines do not serve.
    """
    list_all_tables()
    way = (_here if only_here else _anywhere).get()
    for result, read in way(partial(_with_tables, code_hash(), function), items, what):
        record(*read)
        yield result


def _with_tables(code: str, function: Callable[[Any], Any], item: Any) -> tuple[Any, set[str]]:
    """The result, and the tables that were read for it.

    Raises:
        StoreError: this process has other code, or other versions of libraries, than the one that asks.
    """
    if code != code_hash():
        raise StoreError(
            "the code or a library was changed while an analysis ran, or differs between machines; run again"
        )
    with recorded() as read:
        return function(item), read


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def processes(n: int) -> Iterator[Map]:
    """A way to map in up to n processes, with a bar or lines on standard error.

    They are started when work is first found to take long, by its first items, which are done in this process; and they
    serve all work after that until the block ends, since starting them takes seconds. Few items have few processes,
    with more threads each.
    """
    pools: dict[int, ProcessPoolExecutor] = {}

    def results_of(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        began, rest, seconds = time.monotonic(), list(items), 0.0
        while rest and not (min(n, len(rest)) > 1 and (pools or len(rest) * seconds > LONG_SECONDS)):
            yield function(rest.pop(0))
            seconds = (time.monotonic() - began) / (len(items) - len(rest))
        if rest:
            yield from _in_pool(pools, min(n, len(rest)), function, rest)

    def way(function: Callable[[Any], Any], items: Sequence[Any], what: str) -> Iterator[Any]:
        return with_progress(results_of(function, items), len(items), what)

    try:
        yield way
    finally:
        for pool in pools.values():
            pool.shutdown(cancel_futures=True)


def _in_pool(
    pools: dict[int, ProcessPoolExecutor], size: int, function: Callable[[Any], Any], items: Sequence[Any]
) -> Iterator[Any]:
    """In the processes of the pool of a size, each of which is started with its share of the cores.

    Raises:
        LostProcess: a process ended without a result. Its pool is given up, and the next call starts another.
    """
    if size not in pools:
        # Started anew, since threads of Polars do not survive a fork.
        pools[size] = ProcessPoolExecutor(size, multiprocessing.get_context("spawn"), _begin_worker)
    try:
        with _threads_of_each(size):
            results = pools[size].map(function, items)
        yield from results
    except BrokenProcessPool as error:
        pools.pop(size).shutdown(cancel_futures=True)
        raise LostProcess(
            "a worker process ended without a result, most likely for lack of memory; use fewer --workers"
        ) from error


def _begin_worker() -> None:
    """Leave interrupts to the process that asks, and end when it is killed: nobody else would end this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _threads_of_each(n: int) -> Iterator[None]:
    """Processes that are started within it share the cores, with as many threads each as there are cores for."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(max(1, n_cores() // n))))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def with_progress(results: Iterable[Any], n: int, what: str) -> Iterator[Any]:
    """Results as they come; once it is clear that they take long, what is done and how long the rest takes."""
    started, results = time.monotonic(), iter(results)
    for i, result in enumerate(results):
        yield result
        elapsed = time.monotonic() - started
        if elapsed / (i + 1) * n > LONG_SECONDS and i + 1 < n:
            shown = _with_bar if sys.stderr.isatty() else _with_lines
            yield from shown(results, i + 1, n, what, started)
            return


def _with_bar(results: Iterator[Any], n_done: int, n: int, what: str, started: float) -> Iterator[Any]:
    del started
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(what, total=n, completed=n_done)
        for result in results:
            progress.advance(bar)
            yield result


def _with_lines(results: Iterator[Any], n_done: int, n: int, what: str, started: float) -> Iterator[Any]:
    last = 0.0
    for i, result in enumerate(results, n_done + 1):
        elapsed = time.monotonic() - started
        if elapsed - last > LINE_SECONDS:
            last, left = elapsed, elapsed / i * (n - i)
            print(f"{what}: {i:,} of {n:,}; {elapsed:.0f} s, about {left:.0f} s to go", file=sys.stderr, flush=True)
        yield result
