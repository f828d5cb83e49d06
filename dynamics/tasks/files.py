"""The tables of a task's rows, read from files of each format."""

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.ipc

from dynamics.errors import PlanError, first_line, unknown

RARE = 100
"""A field is odd if no more than one row in so many has one like it."""


def read_tables(paths: Sequence[Path]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The rows of all files, in order, and notes on them.

    Raises:
        PlanError: a file has an unknown format or cannot be read, or two do not have the same columns.
    """
    tables = [read_table(path) for path in paths]
    first = tables[0].columns
    for path, table in zip(paths, tables, strict=True):
        if set(table.columns) != set(first):
            raise PlanError(
                f"{paths[0].parent}: its {len(paths)} files do not have the same columns: {paths[0].name} has "
                f"{', '.join(first)}, {path.name} has {', '.join(table.columns)}; keep those of one dataset"
            )
    try:
        joined = pl.concat([table.select(first) for table in tables], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise PlanError(
            f"{paths[0].parent}: its {len(paths)} files have columns of different types: {first_line(error, 160)}"
        ) from error
    notes = (note for path, table in zip(paths, tables, strict=True) for note in quoting_notes(path, table))
    return joined, tuple(notes)


def read_table(path: Path) -> pl.DataFrame:
    """The rows of one file, in the format of its extension; all columns of CSV and TSV files are text.

    Raises:
        PlanError: no such file, an unknown format, or content that does not have that format.
    """
    if path.suffix not in READERS:
        raise PlanError(f"{path}: " + unknown("file format", path.suffix, READERS))
    if not path.is_file():
        raise PlanError(f"there is no file {path}; check the path and its folder")
    try:
        return READERS[path.suffix](path.read_bytes())
    except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError, pa.ArrowException) as error:
        reason = first_line(error, 160)
        raise PlanError(f"{path} cannot be read as {path.suffix[1:]}: {reason}") from error


def quoting_notes(path: Path, table: pl.DataFrame) -> tuple[str, ...]:
    """Notes on a CSV or TSV file whose quotes seem to mean something else than its reader takes them for."""
    text = pl.all().str
    if path.suffix == ".csv":
        rows = _rows_where(table, text.contains(",", literal=True) & text.contains("\n", literal=True))
        what = "holds a comma and a line break"
        advice = "a stray quote swallows the rows after it: check the row, or save the table as JSON Lines"
        is_odd = 0 < len(rows) <= max(1, table.height // RARE)
    elif path.suffix == ".tsv":
        quoted = text.starts_with('"') & text.ends_with('"') & (text.len_bytes() > 1)
        rows = _rows_where(table, quoted & (text.contains('.""') | quoted.all()))
        what = "is in quotes"
        advice = "in TSV quotes are part of the text: save a table with quoted fields as CSV"
        is_odd = len(rows) > 0
    else:
        return ()
    if not is_odd:
        return ()
    others = f"as {len(rows) - 1} more do" if len(rows) > 1 else "as no other does"
    return (f"row {rows[0] + 1} of {path} has a field that {what}, {others}; {advice}",)


def _rows_where(table: pl.DataFrame, condition: pl.Expr) -> list[int]:
    """The numbers of the rows in which a condition holds for any column."""
    return table.select(pl.any_horizontal(condition.fill_null(value=False))).to_series().arg_true().to_list()


def _read_arrow(content: bytes) -> pl.DataFrame:
    """Read an Arrow file or, as `datasets` writes it, an Arrow stream."""
    open_arrow = pa.ipc.open_file if content.startswith(b"ARROW1") else pa.ipc.open_stream
    return pl.DataFrame(open_arrow(pa.BufferReader(content)).read_all())


def _read_json(content: bytes) -> pl.DataFrame:
    """Read a JSON list of objects, at the top level or as the only list of a top-level object."""
    value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique)
    lists = [part for part in value.values() if isinstance(part, list)] if isinstance(value, dict) else [value]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise ValueError("it does not contain a single list of rows; write a list of objects, or JSON Lines as .jsonl")
    return _records(lists[0])


def _read_json_lines(content: bytes) -> pl.DataFrame:
    lines = content.removeprefix(BOM_UTF8).decode().split("\n")
    return _records([json.loads(line, object_pairs_hook=_unique) for line in lines if line.strip()])


def _records(rows: Sequence[object]) -> pl.DataFrame:
    """The table of some objects.

    Raises:
        ValueError: a row is no object, or a column has values of several types, which would be converted to one: 1 to
            1.0, true to 1, 0.0 to 0. Only whole numbers among texts stay what they are.
    """
    types: dict[str, set[str]] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"row {number + 1} is a {type(row).__name__}, not an object")
        for column, value in row.items():
            if value is not None:
                types.setdefault(column, set()).add(type(value).__name__)
    for column, names in types.items():
        if len(names) > 1 and names != {"int", "str"}:
            raise ValueError(f"column {column} holds {' and '.join(sorted(names))}; write values of one type")
    return pl.from_dicts(rows, infer_schema_length=None)  # pyright: ignore[reportArgumentType] - checked above


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON, in which a name has one value."""
    if len(values := dict(pairs)) < len(pairs):
        twice = next(name for name in values if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"an object has two values of {twice!r}")
    return values


def _read_csv(content: bytes) -> pl.DataFrame:
    return _with_unique_names(pl.read_csv(BytesIO(content), infer_schema=False))


def _read_tsv(content: bytes) -> pl.DataFrame:
    """Read a TSV file, in which a quote is a character like any other, as in those of GLUE."""
    return _with_unique_names(pl.read_csv(BytesIO(content), separator="\t", quote_char=None, infer_schema=False))


def _with_unique_names(table: pl.DataFrame) -> pl.DataFrame:
    """The table of a header in which no name is twice; Polars gives the second one a suffix."""
    for name in table.columns:
        if f"{name}_duplicated_0" in table.columns:
            raise ValueError(f"two columns are named {name!r}; rename one")
    return table


READERS: Mapping[str, Callable[[bytes], pl.DataFrame]] = {
    ".parquet": lambda content: pl.read_parquet(BytesIO(content)),
    ".arrow": _read_arrow,
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
}
"""Reader of each format, by file extension. They take the content: Polars takes a path for a pattern or a URL."""
