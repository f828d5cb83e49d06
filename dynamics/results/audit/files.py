"""Audit of one result file: checksum, path, schema and values; and facts on each unit in it for further checks."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dynamics.errors import first_line
from dynamics.gate import TOLERANCE
from dynamics.results.audit.problems import REPAIR, Problem, Removal
from dynamics.results.checksums import damage_of, footer_metadata
from dynamics.results.file_names import OPTIONAL
from dynamics.results.places import Entry, open_file, read
from dynamics.results.schema import KEYS, SCHEMA_VERSION, TABLES
from dynamics.results.store import FIT

_LARGE = {
    "contributions",
    "constant",
    "full",
    "full_tied",
    "predictions",
    "tied",
    "label_share",
    "label_means",
    "label_prior",
}
"""Columns that are not read to check rows."""
_BATCH = 256
"""Number of examples whose contributions are summed at once."""
_CANDIDATE = r"(?:^| )L\d+(?:H\d+|MLP)"
_EXAMPLE = pl.struct("split", "example_id").n_unique()
_ABLATIONS = (
    pl.col("fit_id").n_unique()
    + pl.col("fit_id").filter(pl.col("selection") != "none").n_unique() * 2
    + pl.col("selection").str.starts_with("random-").sum()
    + pl.col("n_components").filter(pl.col("selection").is_in(["top", "bottom", "random-0"])).sum()
)
"""Rows of a unit: the full model and both chosen sets of each setting, the drawn sets, and single components of three.

A drawn set that is lost without its file is not seen, but for the first.
"""
FACTS: dict[str, dict[str, pl.Expr]] = {
    "contributions": {"distinct": _EXAMPLE},
    "predictions": {
        "distinct": _EXAMPLE,
        "skipped": pl.col("reason").is_not_null().sum(),
        "n_components": pl.col("components").drop_nulls().first().str.count_matches(" ") + 1,
        "n_candidates": pl.col("components").drop_nulls().first().str.count_matches(_CANDIDATE),
    },
    "component_scores": {"distinct": pl.struct("split", "component").n_unique(), "splits": pl.col("split").n_unique()},
    "prompt_scores": {
        "distinct": pl.struct("split", "method", "variant", "n_labelled", "fit_id").n_unique(),
        "base": pl.col("fit_id").is_null().sum(),
        "fit_ids": pl.col("fit_id").drop_nulls().unique().sort(),
        "fit_rows": pl.struct("fit_id", *FIT).filter(pl.col("fit_id").is_not_null()),
        "fitted": pl.col("fit_id").filter(pl.col("method") == "comp_rw", pl.col("accuracy").is_not_null()).unique(),
    },
    "reweightings": {
        "distinct": pl.struct("fit_id", "component").n_unique(),
        "fit_ids": pl.col("fit_id").drop_nulls().unique().sort(),
    },
    "mechanisms": {
        "distinct": pl.struct("fit_id", "measure", "component").n_unique(),
        "expected": pl.struct("fit_id", "measure").n_unique() * pl.col("component").n_unique(),
        "fit_ids": pl.col("fit_id").unique().sort(),
    },
    "ablations": {
        "distinct": pl.struct("fit_id", "selection", "components").n_unique(),
        "expected": _ABLATIONS,
        "fit_ids": pl.col("fit_id").unique().sort(),
    },
}
"""Table -> facts on each unit in a file, beside its number of `rows`."""


@dataclass(frozen=True)
class Inspected:
    """Result of the audit of one file.

    Attributes:
        table, entry: the file.
        part: the part it belongs to, and the set of fits; None in a compacted folder.
        facts: one row per unit: `unit_id`, `rows` and those of `FACTS`; for `units`, its rows as they are. None where
            the file cannot be read or its rows belong elsewhere.
        problems: problems of the file itself.
    """

    table: str
    entry: Entry
    part: Removal | None
    facts: pl.DataFrame | None
    problems: tuple[Problem, ...] = ()


def inspect(table: str, entry: Entry, part: Removal | None, *, quick: bool = False) -> Inspected:
    """Check one file.

    Args:
        table: the table whose folder it is in.
        entry: the file.
        part: the part and fits that it belongs to by its name.
        quick: read footers and keys only; neither checksums nor contributions.
    """
    try:
        if quick and entry.size:
            with open_file(entry.place) as source:
                return _inspect(table, entry, part, pq.ParquetFile(source), quick=True)
        data = read(entry.place)
        damage = damage_of(data) if data else "empty (0 bytes)"
        if not damage:
            return _inspect(table, entry, part, pq.ParquetFile(pa.BufferReader(data)), quick=False)
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        damage = f"not readable as Parquet ({first_line(error, 80)})"
    return Inspected(table, entry, part, None, (Problem("damaged", str(entry.place), damage, REPAIR, part),))


def _inspect(table: str, entry: Entry, part: Removal | None, file: pq.ParquetFile, *, quick: bool) -> Inspected:
    """Check a file that can be read."""
    if difference := _schema_difference(table, file):
        return Inspected(table, entry, part, None, (Problem("schema", str(entry.place), difference, REPAIR, part),))
    rows = _read(table, file)
    if misplaced := _misplaced(rows, part):
        return Inspected(table, entry, part, None, (Problem("misplaced", str(entry.place), misplaced, REPAIR, part),))
    faults: list[tuple[str, str]] = []
    if len(rows) == 0 and table not in OPTIONAL:
        faults.append(("missing rows", "no rows"))
    if table == "contributions" and not quick:
        faults += [("values", text) for text in _wrong_values(file)]
    problems = tuple(Problem(kind, str(entry.place), text, REPAIR, part) for kind, text in faults)
    return Inspected(table, entry, part, _facts(table, rows), problems)


def no_facts(table: str) -> pl.DataFrame:
    """The facts in a file without rows."""
    return _facts(table, _no_rows(table))


def _facts(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows if table == "units" else rows.group_by("unit_id").agg(rows=pl.len(), **FACTS[table])


def _schema_difference(table: str, file: pq.ParquetFile) -> str | None:
    """How a file differs from this table of this schema version; None where it does not."""
    metadata = footer_metadata(file.metadata.metadata)
    if metadata.get("table") != table:
        return f"holds rows of {metadata.get('table', 'no known table')}, not of {table}"
    if metadata.get("schema_version") != str(SCHEMA_VERSION):
        return f"has schema version {metadata.get('schema_version')}, not {SCHEMA_VERSION}"
    actual, expected = _polars_schema(file.schema_arrow), _polars_schema(TABLES[table])
    if missing := sorted(set(KEYS) - set(actual)):
        return f"lacks the columns {', '.join(missing)}"
    for name in expected:
        if name in actual and actual[name] != expected[name]:
            return f"column {name} is {actual[name]}, not {expected[name]}"
    return None


def _polars_schema(schema: pa.Schema) -> pl.Schema:
    """The types as Polars reads them, which do not depend on the encoding."""
    return pl.DataFrame(schema.empty_table()).schema


def _read(table: str, file: pq.ParquetFile) -> pl.DataFrame:
    """The rows of a file, without the columns in `_LARGE`; columns that the file lacks are null, as for readers."""
    columns = [name for name in _no_rows(table).columns if name in file.schema_arrow.names]
    return pl.concat([_no_rows(table), pl.DataFrame(file.read(columns=columns))], how="diagonal")


def _no_rows(table: str) -> pl.DataFrame:
    """A frame without rows that has the columns of a table, except those in `_LARGE`."""
    return pl.DataFrame(TABLES[table].empty_table()).select(pl.exclude(*_LARGE))


def _misplaced(rows: pl.DataFrame, part: Removal | None) -> str | None:
    """What rows are of another model, step or task than the file's path says; None where there are none."""
    if part is None:
        return None
    expected = {"model": part.part.model, "step": part.part.step, "task": part.part.task}
    others = rows.filter(pl.any_horizontal(pl.col(name) != value for name, value in expected.items()))
    if others.is_empty():
        return None
    first = " ".join(str(value) for value in others.select(expected.keys()).row(0))
    return f"{len(others)} rows are of another model, step or task than the file's path, the first of {first}"


def _wrong_values(file: pq.ParquetFile) -> list[str]:
    """Descriptions of contributions whose lists have the wrong length, or that do not sum to the stored logits.

    The error is that of `dynamics.decomposition`: `max |sum of parts - full| / max(1, max |full|)` over a unit.
    """
    columns = ["unit_id", "dtype", "n_components", "n_labels", "contributions", "constant", "full"]
    differences: list[pl.DataFrame] = []
    for batch in file.iter_batches(_BATCH, columns=columns):
        for _, rows in pl.DataFrame(batch).group_by("n_components", "n_labels", maintain_order=True):
            if (differences_of_rows := _differences(rows)) is None:
                return [f"lists of unit {rows['unit_id'][0]} have other lengths than n_components and n_labels say"]
            differences.append(differences_of_rows)
    if not differences:
        return []
    by_unit = pl.concat(differences).group_by("unit_id", "dtype").agg(pl.col("difference", "full").nan_max())
    errors = by_unit.with_columns(error=pl.col("difference") / pl.col("full").clip(1))
    allowed = pl.col("dtype").replace_strict(TOLERANCE, default=0.0, return_dtype=pl.Float64)
    beyond = errors.filter((pl.col("error") <= allowed).not_() | pl.col("error").is_nan()).sort("unit_id")
    what = "parts differ from the stored logits by {:.1e}, more than its dtype allows"
    return [f"unit {row['unit_id']}: {what.format(row['error'])}" for row in beyond.iter_rows(named=True)]


def _differences(rows: pl.DataFrame) -> pl.DataFrame | None:
    """Per example, `max |sum of parts - full|` and `max |full|`; None where lists have the wrong length."""
    shape = (len(rows), rows["n_components"][0], rows["n_labels"][0])
    sizes = {"contributions": shape[1] * shape[2], "constant": shape[2], "full": shape[2]}
    if any((rows[name].list.len() != size).any() for name, size in sizes.items()):
        return None
    parts, constant, full = (rows[name].explode().to_numpy().reshape(len(rows), -1) for name in sizes)
    difference = np.abs(parts.reshape(shape).sum(1, dtype=np.float64) + constant - full).max(1)
    return rows.select("unit_id", "dtype", difference=difference, full=np.abs(full).astype(np.float64).max(1))
