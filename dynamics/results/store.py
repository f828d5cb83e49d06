"""ResultStore: the files of a results folder, written so that a kill at any moment leaves whole parts or none.

A part holds the units of one (checkpoint, task) that were computed together; its name is a hash of their unit ids. Fits
on it, which are made later too, are in files of their own (`dynamics.results.file_names`). Files of other names are not
read. The part's file in `units` is written last and is the commit: readers leave out rows of parts that `units` does
not name. A failed unit has a row in `units/.../<task>-failed-<hash>.parquet` and none in other tables.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from dynamics.atomic_write import TEMPORARY
from dynamics.errors import StoreError, unknown
from dynamics.identity import IDENTITY_VERSION
from dynamics.results.checksums import encode
from dynamics.results.file_names import (
    ADDED,
    OPTIONAL,
    Part,
    cut_off,
    is_part_file,
    parse_file,
    part_id,
    part_path,
)
from dynamics.results.marker import MARKER, Marker, marker_of_files, read_marker, write_marker
from dynamics.results.places import Entry, Place, entries, names, place, put
from dynamics.results.scanning import explained, read_files, scan_files
from dynamics.results.schema import SCHEMA_VERSION, TABLES

CELL = ["model", "step", "dtype", "control", "task", "template", "demo_seed", "n_shots"]
"""Columns that identify a unit to a reader: at most one finished unit has the same values."""
FIT = ["method", "variant", "n_labelled"]
"""Columns that identify a fit to a reader: one set of settings (`fit_id`) in the whole store."""


@dataclass(frozen=True)
class ResultStore:
    """A folder of result tables, on a disk or in an object store."""

    root: Place
    compacted: bool = False
    """Whether it is a compacted copy (`dynamics.results.compaction`), which is read only."""
    identity_version: int = IDENTITY_VERSION
    """Version of the ids in it (`dynamics.identity`)."""


def open_store(root: Place | str, *, create: bool = False) -> ResultStore:
    """Open a results folder, or make an empty one.

    Args:
        root: a path, or a `file://`, `s3://` or `gs://` URI.
        create: make the folder where there is none, and write its marker again where only that is lost or damaged.

    Raises:
        StoreError: it is a file, is not writable, holds something else, or was written with another schema version; or
            the object store denies access or cannot be reached.
    """
    root = _folder(root)
    marker = _marker(root, create)
    if create and marker.compacted_from is not None:
        raise StoreError(f"{root} is a compacted copy, only for reading; sweep into {marker.compacted_from}")
    return _store(root, marker)


def open_unmarked(root: Place | str) -> ResultStore:
    """Open a results folder for an audit, as what its files tell, whatever its marker says.

    Raises:
        StoreError: it holds no results, or those of another schema version.
    """
    root = _folder(root)
    marker = marker_of_files(root)
    return _store(root, marker) if marker else open_store(root)


def _folder(root: Place | str) -> Place:
    root = place(root)
    if isinstance(root, Path) and root.exists() and not root.is_dir():
        raise StoreError(f"{root} is a file; results need a folder, name another one")
    return root


def _marker(root: Place, create: bool) -> Marker:
    """The marker of a folder; if `create`, written again where it is lost or damaged, or the folder is new.

    Raises:
        StoreError: there is none, or it is damaged; or the folder holds something else.
    """
    damage = None
    try:
        if (marker := read_marker(root)) is not None:
            return marker
    except StoreError as error:
        damage = error
    found = names(root)
    told = marker_of_files(root) if found else None
    if told is None and damage is not None:
        raise damage
    if told is None and not create:
        raise StoreError(f"{root} holds no results; run `pythia-emergence sweep PLAN --out {root}` first")
    if told is None and any(not name.startswith(TEMPORARY) for name in found):
        raise StoreError(f"{root} holds files that are not results of this suite; name an empty or new folder")
    if told is not None and not create:
        raise StoreError(f"{root / MARKER} is lost or damaged; give the same sweep command again, which restores it")
    write_marker(root, told or Marker())
    return told or Marker()


def _store(root: Place, marker: Marker) -> ResultStore:
    if marker.schema_version != SCHEMA_VERSION:
        raise StoreError(
            f"{root} was written with schema version {marker.schema_version}, this code reads version "
            f"{SCHEMA_VERSION}; read it with the release that wrote it, or sweep into a new folder"
        )
    return ResultStore(root, marker.compacted_from is not None, marker.identity_version)


def check_identity(store: ResultStore) -> None:
    """Check that new results can be told from those of a store, by ids of one version.

    Raises:
        StoreError: its ids are of another version, so that equal settings have other ids there.
    """
    if store.identity_version != IDENTITY_VERSION:
        raise StoreError(
            f"{store.root} was written with ids of version {store.identity_version}, this code computes ids of version "
            f"{IDENTITY_VERSION}, and cannot tell what is done there; name another --out, or resume with the release "
            "that wrote it. Analyses and figures read it as before"
        )


def write_units(store: ResultStore, units: pa.Table, tables: Mapping[str, pa.Table]) -> None:
    """Write the finished units of one (checkpoint, task): their rows of all tables, then their rows of `units`."""
    assert all(len(units[column].unique()) == 1 for column in ("model", "step", "task", "part")), "several parts"
    part = units["part"][0].as_py()
    for name in sorted(tables):
        _write_part(_path(store, name, units, part), tables[name], name)
    _write_part(_path(store, "units", units, part), units, "units")


def write_fits(store: ResultStore, part: Part, fits: str, tables: Mapping[str, pa.Table]) -> None:
    """Write fits on the contributions of a committed part; `prompt_scores` last, since it says which fits are done.

    Args:
        part: the part.
        fits: name of this set of fits, a hash of their ids.
        tables: rows of `prompt_scores`, and of `reweightings` where weights were fitted; or of one of `ADDED`.
    """
    for name in sorted(tables, reverse=True):
        if len(tables[name]):  # no weights were fitted: a file without rows could be lost without a trace
            _write_part(part_path(store.root, name, part, fits), tables[name], name)


def rewrite_scores(store: ResultStore, part: Part, tables: Sequence[Mapping[str, pa.Table]]) -> None:
    """Replace the predictions and scores of a committed part, each file atomically; one mapping of tables per unit."""
    for name in ("predictions", "component_scores", "prompt_scores"):
        _write_part(part_path(store.root, name, part), pa.concat_tables([unit[name] for unit in tables]), name)


def parts(store: ResultStore) -> list[Part]:
    """The committed parts, sorted.

    Raises:
        StoreError: the results are a compacted copy.
    """
    if store.compacted:
        raise StoreError(f"{store.root} is a compacted copy, only for reading; use the results that it was made from")
    return _parts(read_units(store).filter(pl.col("status") == "done"))


def _parts(done: pl.DataFrame) -> list[Part]:
    """The parts of finished units, sorted."""
    rows = done.select("model", "step", "task", "part").unique().sort("model", "step", "task", "part")
    return [Part(*row) for row in rows.iter_rows()]


def read_part(store: ResultStore, table: str, part: Part, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of a table that belong to a part, those of its fits included, from files whose checksum is right.

    Args:
        store, table, part: which.
        columns: those to read; None for all.

    Raises:
        StoreError: a file was changed since it was written, or cannot be read.
    """
    files = entries(part_path(store.root, table, part).parent, "*.parquet")
    files = [entry for entry in files if is_part_file(table, entry) and parse_file(entry)[0] == part]
    return read_files(store.root, files, table, columns)


def write_failures(store: ResultStore, units: pa.Table) -> None:
    """Record failed units, so that status and summary can name them; a later success supersedes the record."""
    _write_part(_path(store, "units", units, f"failed-{part_id(units['unit_id'].to_pylist())}"), units, "units")


def finished_units(store: ResultStore, model: str, step: int) -> dict[str, str]:
    """The finished units of one checkpoint, each with the part that holds it; files of other checkpoints are not read.

    Raises:
        StoreError: a file of `units` cannot be read.
    """
    folder = part_path(store.root, "units", Part(model, step, "", "")).parent
    files = [entry for entry in entries(folder, "*.parquet") if is_part_file("units", entry)]
    files = [entry for entry in files if "-failed-" not in entry.place.name]
    with explained(store.root):
        rows = scan_files(store.root, files, "units").select("unit_id", "part").collect()
    return dict(reversed(list(rows.iter_rows())))


def read_units(store: ResultStore) -> pl.DataFrame:
    """One row per unit: its finished row, or else its latest failure, unless a unit of the same cell is finished.

    Where two sweeps computed the same units at once, a unit is in two parts with equal rows; the first part counts.
    """
    return _current(store, _unit_rows(store))


@dataclass(frozen=True)
class UnitRows:
    """The rows of `units`, of which every other table's files and rows that count are told.

    Attributes:
        all: finished and failed; a unit that two sweeps computed at once has two.
        done: one row per finished unit.
    """

    all: pl.DataFrame
    done: pl.DataFrame


@dataclass(frozen=True)
class Within:
    """Some parts of a table: those of one model and task at some steps."""

    model: str
    task: str
    steps: Collection[int]

    def __contains__(self, part: Part) -> bool:
        return part.model == self.model and part.task == self.task and part.step in self.steps


def read_unit_rows(store: ResultStore, within: Within | None = None) -> UnitRows:
    """The rows of `units`, or those of some parts only.

    Raises:
        StoreError: no unit is finished.
    """
    rows = _unit_rows(store, within)
    done = _current(store, rows).filter(pl.col("status") == "done")
    if done.is_empty():
        raise StoreError(f"{store.root} holds no finished unit yet; run or resume the sweep")
    return UnitRows(rows, done)


def scan(store: ResultStore, table: str, units: UnitRows | None = None, within: Within | None = None) -> pl.LazyFrame:
    """The rows of all finished units, lazily, one copy of each; rows of parts that were not committed are left out.

    Of files on a disk, the checksums are compared first, once a process (1 s per GB), since a changed byte in a page
    can be read as another number. Of those in an object store, of which a scan fetches ranges only, they are not:
    `pythia-emergence verify` reads and checks all.

    Args:
        store, table: which.
        units: the rows of `units`, where they have been read; then they are not read again.
        within: open the files of these parts only. A compacted copy has other files: there it leaves out nothing.

    Raises:
        StoreError: there is no such table or no finished unit, or a part is missing, empty, cut off or changed.
    """
    if table not in TABLES:
        raise StoreError(unknown("table", table, TABLES))
    units = units or read_unit_rows(store)
    if table == "units":
        return units.done.lazy()
    if store.compacted:
        return scan_files(store.root, part_files(store, table), table)
    committed = [part for part in _parts(units.done) if within is None or part in within]
    files = _committed_files(store, table, committed, within)
    has_copies = units.all.filter(pl.col("status") == "done").height > units.done.height
    if has_copies and files:
        part = pl.col("_file").str.extract(r"-([0-9a-f]+)(?:\.[0-9a-f]+)?\.parquet$")
        scanned = scan_files(store.root, files, table, include_file_paths="_file").with_columns(part=part)
        return scanned.join(units.done.lazy(), on=["unit_id", "part"], how="semi").drop("_file", "part")
    return scan_files(store.root, files, table)


def read_fits(store: ResultStore) -> pl.DataFrame:
    """unit_id, `FIT` and fit_id of the fits and baselines of finished units, from their own whole files.

    Raises:
        StoreError: a file is damaged.
    """
    if store.compacted:
        files = part_files(store, "prompt_scores")
    else:
        done, named = set(parts(store)), table_files(store, "prompt_scores")
        files = [entry for entry, part, fits, cut in named if fits and part in done and not cut]
    with explained(store.root):
        rows = scan_files(store.root, files, "prompt_scores").select("unit_id", *FIT, "fit_id").drop_nulls("fit_id")
        return rows.collect()


def read_added(store: ResultStore) -> pl.DataFrame:
    """unit_id and fit_id of what is stored for finished units in the tables of `ADDED`, from whole files.

    Raises:
        StoreError: a file is damaged.
    """
    done = set() if store.compacted else set(parts(store))
    rows = []
    for table in ADDED:
        if store.compacted:
            files = part_files(store, table)
        else:
            files = [entry for entry, part, _, cut in table_files(store, table) if part in done and not cut]
        with explained(store.root):
            rows.append(scan_files(store.root, files, table).select("unit_id", "fit_id").unique().collect())
    return pl.concat(rows)


def _committed_files(store: ResultStore, table: str, committed: list[Part], within: Within | None) -> list[Entry]:
    """The files of a table that belong to committed parts.

    Raises:
        StoreError: a part has no file of its own; only in tables of `OPTIONAL` may one be lacking.
    """
    parts_that_count = set(committed)
    files = [(entry, *parse_file(entry)) for entry in part_files(store, table, within)]
    missing = parts_that_count - {part for _, part, fits in files if fits is None}
    if missing and table not in OPTIONAL:
        raise StoreError(
            f"{store.root / table} lacks {len(missing)} of {len(committed)} parts that `units` names; "
            "copy the folder again, or give the same sweep command again"
        )
    return [entry for entry, part, _ in files if part in parts_that_count]


def listed_files(store: ResultStore, table: str, within: Within | None = None) -> list[Entry]:
    """All files of a table, sorted, without temporary ones and those of other names than a sweep gives.

    Args:
        store, table: which.
        within: those of some parts only; of a compacted copy, all.
    """
    if store.compacted:
        return entries(store.root / table, "model=*/*.parquet")
    if within is None:
        return [e for e in entries(store.root / table, "model=*/step=*/*.parquet") if is_part_file(table, e)]
    folders = [part_path(store.root, table, Part(within.model, step, "", "")).parent for step in sorted(within.steps)]
    files = [e for folder in folders for e in entries(folder, "*.parquet") if is_part_file(table, e)]
    tasks = (within.task, f"{within.task}-failed")
    return [entry for entry in files if entry.place.name.rpartition("-")[0] in tasks]


def part_files(store: ResultStore, table: str, within: Within | None = None) -> list[Entry]:
    """The files of `listed_files`, none of them cut off.

    Raises:
        StoreError: a file is cut off or empty; Polars would skip an empty one without an error.
    """
    files = listed_files(store, table, within)
    for entry in files:
        if cause := cut_off(entry):
            raise StoreError(
                f"{entry.place} is {cause}: its rows are lost; `pythia-emergence verify {store.root} --quick --repair` "
                "deletes what belongs to it, then the same sweep command computes it again"
            )
    return files


def table_files(store: ResultStore, table: str) -> list[tuple[Entry, Part, str | None, bool]]:
    """All files of a table with the names of parts, each with its part, its set of fits, and whether it is cut off."""
    files = [e for e in entries(store.root / table, "model=*/step=*/*.parquet") if is_part_file(table, e)]
    return [(entry, *parse_file(entry), cut_off(entry) is not None) for entry in files]


def files_with_weights(store: ResultStore, files: Sequence[Entry]) -> set[str]:
    """Those of some files of `prompt_scores` that hold accuracies of COMP RW, so that there are weights of it."""
    if not files:
        return set()
    rows = scan_files(store.root, files, "prompt_scores", include_file_paths="_file")
    fitted = rows.filter(pl.col("accuracy").is_not_null(), method="comp_rw").select("_file").unique()
    with explained(store.root):
        return set(fitted.collect()["_file"])


def _unit_rows(store: ResultStore, within: Within | None = None) -> pl.DataFrame:
    """All rows of `units`, finished and failed; a unit that two sweeps computed at once has two."""
    files = part_files(store, "units", within)
    with explained(store.root):
        return scan_files(store.root, files, "units").collect()


def _current(store: ResultStore, rows: pl.DataFrame) -> pl.DataFrame:
    """The row of each unit that counts, of all its rows in `units`.

    Raises:
        StoreError: two finished units are of the same cell.
    """
    order = rows.with_columns(failed=pl.col("status") != "done").sort(
        ["unit_id", "failed", "part", "created"], descending=[False, False, False, True], nulls_last=True
    )
    units = order.unique("unit_id", keep="first", maintain_order=True).drop("failed")
    done, failed = units.filter(pl.col("status") == "done"), units.filter(pl.col("status") != "done")
    conflicting = done.filter(pl.struct(CELL).is_duplicated())
    if len(conflicting):
        cell = conflicting.select(CELL).row(0, named=True)
        raise StoreError(
            f"{store.root} holds two different results for {cell}, of two sweeps with different settings. "
            f"Delete the parts {', '.join(conflicting['part'].unique().sort())} in every table and resume one of them"
        )
    return pl.concat([done, failed.join(done, on=CELL, how="anti")]).sort("unit_id")


def _path(store: ResultStore, table: str, units: pa.Table, part: str) -> Place:
    model, step, task = (units[column][0].as_py() for column in ("model", "step", "task"))
    return part_path(store.root, table, Part(model, step, task, part))


def _write_part(where: Place, rows: pa.Table, table: str) -> None:
    put(where, encode(rows, table))
