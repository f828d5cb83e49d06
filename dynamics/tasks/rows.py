"""Rows from tables: columns to template fields, raw label values to labels."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.errors import PlanError, unknown
from dynamics.tasks import Row

if TYPE_CHECKING:  # plans name columns, and are checked before a table is read
    import polars as pl

SPLIT_SEED = 2406
"""Seed of halving a single split and of sampling a very long one."""

MAX_ROWS = 20_000
"""Largest number of rows used of a split: large grids use a few thousand, and every worker hashes all of them."""

Record = dict[str, Any]

CONVERT = "give text, numbers or truth values: convert the column, or name another"


@dataclass(frozen=True)
class Columns:
    """Meaning of a table's columns.

    Attributes:
        fields: template field -> column.
        label: the column of the gold label.
        labels: its raw values in label order; compared as text, so that 1 in a CSV file is the number 1.
        unpack: one raw record -> the flat records it contains, for nested tables.
        raw: the columns that `unpack` reads.
        groups: the columns whose values rows that belong together have in common, in whichever of them.
    """

    fields: Mapping[str, str]
    label: str
    labels: tuple[str | int | bool, ...]
    unpack: Callable[[Record], Iterable[Record]] | None = None
    raw: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split, where they come from, and notes on them."""

    rows: tuple[Row, ...]
    source: str
    notes: tuple[str, ...] = ()


def table_rows(table: "pl.DataFrame", columns: Columns, *, prefix: str, where: str) -> tuple[Row, ...]:
    """The rows of a table, in order, without those that have an empty text.

    A table longer than `MAX_ROWS` is sampled (seeded). Ids number the rows of the table itself, so they do not depend
    on which rows are left out. White space around texts is stripped, since prompts depend on every space.

    Args:
        table: the table.
        columns: the meaning of its columns.
        prefix: prefix of the rows' ids.
        where: name of the file in messages.

    Raises:
        PlanError: a column is missing or holds no text, or a label value is not in `columns.labels`; names the file,
            row and remedy.
    """
    _check_columns(table.columns, columns, where)
    rows = []
    for number, record in _sample(table):
        place = f"row {number + 1} of {where}"
        for inner, part in _unpacked(record, columns, place):
            fields = {
                name: (_text(part[column], column, place) or "").strip() for name, column in columns.fields.items()
            }
            if all(fields.values()):
                gold = _gold(part[columns.label], columns, place)
                links = ((_text(part[column], column, place) or "").strip() for column in columns.groups)
                rows.append(Row(f"{prefix}-{number:06d}{inner}", fields, gold, tuple(filter(None, links))))
    return tuple(rows)


def _sample(table: "pl.DataFrame") -> Iterable[tuple[int, Record]]:
    """The records of a table with their row numbers, at most `MAX_ROWS`."""
    numbers = np.arange(table.height)
    if table.height > MAX_ROWS:
        rng = np.random.default_rng(SPLIT_SEED)
        numbers = np.sort(rng.choice(table.height, MAX_ROWS, replace=False))
        table = table[numbers.tolist()]
    return zip(numbers.tolist(), table.iter_rows(named=True), strict=True)


def _unpacked(record: Record, columns: Columns, where: str) -> list[tuple[str, Record]]:
    """The flat records of one raw record, each with the suffix of its id."""
    if columns.unpack is None:
        return [("", record)]
    try:
        return [(f".{i}", part) for i, part in enumerate(columns.unpack(record))]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(
            f"{where} is not of the dataset's form ({type(error).__name__}: {error}); check that it is the right file"
        ) from error


def _check_columns(existing: Sequence[str], columns: Columns, where: str) -> None:
    needed = columns.raw if columns.unpack else (*columns.fields.values(), columns.label, *columns.groups)
    for column in needed:
        if column not in existing:
            raise PlanError(unknown(f"column of {where}:", column, existing))


def _text(value: object, column: str, where: str) -> str | None:
    """A cell as text; None where it is missing.

    Raises:
        PlanError: it is not text, a number or a truth value, or not what was written.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise PlanError(f"column {column} of {where} holds bytes that are not UTF-8; {CONVERT}") from error
    if not isinstance(value, str | int | float | Decimal):
        raise PlanError(f"column {column} of {where} holds a {type(value).__name__}; {CONVERT}")
    text = str(value)
    if "\0" in text:
        raise PlanError(
            f"column {column} of {where} holds a NUL character, as a broken \\u escape of JSON becomes; correct it"
        )
    return text


def _gold(value: object, columns: Columns, where: str) -> int:
    """Index of a raw label value."""
    labels = [str(label) for label in columns.labels]
    text = _text(value, columns.label, where)
    if text not in labels:
        raise PlanError(
            unknown(f"value of column {columns.label} in {where}:", text if isinstance(value, bytes) else value, labels)
            + "; list it among the labels, or take the row out"
        )
    return labels.index(text)
