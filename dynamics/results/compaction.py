"""The same rows in few large files, sorted, in a folder of their own that everything reads as it reads the original.

    DIR/<table>/model=<percent-encoded id>/<n>.parquet

A file holds a model's rows sorted by task, step, template, control, shots and seed, so that a query of one task or step
skips row groups. The marker that makes DIR a results folder is written last: until then nothing takes it for one.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pyarrow as pa

from dynamics.atomic_write import TEMPORARY
from dynamics.errors import StoreError
from dynamics.results.checksums import encode
from dynamics.results.places import Entry, Place, delete, entries, exists, names, place, put, read
from dynamics.results.schema import SCHEMA_VERSION, TABLES
from dynamics.results.store import MARKER, ResultStore, belongs, part_files, read_files, read_units

FILE_BYTES = 256 * 2**20
"""Of a file's rows in memory; on disk it is smaller."""
_BEGUN = "compaction.json"
_GROUP = ["model", "task", "step"]
_WITHIN = ["template", "control", "dtype", "n_shots", "demo_seed", "unit_id"]


def compact(store: ResultStore, to: Place | str) -> Counter[str]:
    """Copy all finished units, and the record of failed ones, into few large files; the original is only read.

    Args:
        store: results; what no part of `units` names, and the second copy of a raced unit, stay behind.
        to: an empty or new folder, or one where a compaction was cut off, which begins again.

    Returns:
        Table -> rows written.

    Raises:
        StoreError: `to` holds something else or lies in the results; a part is damaged or lost.
    """
    if store.compacted:
        raise StoreError(f"{store.root} is a compacted copy already; compact what it was made from")
    units = read_units(store)
    kept = units.filter(pl.col("status") == "done").select(*_GROUP, "unit_id", "part")
    if kept.is_empty():
        raise StoreError(f"{store.root} holds no finished unit yet; run or resume the sweep")
    target = _begin(store, place(to))
    rows = Counter[str]()
    for table in (name for name in TABLES if name != "units"):
        rows[table] = _write(target, table, _groups(store, table, kept))
    rows["units"] = _write(target, "units", [(str(key[0]), of) for key, of in _by_model(units)])
    for entry in entries(store.root / "plans", "*"):
        if not entry.place.name.startswith(TEMPORARY):
            put(target / "plans" / entry.place.name, read(entry.place))
    marker = {"schema_version": SCHEMA_VERSION, "compacted_from": str(store.root)}
    put(target / MARKER, json.dumps(marker).encode())
    delete(target / _BEGUN)
    return rows


def _begin(store: ResultStore, target: Place) -> Place:
    """An empty folder that says what is being made there.

    Raises:
        StoreError: it holds something else, or lies within the results.
    """
    if isinstance(target, Path) and target.exists() and not target.is_dir():
        raise StoreError(f"{target} is a file; name a folder")
    if _within(target, store.root):
        raise StoreError(f"{target} is or lies in {store.root}; name a folder outside of the results")
    there = [name for name in names(target) if not name.startswith(TEMPORARY)]
    if there and (_BEGUN not in there or exists(target / MARKER)):
        raise StoreError(f"{target} is not empty; name an empty or new folder, or delete it first")
    for table in TABLES:
        for entry in entries(target / table, "model=*/*"):
            delete(entry.place)
    put(target / _BEGUN, json.dumps({"from": str(store.root)}).encode())
    return target


def _within(target: Place, root: Place) -> bool:
    if isinstance(target, Path) and isinstance(root, Path):
        return target.resolve().is_relative_to(root.resolve())
    return f"{target}/".startswith(f"{root}/")


def _by_model(rows: pl.DataFrame) -> Iterator[tuple[tuple, pl.DataFrame]]:
    yield from rows.sort(*_GROUP, *_WITHIN).group_by("model", maintain_order=True)


def _groups(store: ResultStore, table: str, kept: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each (model, task, step)'s rows of a table, sorted, group by group, so that memory holds one."""
    files: dict[tuple[str, str, int], list[Entry]] = defaultdict(list)
    for entry in part_files(store, table):
        part, _ = belongs(entry)
        files[part.model, part.task, part.step].append(entry)
    for key, units in kept.sort(_GROUP).group_by(_GROUP, maintain_order=True):
        model, task, step = str(key[0]), str(key[1]), int(str(key[2]))
        yield model, _rows(table, files[model, task, step], units)


def _rows(table: str, files: Sequence[Entry], units: pl.DataFrame) -> pl.DataFrame:
    """The rows of these units, from the parts that `units` names.

    Raises:
        StoreError: some unit has none.
    """
    found = [
        read_files([entry], table).filter(
            pl.col("unit_id").is_in(units.filter(part=belongs(entry)[0].name)["unit_id"].implode())
        )
        for entry in files
    ]
    rows = pl.concat(found) if found else read_files([], table)
    lacking = set(units["unit_id"]) - set(rows["unit_id"].unique())
    if lacking and table != "reweightings":
        raise StoreError(
            f"{table} lacks the rows of {len(lacking)} finished units, the first is {min(lacking)}; "
            "`python -m jobs.verify OUT` says more"
        )
    return rows.sort(_WITHIN, maintain_order=True)


def _write(target: Place, table: str, groups: Iterator[tuple[str, pl.DataFrame]] | Sequence) -> int:
    """Write groups that come sorted by model, some to a file, and never one to two files; returns the rows."""
    n_rows, waiting, of, n_files = 0, [], "", 0

    def flush() -> None:
        if waiting:
            where = target / table / f"model={quote(of, safe='')}" / f"{n_files:04d}.parquet"
            put(where, encode(pa.concat_tables(waiting).combine_chunks(), table))

    for model, rows in groups:
        if model != of or sum(one.nbytes for one in waiting) >= FILE_BYTES:
            flush()
            n_files = n_files + 1 if model == of else 0
            waiting, of = [], model
        if len(rows):
            waiting.append(rows.to_arrow().cast(TABLES[table]))
        n_rows += len(rows)
    flush()
    return n_rows
