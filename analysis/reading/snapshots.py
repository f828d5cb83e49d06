"""Snapshots: a results folder as an analysis reads it, each table listed once, and which of its tables were read.

Whoever computes from a results folder does so in a snapshot of it. The units are read once, and not again for every
step and table; and of each table that is read there is a hash of the listing of its files (path, size, time of change),
by which a table that was computed before can be told to be still that of the results (`analysis.cache`).
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import polars as pl

from dynamics.results.marker import MARKER
from dynamics.results.places import Place, entries, place
from dynamics.results.store import ResultStore, UnitRows, Within, listed_files, open_store, read_unit_rows, scan


_TICK_NS, _TICK_OF_OBJECTS_NS = 20 * 10**6, 2 * 10**9
"""What times of change are rounded to, or less: by file systems and by object stores."""


@dataclass(frozen=True)
class Listing:
    """What the files of a table were.

    Attributes:
        hash: of their paths, sizes and times of change.
        settled: whether all were changed so long before that another change would have another time.
    """

    hash: str
    settled: bool = field(compare=False)


@dataclass(frozen=True)
class Snapshot:
    """A results folder, each table as it was when it was first read.

    Attributes:
        store: the folder.
        listings: table -> what its files were when it was first read.
        rows: table -> its rows, lazily.
        derived: frames that are computed from the rows once, by name.
        tables: name -> a table that was computed from the results in the snapshot, and the result tables it was from.
        fresh: whether tables that were kept are to be computed again.
    """

    store: ResultStore
    fresh: bool = False
    listings: dict[str, Listing] = field(default_factory=dict)
    rows: dict[str, pl.LazyFrame] = field(default_factory=dict)
    derived: dict[str, pl.DataFrame] = field(default_factory=dict)
    tables: dict[str, tuple[pl.DataFrame, Collection[str]]] = field(default_factory=dict)

    @cached_property
    def units(self) -> UnitRows:
        """The rows of `units`.

        Raises:
            StoreError: no unit is finished.
        """
        self.listing("units")
        return read_unit_rows(self.store)

    def listing(self, table: str) -> Listing:
        """What the files of a table are when this is first asked."""
        if table not in self.listings:
            self.listings[table] = listing(self.store, table)
        return self.listings[table]

    def scan(self, table: str, within: Within | None) -> pl.LazyFrame:
        """The rows of a table, or of some parts of it.

        Raises:
            StoreError: there is no such table or no finished unit, or a part is missing, empty, cut off or changed.
        """
        record("units", table)
        if within is not None and table != "units":
            return scan(self.store, table, self.units, within)
        if table not in self.rows:
            units = self.units
            self.listing(table)
            self.rows[table] = scan(self.store, table, units)
        return self.rows[table]

    def once(self, name: str, compute: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """What `compute` gives, from `derived` where it was computed before; it reads `units` only."""
        record("units")
        if name not in self.derived:
            self.derived[name] = compute()
        return self.derived[name]


_current: ContextVar[Snapshot | None] = ContextVar("snapshot", default=None)
_read: ContextVar[set[str] | None] = ContextVar("tables that were read", default=None)


@contextmanager
def snapshot(results: Place | str, *, fresh: bool = False) -> Iterator[Snapshot]:
    """A snapshot of a folder; inside of one of the same folder, that one.

    Args:
        results: the folder.
        fresh: whether tables that were kept are to be computed again.

    Raises:
        StoreError: the folder holds no results.
    """
    current, root = _current.get(), place(results)
    if current is not None and current.store.root == root and (current.fresh or not fresh):
        yield current
        return
    opened = Snapshot(open_store(root), fresh)
    token = _current.set(opened)
    try:
        yield opened
    finally:
        _current.reset(token)


@contextmanager
def recorded() -> Iterator[set[str]]:
    """The tables that are read inside; they count for a recording around it too."""
    outer, inner = _read.get(), set[str]()
    token = _read.set(inner)
    try:
        yield inner
    finally:
        _read.reset(token)
        if outer is not None:
            outer |= inner


def record(*tables: str) -> None:
    """Record that tables are read."""
    if (read := _read.get()) is not None:
        read.update(tables)


def listing(store: ResultStore, table: str, within: Within | None = None) -> Listing:
    """What the files of a table, or those of some parts of it, are now; none is opened.

    The marker of the folder belongs to every table.
    """
    listed_ns = time.time_ns()
    files = [*entries(store.root, MARKER), *listed_files(store, table, within)]
    start = len(str(store.root))
    lines = [f"{str(entry.place)[start:]} {entry.size} {entry.changed_ns}" for entry in files]
    tick = _TICK_NS if isinstance(store.root, Path) else _TICK_OF_OBJECTS_NS
    newest = max((entry.changed_ns for entry in files), default=0)
    return Listing(hashlib.sha256("\n".join(lines).encode()).hexdigest(), newest + tick < listed_ns)
