"""Snapshots: a results folder as an analysis reads it, each table listed once, and which of its tables were read.

Whoever computes from a results folder does so in a snapshot of it. The units are read once, and not again for every
step and table; and the files of each table that is read are listed (path, size, time of change), by which a table that
was computed before can be told to be still that of the results (`analysis.cache`).
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import polars as pl

from dynamics.results.file_names import parse_file
from dynamics.results.marker import MARKER
from dynamics.results.places import Entry, Place, entries, place
from dynamics.results.schema import TABLES
from dynamics.results.store import ResultStore, UnitRows, Within, listed_files, open_store, read_unit_rows, scan

_TICK_NS, _TICK_OF_OBJECTS_NS = 20 * 10**6, 2 * 10**9
"""What file systems and object stores round times of change to, or less."""


@dataclass(frozen=True)
class Listing:
    """The files of a table, or of some parts of it, as they were at one time. None was opened.

    Attributes:
        store: the results.
        files: the files; the marker of the results belongs to every table.
        at_ns: when they were listed.
    """

    store: ResultStore
    files: Sequence[Entry]
    at_ns: int

    @cached_property
    def hash(self) -> str:
        """A hash of their paths, sizes and times of change."""
        start = len(str(self.store.root))
        lines = [f"{str(entry.place)[start:]} {entry.size} {entry.changed_ns}" for entry in self.files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def settled(self) -> bool:
        """Whether all were changed so long before that a change since would have given another time."""
        tick = _TICK_NS if isinstance(self.store.root, Path) else _TICK_OF_OBJECTS_NS
        return all(entry.changed_ns + tick < self.at_ns for entry in self.files)

    def of_part(self, model: str, step: int, task: str) -> "Listing":
        """The same of the parts of one model, step and task; of a compacted copy, whose files hold more, of all."""
        if self.store.compacted:
            return self
        return Listing(self.store, self._by_part.get((model, step, task), []), self.at_ns)

    @cached_property
    def _by_part(self) -> dict[tuple[str, int, str], list[Entry]]:
        by_part: dict[tuple[str, int, str], list[Entry]] = defaultdict(list)
        for entry in self.files:
            if entry.place.name != MARKER:
                part = parse_file(entry)[0]
                by_part[part.model, part.step, part.task].append(entry)
        return by_part


def list_table(store: ResultStore, table: str, within: Within | None = None) -> Listing:
    """The files of a table, or of some parts of it, as they are now."""
    now = time.time_ns()
    return Listing(store, [*entries(store.root, MARKER), *listed_files(store, table, within)], now)


@dataclass(frozen=True)
class Snapshot:
    """A results folder, or some parts of it, each table as it was when it was first read.

    Attributes:
        store: the folder.
        within: the parts; None for all.
        fresh: whether tables that were kept are to be computed again.
        listings: table -> its files.
        rows: table -> its rows, lazily.
        derived: frames that are computed from the units once, by name.
        tables: name -> a table that was computed from the results, and the result tables it was computed from.
    """

    store: ResultStore
    within: Within | None = None
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
        return read_unit_rows(self.store, self.within)

    def listing(self, table: str) -> Listing:
        """The files of a table when this was first asked."""
        if table not in self.listings:
            self.listings[table] = list_table(self.store, table, self.within)
        return self.listings[table]

    def scan(self, table: str, within: Within | None = None) -> pl.LazyFrame:
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
            self.rows[table] = scan(self.store, table, units, self.within)
        return self.rows[table]

    def once(self, name: str, compute: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """What `compute` makes of the units, from `derived` where it did so before."""
        record("units")
        if name not in self.derived:
            self.derived[name] = compute()
        return self.derived[name]


_current: ContextVar[Snapshot | None] = ContextVar("snapshot", default=None)
_read: ContextVar[set[str] | None] = ContextVar("tables that were read", default=None)


@contextmanager
def snapshot(results: Place | str, *, within: Within | None = None, fresh: bool = False) -> Iterator[Snapshot]:
    """A snapshot of a folder; inside of one of the same folder, that one.

    Args:
        results: the folder.
        within: one of its own, of these parts only. All their steps must be valid: whether one is, other steps tell.
        fresh: whether tables that were kept are to be computed again.

    Raises:
        StoreError: the folder holds no results.
    """
    current, root = _current.get(), place(results)
    is_same = current is not None and current.store.root == root
    if current is not None and is_same and within is None and (current.fresh or not fresh):
        yield current
        return
    store = current.store if current is not None and is_same else open_store(root)
    opened = Snapshot(store, within, fresh)
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


def list_all_tables() -> None:
    """List the files of all tables of the snapshot that this is called in: before other processes read them."""
    if (current := _current.get()) is not None:
        for table in TABLES:
            current.listing(table)
