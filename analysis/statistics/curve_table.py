"""A table that is computed from curves; `analysis.curve_tables` makes all such tables in one pass."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from analysis.reading.groups import Schema
from analysis.statistics.curves import GroupCurves

Row = dict[str, object]


@dataclass(frozen=True)
class CurveTable:
    """How a table is computed from curves.

    Attributes:
        rows: one group's curves -> its rows.
        schema: the columns.
        order: the columns that rows are sorted by.
    """

    rows: Callable[[GroupCurves], Iterable[Row]]
    schema: Schema
    order: Sequence[str]

    def table(self, rows: Sequence[Row]) -> pl.DataFrame:
        """The rows of all groups as a table."""
        return pl.DataFrame(rows, schema=self.schema).sort(self.order)
