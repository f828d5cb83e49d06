"""Groups: the settings that one curve over training is drawn for, averaged over prompts."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from analysis.reading.result_tables import valid_rows
from dynamics.results.places import Place

Schema = dict[str, pl.DataType | type[pl.DataType]]


class Group(NamedTuple):
    """A group: the settings of one curve over training, which averages over prompts, that is (template, demo_seed)."""

    model: str
    dtype: str
    control: str
    task: str
    n_shots: int

    @property
    def keys(self) -> dict[str, object]:
        """The group's columns of a row."""
        return self._asdict()

    @property
    def matches(self) -> pl.Expr:
        """Whether a row of a result table is the group's."""
        return pl.all_horizontal(pl.col(name) == value for name, value in self.keys.items())


GROUP = list(Group._fields)
GROUP_SCHEMA: Schema = {**dict.fromkeys(GROUP, pl.String), "n_shots": pl.Int64}


def constant_columns(values: Mapping[str, object]) -> list[pl.Expr]:
    """Columns with one value each, whole numbers as Int64: for a table of one group or step."""
    dtypes = {str: pl.String, int: pl.Int64}
    return [pl.lit(value, dtypes[type(value)]).alias(name) for name, value in values.items()]


def groups(results: Place) -> list[Group]:
    """The groups in the results, sorted."""
    rows = valid_rows(results, "units").select(GROUP).unique().sort(GROUP).collect().rows()
    return [Group(*row) for row in rows]
