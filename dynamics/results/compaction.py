"""Compaction: a copy of results in few large, sorted files, which is read in the same way as the original.

    DIR/<table>/model=<percent-encoded id>/<n>.parquet

A file holds rows of one model sorted by task, step, template, control, shots and seed, so that a query of one task or
step skips row groups. The marker that makes DIR a results folder is written last, so an unfinished copy is not read.
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
from dynamics.results.file_names import OPTIONAL, parse_file
from dynamics.results.marker import MARKER, Marker, write_marker
from dynamics.results.places import Entry, Place, delete, entries, exists, names, place, put, read
from dynamics.results.scanning import read_files
from dynamics.results.schema import SCHEMA_VERSION, TABLES
from dynamics.results.store import ResultStore, part_files, read_units

FILE_BYTES = 256 * 2**20
"""Size in memory of the rows of a file, which is smaller on disk."""
_UNFINISHED = "compaction.json"
"""Marks a folder whose compaction has begun and not ended."""
_GROUP = ["model", "task", "step"]
_WITHIN = ["template", "control", "dtype", "n_shots", "demo_seed", "unit_id"]


def compact(store: ResultStore, to: Place | str) -> Counter[str]:
    """Copy all finished units, and the rows of failed ones, into few large files; the original is only read.

    Args:
        store: the results. Parts that `units` does not name, and second copies of units, are left out.
        to: an empty or new folder, or that of an interrupted compaction, which is started again.

    Returns:
        Table -> rows written.

    Raises:
        StoreError: `to` holds other files or is in the results; or a part is damaged or missing.
    """
    if store.compacted:
        raise StoreError(f"{store.root} is a compacted copy already; compact the results that it was made from")
    units = read_units(store)
    done = units.filter(pl.col("status") == "done").select(*_GROUP, "unit_id", "part")
    if done.is_empty():
        raise StoreError(f"{store.root} holds no finished unit yet; run or resume the sweep")
    target = _begin(store, place(to))
    rows = Counter[str]()
    for table in (name for name in TABLES if name != "units"):
        rows[table] = _write(store, target, table, _groups(store, table, done))
    rows["units"] = _write(
        store, target, "units", [(str(key[0]), rows_of_model) for key, rows_of_model in _by_model(units)]
    )
    for entry in entries(store.root / "plans", "*"):
        if not entry.place.name.startswith(TEMPORARY):
            put(target / "plans" / entry.place.name, read(entry.place))
    write_marker(target, Marker(SCHEMA_VERSION, store.identity_version, str(store.root)))
    delete(target / _UNFINISHED)
    return rows


def _begin(store: ResultStore, target: Place) -> Place:
    """Empty the target folder and mark it as unfinished.

    Raises:
        StoreError: it holds other files, or is in the results.
    """
    if isinstance(target, Path) and target.exists() and not target.is_dir():
        raise StoreError(f"{target} is a file; name a folder")
    if _within(target, store.root):
        raise StoreError(f"{target} is or lies in {store.root}; name a folder outside of the results")
    existing = [name for name in names(target) if not name.startswith(TEMPORARY)]
    if existing and (_UNFINISHED not in existing or exists(target / MARKER)):
        raise StoreError(f"{target} is not empty; name an empty or new folder, or delete it first")
    for table in TABLES:
        for entry in entries(target / table, "model=*/*"):
            delete(entry.place)
    put(target / _UNFINISHED, json.dumps({"from": str(store.root)}).encode())
    return target


def _within(target: Place, root: Place) -> bool:
    if isinstance(target, Path) and isinstance(root, Path):
        return target.resolve().is_relative_to(root.resolve())
    return f"{target}/".startswith(f"{root}/")


def _by_model(rows: pl.DataFrame) -> Iterator[tuple[tuple, pl.DataFrame]]:
    yield from rows.sort(*_GROUP, *_WITHIN).group_by("model", maintain_order=True)


def _groups(store: ResultStore, table: str, done: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The model and the sorted rows of each (model, task, step) of a table, one group in memory at a time."""
    files: dict[tuple[str, str, int], list[Entry]] = defaultdict(list)
    for entry in part_files(store, table):
        part, _ = parse_file(entry)
        files[part.model, part.task, part.step].append(entry)
    for key, units in done.sort(_GROUP).group_by(_GROUP, maintain_order=True):
        model, task, step = str(key[0]), str(key[1]), int(str(key[2]))
        yield model, _rows(store, table, files[model, task, step], units)


def _rows(store: ResultStore, table: str, files: Sequence[Entry], units: pl.DataFrame) -> pl.DataFrame:
    """The rows of these units in a table, from the parts that `units` names.

    Raises:
        StoreError: a unit has no rows, or a file was changed since it was written.
    """
    rows_by_file = [
        read_files(store.root, [entry], table).filter(
            pl.col("unit_id").is_in(units.filter(part=parse_file(entry)[0].name)["unit_id"].implode())
        )
        for entry in files
    ]
    rows = pl.concat(rows_by_file) if rows_by_file else read_files(store.root, [], table)
    missing = set(units["unit_id"]) - set(rows["unit_id"].unique())
    if missing and table not in OPTIONAL:
        raise StoreError(
            f"{table} lacks the rows of {len(missing)} finished units, the first is {min(missing)}; "
            "`pythia-emergence verify OUT` names their parts and what to do"
        )
    return rows.sort(_WITHIN, maintain_order=True)


def _write(store: ResultStore, target: Place, table: str, groups: Iterator[tuple[str, pl.DataFrame]] | Sequence) -> int:
    """Write groups that are sorted by model, several to a file but each to one file; returns the number of rows."""
    n_rows, buffer, model_of_file, n_files = 0, [], "", 0

    def flush() -> None:
        if buffer:
            where = target / table / f"model={quote(model_of_file, safe='')}" / f"{n_files:04d}.parquet"
            put(where, encode(pa.concat_tables(buffer).combine_chunks(), table, store.identity_version))

    for model, rows in groups:
        if model != model_of_file or sum(group.nbytes for group in buffer) >= FILE_BYTES:
            flush()
            n_files = n_files + 1 if model == model_of_file else 0
            buffer, model_of_file = [], model
        if len(rows):
            buffer.append(rows.to_arrow().cast(TABLES[table]))
        n_rows += len(rows)
    flush()
    return n_rows
