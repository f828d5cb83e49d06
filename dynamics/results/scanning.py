"""Scans of result files: their rows with the columns of the schema, from files whose checksum is right.

Files on a disk are checked before they are read, once a process; those in an object store, of which a scan fetches
ranges, only where all of them is read.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from dynamics.errors import StoreError, first_line
from dynamics.results.checksums import damage_of
from dynamics.results.places import Entry, Place, explained_errors, polars_options, read
from dynamics.results.schema import TABLES


def scan_files(root: Place, files: Sequence[Entry], table: str, **options: Any) -> pl.LazyFrame:
    """The rows of files, lazily, with the columns of the schema: those that a file lacks are null, others are left out.

    Model and step are read from the path, so that a filter on them opens no other file; unless folders above the
    results are named `key=value` too, which Polars would take for keys.

    Args:
        root: the results folder, for messages.
        files: of one table.
        table: which.
        options: of `polars.scan_parquet`.

    Raises:
        StoreError: a file on a disk was changed since it was written.
    """
    if not files:
        return pl.LazyFrame(schema=polars_schema(table))
    for entry in files:
        if isinstance(entry.place, Path) and (damage := _damage(entry.place, *_version(entry.place))):
            raise StoreError(f"{entry.place} is {damage}; {_remedy(root, entry)}")
    folder = files[0].place.parent
    has_keys = folder.name.startswith("step=") and str(folder).count("=") == 2
    return pl.scan_parquet(
        [str(entry.place) for entry in files],
        schema=polars_schema(table),
        missing_columns="insert",
        extra_columns="ignore",
        hive_partitioning=has_keys,
        hive_schema={"model": pl.String, "step": pl.Int64} if has_keys else None,
        glob=False,
        **polars_options(files[0].place),
        **options,
    )


def read_files(root: Place, files: Sequence[Entry], table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """All rows of some files of a table, committed or not; of those in an object store too the checksum is right.

    New files are written from these rows, with a checksum of their own, so a changed byte would never be seen again.

    Args:
        root: of the results, for messages.
        files: of the table.
        table: its name.
        columns: those to read; None for all.

    Raises:
        StoreError: a file was changed since it was written, or cannot be read.
    """
    if not files:
        return pl.DataFrame(schema=polars_schema(table)).select(columns or pl.all())
    content = [read(entry.place) for entry in files]
    for entry, data in zip(files, content, strict=True):
        if damage := damage_of(data):
            raise StoreError(f"{entry.place} is {damage}; {_remedy(root, entry)}")
    with explained(root):
        rows = pl.scan_parquet(
            [io.BytesIO(data) for data in content],
            schema=polars_schema(table),
            missing_columns="insert",
            extra_columns="ignore",
            hive_partitioning=False,
        )
        return rows.select(columns or pl.all()).collect()


@cache
def polars_schema(table: str) -> pl.Schema:
    """The columns of a table as Polars reads them."""
    return pl.DataFrame(TABLES[table].empty_table()).schema


@contextmanager
def explained(root: Place) -> Iterator[None]:
    """Turn the error of a damaged file, or of an object store, into a StoreError with a remedy."""
    try:
        with explained_errors(root):
            yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise StoreError(
            f"{root} holds a damaged file ({first_line(error, 100)}); `pythia-emergence verify {root}` names it and "
            "what to do"
        ) from error


@cache
def _damage(path: Path, size: int, changed_ns: int) -> str | None:  # noqa: ARG001 - they tell versions of a file apart
    """What is wrong with the bytes of a file; None where its checksum is right."""
    return damage_of(path.read_bytes())


def _version(path: Path) -> tuple[int, int]:
    """Size and time of change of a file."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _remedy(root: Place, entry: Entry) -> str:
    if not entry.place.parent.name.startswith("step="):
        return "compact the results again that this copy was made from"
    return (
        f"`pythia-emergence verify {root} --repair` deletes what belongs to it, then the same sweep command computes "
        "it again"
    )
