"""ResultStore: where results live on disk, written so that a kill at any moment leaves whole parts or none.

    OUT/<table>/model=<percent-encoded id>/step=<int>/<task>-<part>.parquet

A part holds the units of one (checkpoint, task) that were computed together; its name is a hash of their unit ids. The
`units` part is written last and is the commit: what it does not name does not exist for readers. A failed unit has a
row in `units/.../<task>-failed-<hash>.parquet` and none elsewhere.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dynamics.errors import StoreError, unknown
from dynamics.schema import SCHEMA_VERSION, TABLES

_MARKER = "store.json"
CELL = ["model", "step", "dtype", "control", "task", "template", "demo_seed", "n_shots"]
"""What identifies a unit to a reader."""
_CONTINUOUS = {"contributions": ["contributions.list.element", "full.list.element", "constant.list.element"]}


@dataclass(frozen=True)
class ResultStore:
    """A folder of result tables; the only code that knows file names."""

    root: Path


@dataclass(frozen=True)
class Part:
    """The units of one (checkpoint, task) that were computed together, and are committed together."""

    model: str
    step: int
    task: str
    name: str


def open_store(root: Path, *, create: bool = False) -> ResultStore:
    """Open a results folder, or make an empty one.

    Raises:
        StoreError: it is a file, is not writable, holds something else, or was written by another schema version.
    """
    marker = root / _MARKER
    if root.exists() and not root.is_dir():
        raise StoreError(f"{root} is a file; results need a folder, name another one")
    if not marker.exists():
        if not create:
            raise StoreError(f"{root} holds no results; run `python -m jobs.sweep PLAN --out {root}` first")
        if root.is_dir() and any(not path.name.startswith(".tmp-") for path in root.iterdir()):
            raise StoreError(f"{root} holds files that are not results of this suite; name an empty or new folder")
        _make(root)
        _write_atomic(marker, json.dumps({"schema_version": SCHEMA_VERSION}).encode())
    try:
        version = json.loads(marker.read_text())["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{marker} cannot be read ({error}); restore it or name another folder") from error
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{root} was written with schema version {version}, this is version {SCHEMA_VERSION}; "
            "read it with the release that wrote it, or sweep into a new folder"
        )
    return ResultStore(root)


def save_plan(store: ResultStore, name: str, text: str) -> Path:
    """Keep the plan's text in `plans/`, once."""
    path = store.root / "plans" / f"{name}-{_digest([text])}.toml"
    if not path.exists():
        _make(path.parent)
        _write_atomic(path, text.encode())
    return path


def saved_plans(store: ResultStore) -> dict[str, str]:
    """Where each plan kept in `plans/` is, and its text; sorted."""
    return {str(path): path.read_text() for path in sorted((store.root / "plans").glob("*.toml"))}


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
    """The committed parts, sorted."""
    done = read_units(store).filter(pl.col("status") == "done")
    rows = done.select("model", "step", "task", "part").unique().sort("model", "step", "task", "part")
    return [Part(*row) for row in rows.iter_rows()]


def read_part(store: ResultStore, table: str, part: Part) -> pl.DataFrame:
    """One part's own rows of a table, and for `prompt_scores` those of all its fits."""
    path = part_path(store, table, part)
    files = sorted(path.parent.glob(f"{part.task}-{part.name}.*parquet"))
    return _scan_files(files, table).collect()


def part_path(store: ResultStore, table: str, part: Part) -> Path:
    """Where a part's rows of a table are."""
    folder = store.root / table / f"model={quote(part.model, safe='')}" / f"step={part.step}"
    return folder / f"{part.task}-{part.name}.parquet"


def write_failures(store: ResultStore, units: pa.Table) -> None:
    """Record units that failed, so that status and summary can name them; a later success supersedes the record."""
    _write_part(_path(store, "units", units, f"failed-{part_id(units['unit_id'].to_pylist())}"), units, "units")


def write_log(store: ResultStore, name: str, text: str) -> Path:
    """Keep the traceback of a failed unit in `logs/`; the latest replaces the one before."""
    path = store.root / "logs" / name
    _make(path.parent)
    _write_atomic(path, text.encode())
    return path


def part_id(unit_ids: Iterable[str]) -> str:
    """Name of the part that holds these units."""
    return _digest(sorted(unit_ids))


def read_units(store: ResultStore) -> pl.DataFrame:
    """One row per unit: its finished row, or else its latest failure, unless other weights have finished the cell.

    Where two drivers raced, a unit may stand in two parts with equal rows; the first part in order is the one kept.
    """
    files = part_files(store, "units")
    if not files:
        return pl.DataFrame(schema=_polars_schema("units"))
    rows = _scan_files(files, "units").collect()
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


def scan(store: ResultStore, table: str) -> pl.LazyFrame:
    """The rows of all finished units, lazily; rows of parts that were never committed are left out.

    Raises:
        StoreError: no such table, no finished unit, or a part that is empty (0 bytes) or missing.
    """
    if table not in TABLES:
        raise StoreError(unknown("table", table, TABLES))
    done = read_units(store).filter(pl.col("status") == "done")
    if done.is_empty():
        raise StoreError(f"{store.root} holds no finished unit yet; run or resume the sweep")
    if table == "units":
        return done.lazy()
    kept = done.select("unit_id", "part")
    committed = set(kept["part"].to_list())
    files = [path for path in part_files(store, table) if _part_of(path) in committed]
    lost = committed - {_part_of(path) for path in files if path.stem.endswith(_part_of(path))}
    if lost and table != "reweightings":
        raise StoreError(
            f"{store.root / table} lacks {len(lost)} of {len(committed)} parts that `units` names; "
            "copy the folder again, or delete the matching files in units/ and resume the sweep"
        )
    if _raced(store, done):
        part = pl.col("_file").str.extract(r"-([0-9a-f]+)(?:\.[0-9a-f]+)?\.parquet$")
        rows = _scan_files(files, table, include_file_paths="_file").with_columns(part=part)
        return rows.join(kept.lazy(), on=["unit_id", "part"], how="semi").drop("_file", "part")
    if not files:
        return pl.LazyFrame(schema=_polars_schema(table))
    return _scan_files(files, table)


def part_files(store: ResultStore, table: str) -> list[Path]:
    """All parts of a table, sorted, temporary files left out.

    Raises:
        StoreError: a part is empty, which readers would skip without a word, or cut off.
    """
    files = sorted((store.root / table).glob("model=*/step=*/*.parquet"))
    for path in files:
        if (size := path.stat().st_size) < 12 or _last_bytes(path) != b"PAR1":
            cause = "empty (0 bytes)" if size == 0 else "cut off or not Parquet"
            raise StoreError(
                f"{path} is {cause}: its rows are lost; delete it and the file of the same name under "
                f"{store.root / 'units'}, then resume the sweep"
            )
    return files


def _part_of(path: Path) -> str:
    """The part a file belongs to: its own name, or what stands before the name of the fits."""
    return path.stem.rsplit("-", 1)[-1].split(".")[0]


def _scan_files(files: Sequence[Path], table: str, **options: Any) -> pl.LazyFrame:
    """Parts with the columns of this version's schema: what an older part lacks is null."""
    return pl.scan_parquet(
        list(files),
        schema=_polars_schema(table),
        missing_columns="insert",
        extra_columns="ignore",
        hive_partitioning=False,
        **options,
    )


def _polars_schema(table: str) -> pl.Schema:
    return pl.DataFrame(TABLES[table].empty_table()).schema


def _last_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return file.read()


def _raced(store: ResultStore, done: pl.DataFrame) -> bool:
    """Whether some unit stands in two committed parts."""
    committed = [path for path in part_files(store, "units") if "-failed-" not in path.name]
    return sum(pq.read_metadata(path).num_rows for path in committed) > len(done)


def _path(store: ResultStore, table: str, units: pa.Table, part: str) -> Path:
    model, step, task = (units[column][0].as_py() for column in ("model", "step", "task"))
    return part_path(store, table, Part(model, step, task, part))


def _write_part(path: Path, rows: pa.Table, table: str) -> None:
    """Write rows under a temporary name, flush them to disk, and rename."""
    split = _CONTINUOUS.get(table, [])
    sink = pa.BufferOutputStream()
    pq.write_table(
        rows,
        sink,
        compression="zstd",
        use_dictionary=[  # pyright: ignore[reportArgumentType] - the stubs know booleans only
            field.name for field in rows.schema if pa.types.is_string(field.type)
        ],
        use_byte_stream_split=split,  # pyright: ignore[reportArgumentType]
    )
    _make(path.parent)
    _write_atomic(path, sink.getvalue())


def _write_atomic(path: Path, data: bytes | pa.Buffer) -> None:
    """Write a whole file or none: temporary name that readers do not match, fsync, rename, fsync of the folder."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".tmp-{path.stem}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; free space or permissions, then resume") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {folder}: {error.strerror}; name a folder you may write to") from error


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
