"""Rows of `mechanisms` and `ablations` for units with planted answers, in files of their own as sweeps write them."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

import analysis
from dynamics.results.file_names import Part, fits_name
from dynamics.results.schema import KEYS
from dynamics.results.store import ResultStore, write_fits
from dynamics.results.tables import table


def add_rows(store: ResultStore, name: str, rows: Sequence[Mapping[str, object]], **keys: object) -> None:
    """Add rows of a table to the one unit that `keys` match."""
    [unit] = analysis.load(store.root, "units").filter(**keys).collect().iter_rows(named=True)
    unit_keys = {key: unit[key] for key in KEYS}
    tables = [table(name, unit_keys, {column: [value] for column, value in row.items()}) for row in rows]
    part = Part(unit["model"], unit["step"], unit["task"], unit["part"])
    write_fits(store, part, fits_name([name]), {name: pa.concat_tables(tables)})


def of_heads(measure: str, values: Mapping[str, float], *, sd: float | None = 0.1, n: int = 200) -> list[dict]:
    """Rows of `mechanisms`: one measure of heads by name."""
    return [{"measure": measure, "component": c, "value": value, "sd": sd, "n": n} for c, value in values.items()]
