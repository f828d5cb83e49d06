"""ResultStore: where results live, written so that a kill at any moment leaves whole parts or none.

    OUT/<table>/model=<percent-encoded id>/step=<int>/<task>-<part>.parquet

A part holds the units of one (checkpoint, task) that were computed together; its name is a hash of their unit ids. The
`units` part is written last and is the commit: what it does not name does not exist for readers. A failed unit has a
row in `units/.../<task>-failed-<hash>.parquet` and none elsewhere.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import polars as pl
import pyarrow as pa

from dynamics.atomic_write import TEMPORARY
from dynamics.errors import StoreError, unknown
from dynamics.identity import short_hash
from dynamics.results.checksums import encode
from dynamics.results.places import (
    Entry,
    Place,
    entries,
    exists,
    explained,
    names,
    place,
    polars_options,
    put,
    read,
)
from dynamics.results.schema import SCHEMA_VERSION, TABLES

MARKER = "store.json"
CELL = ["model", "step", "dtype", "control", "task", "template", "demo_seed", "n_shots"]
"""What identifies a unit to a reader."""


@dataclass(frozen=True)
class ResultStore:
    """A folder of result tables, here or in an object store; the only code that knows file names."""

    root: Place
    compacted: bool = False
    """Whether it is a copy in few large files, which is read only."""


@dataclass(frozen=True)
class Part:
    """The units of one (checkpoint, task) that were computed together, and are committed together."""

    model: str
    step: int
    task: str
    name: str


def open_store(root: Place | str, *, create: bool = False) -> ResultStore:
    """Open a results folder, or make an empty one.

    Args:
        root: a path, or a `file://`, `s3://` or `gs://` URI.
        create: make it where there is none.

    Raises:
        StoreError: it is a file, is not writable, holds something else, or was written by another schema version; or
            the object store refuses or cannot be reached.
    """
    root = place(root)
    if isinstance(root, Path) and root.exists() and not root.is_dir():
        raise StoreError(f"{root} is a file; results need a folder, name another one")
    marker = root / MARKER
    if not exists(marker):
        there = [name for name in names(root) if not name.startswith(TEMPORARY)]
        if not create:
            raise StoreError(f"{root} holds no results; run `python -m jobs.sweep PLAN --out {root}` first")
        if there:
            raise StoreError(f"{root} holds files that are not results of this suite; name an empty or new folder")
        put(marker, json.dumps({"schema_version": SCHEMA_VERSION}).encode())
    content = _content(marker)
    version = content["schema_version"]
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{root} was written with schema version {version}, this is version {SCHEMA_VERSION}; "
            "read it with the release that wrote it, or sweep into a new folder"
        )
    if create and "compacted_from" in content:
        raise StoreError(f"{root} is a compacted copy, only for reading; sweep into {content['compacted_from']}")
    return ResultStore(root, compacted="compacted_from" in content)


def _content(marker: Place) -> dict[str, Any]:
    content = read(marker)
    try:
        return {"schema_version": json.loads(content)["schema_version"], **json.loads(content)}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{marker} cannot be read ({error}); restore it or name another folder") from error


def write_units(store: ResultStore, units: pa.Table, tables: Mapping[str, pa.Table]) -> None:
    """Write the finished units of one (checkpoint, task): their tables first, their `units` rows last."""
    assert all(len(units[column].unique()) == 1 for column in ("model", "step", "task", "part")), "one part at a time"
    part = units["part"][0].as_py()
    for name in sorted(tables):
        _write_part(_path(store, name, units, part), tables[name], name)
    _write_part(_path(store, "units", units, part), units, "units")


def write_fits(store: ResultStore, part: Part, fits: str, tables: Mapping[str, pa.Table]) -> None:
    """Write what was fitted on a committed part's contributions; `prompt_scores` last: it says what is done.

    Args:
        part: the part fitted on.
        fits: name of this set of fits, a hash of their ids.
        tables: rows of `prompt_scores`, and of `reweightings` where something was fitted.
    """
    for name in sorted(tables, reverse=True):
        _write_part(
            part_path(store, name, part).with_name(f"{part.task}-{part.name}.{fits}.parquet"), tables[name], name
        )


def rewrite_scores(store: ResultStore, part: Part, tables: Sequence[Mapping[str, pa.Table]]) -> None:
    """Replace a committed part's predictions and scores, each file at once."""
    for name in ("predictions", "component_scores", "prompt_scores"):
        _write_part(part_path(store, name, part), pa.concat_tables([unit[name] for unit in tables]), name)


def parts(store: ResultStore) -> list[Part]:
    """The committed parts, sorted.

    Raises:
        StoreError: the results are a compacted copy.
    """
    if store.compacted:
        raise StoreError(f"{store.root} is a compacted copy, only for reading; use what it was made from")
    done = read_units(store).filter(pl.col("status") == "done")
    rows = done.select("model", "step", "task", "part").unique().sort("model", "step", "task", "part")
    return [Part(*row) for row in rows.iter_rows()]


def read_part(store: ResultStore, table: str, part: Part) -> pl.DataFrame:
    """One part's own rows of a table, and for `prompt_scores` those of all its fits."""
    files = entries(part_path(store, table, part).parent, f"{part.task}-{part.name}.*parquet")
    with explained(store.root):
        return _scan_files(files, table).collect()


def read_fits(store: ResultStore, part: Part) -> dict[str, pl.DataFrame]:
    """A part's rows of `prompt_scores` that fits added, by the name of their set."""
    files = entries(part_path(store, "prompt_scores", part).parent, f"{part.task}-{part.name}.*.parquet")
    with explained(store.root):
        return {file.place.stem.rsplit(".", 1)[-1]: _scan_files([file], "prompt_scores").collect() for file in files}


def part_path(store: ResultStore, table: str, part: Part) -> Place:
    """Where a part's rows of a table are."""
    folder = store.root / table / f"model={quote(part.model, safe='')}" / f"step={part.step}"
    return folder / f"{part.task}-{part.name}.parquet"


def write_failures(store: ResultStore, units: pa.Table) -> None:
    """Record units that failed, so that status and summary can name them; a later success supersedes the record."""
    _write_part(_path(store, "units", units, f"failed-{part_id(units['unit_id'].to_pylist())}"), units, "units")


def finished_units(store: ResultStore, model: str, step: int) -> dict[str, str]:
    """The units of one checkpoint that are done, each with the part that holds it; no other file is read.

    Raises:
        StoreError: a file of theirs cannot be read.
    """
    folder = part_path(store, "units", Part(model, step, "", "")).parent
    files = [entry for entry in entries(folder, "*.parquet") if "-failed-" not in entry.place.name]
    try:
        with explained(store.root):
            rows = _scan_files(files, "units").select("unit_id", "part").collect()
    except pl.exceptions.PolarsError as error:
        raise StoreError(
            f"{folder} holds a file that cannot be read; run the same sweep again: it says which"
        ) from error
    return dict(reversed(list(rows.iter_rows())))


def part_id(unit_ids: Iterable[str]) -> str:
    """Name of the part that holds these units."""
    return short_hash("\n".join(sorted(unit_ids)))


def fits_name(fit_ids: Iterable[str]) -> str:
    """Name of the file that holds these fits of a part."""
    return short_hash(" ".join(sorted(fit_ids)), 8)


def read_units(store: ResultStore) -> pl.DataFrame:
    """One row per unit: its finished row, or else its latest failure, unless other weights have finished the cell.

    Where two drivers raced, a unit may stand in two parts with equal rows; the first part in order is the one kept.
    """
    return _kept(store, _unit_rows(store))


def scan(store: ResultStore, table: str) -> pl.LazyFrame:
    """The rows of all finished units, lazily; rows of parts that were never committed are left out.

    Raises:
        StoreError: no such table, no finished unit, or a part that is empty (0 bytes) or missing.
    """
    if table not in TABLES:
        raise StoreError(unknown("table", table, TABLES))
    rows = _unit_rows(store)
    done = _kept(store, rows).filter(pl.col("status") == "done")
    if done.is_empty():
        raise StoreError(f"{store.root} holds no finished unit yet; run or resume the sweep")
    if table == "units":
        return done.lazy()
    if store.compacted:
        return _scan_files(part_files(store, table), table)
    kept = done.select("unit_id", "part")
    committed = set(kept["part"].to_list())
    files = [entry for entry in part_files(store, table) if _part_of(entry) in committed]
    lost = committed - {_part_of(entry) for entry in files if entry.place.stem.endswith(_part_of(entry))}
    if lost and table != "reweightings":
        raise StoreError(
            f"{store.root / table} lacks {len(lost)} of {len(committed)} parts that `units` names; "
            "copy the folder again, or delete the matching files in units/ and resume the sweep"
        )
    raced = rows.filter(pl.col("status") == "done").height > done.height
    if raced and files:
        part = pl.col("_file").str.extract(r"-([0-9a-f]+)(?:\.[0-9a-f]+)?\.parquet$")
        scanned = _scan_files(files, table, include_file_paths="_file").with_columns(part=part)
        return scanned.join(kept.lazy(), on=["unit_id", "part"], how="semi").drop("_file", "part")
    return _scan_files(files, table)


def part_files(store: ResultStore, table: str) -> list[Entry]:
    """All parts of a table, sorted, temporary files left out.

    Raises:
        StoreError: a part is empty, which readers would skip without a word, or cut off.
    """
    files = entries(store.root / table, "model=*/*.parquet" if store.compacted else "model=*/step=*/*.parquet")
    for entry in files:
        if entry.size < 12 or _last_bytes(entry.place) != b"PAR1":
            cause = "empty (0 bytes)" if entry.size == 0 else "cut off or not Parquet"
            raise StoreError(
                f"{entry.place} is {cause}: its rows are lost; delete it and the file of the same name under "
                f"{store.root / 'units'}, then resume the sweep"
            )
    return files


def _unit_rows(store: ResultStore) -> pl.DataFrame:
    """Every row of `units`: finished and failed, raced ones twice."""
    files = part_files(store, "units")
    with explained(store.root):
        return _scan_files(files, "units").collect()


def _kept(store: ResultStore, rows: pl.DataFrame) -> pl.DataFrame:
    """The one row of each unit that counts."""
    order = rows.with_columns(failed=pl.col("status") != "done").sort(
        ["unit_id", "failed", "part", "created"], descending=[False, False, False, True], nulls_last=True
    )
    units = order.unique("unit_id", keep="first", maintain_order=True).drop("failed")
    done, failed = units.filter(pl.col("status") == "done"), units.filter(pl.col("status") != "done")
    twice = done.filter(pl.struct(CELL).is_duplicated())
    if len(twice):
        cell = dict(zip(CELL, twice.select(CELL).row(0), strict=True))
        raise StoreError(
            f"{store.root} holds two different results for {cell}: two sweeps with different settings wrote here. "
            f"Delete the parts {', '.join(twice['part'].unique().sort())} in every table and resume one of them"
        )
    return pl.concat([done, failed.join(done, on=CELL, how="anti")]).sort("unit_id")


def belongs(entry: Entry) -> tuple[Part, str | None]:
    """The part that a file of a table holds rows of, and the name of its fits where it holds those."""
    step, model = entry.place.parent.name, entry.place.parent.parent.name
    task, _, rest = entry.place.name.removesuffix(".parquet").rpartition("-")
    name, _, fits = rest.partition(".")
    if task.endswith("-failed"):
        task, name = task.removesuffix("-failed"), f"failed-{name}"
    return Part(unquote(model.removeprefix("model=")), int(step.removeprefix("step=")), task, name), fits or None


def read_files(files: Sequence[Entry], table: str) -> pl.DataFrame:
    """All rows of some files of a table, committed or not."""
    return _scan_files(files, table).collect()


def _part_of(entry: Entry) -> str:
    """The part a file belongs to: its own name, or what stands before the name of the fits."""
    return entry.place.stem.rsplit("-", 1)[-1].split(".")[0]


def _scan_files(files: Sequence[Entry], table: str, **options: Any) -> pl.LazyFrame:
    """Parts with the columns of this version's schema: what an older part lacks is null.

    Model and step are known from the path, so that a filter on them opens no other file; unless folders above the
    results are named `key=value` too, which Polars would take for keys.
    """
    if not files:
        return pl.LazyFrame(schema=_polars_schema(table))
    folder = files[0].place.parent
    keyed = folder.name.startswith("step=") and str(folder).count("=") == 2
    return pl.scan_parquet(
        [str(entry.place) for entry in files],
        schema=_polars_schema(table),
        missing_columns="insert",
        extra_columns="ignore",
        hive_partitioning=keyed,
        hive_schema={"model": pl.String, "step": pl.Int64} if keyed else None,
        glob=False,
        **polars_options(files[0].place),
        **options,
    )


def _polars_schema(table: str) -> pl.Schema:
    return pl.DataFrame(TABLES[table].empty_table()).schema


def _last_bytes(where: Place) -> bytes:
    """What a Parquet file ends in. An object needs no look: it was put whole."""
    if not isinstance(where, Path):
        return b"PAR1"
    with where.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return file.read()


def _path(store: ResultStore, table: str, units: pa.Table, part: str) -> Place:
    model, step, task = (units[column][0].as_py() for column in ("model", "step", "task"))
    return part_path(store, table, Part(model, step, task, part))


def _write_part(where: Place, rows: pa.Table, table: str) -> None:
    put(where, encode(rows, table))
