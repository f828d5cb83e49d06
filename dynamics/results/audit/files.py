"""One result file by itself: whole, in its place, of this schema, its numbers sound; and what it holds of each unit."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dynamics.errors import first_line
from dynamics.gate import TOLERANCE
from dynamics.results.audit.findings import REPAIR, Problem, Remark, Removal
from dynamics.results.checksums import damage_of, labels
from dynamics.results.places import Entry, opened, read
from dynamics.results.schema import KEYS, SCHEMA_VERSION, TABLES

_WIDE = {"contributions", "constant", "full", "full_tied", "predictions", "tied", "label_share"}
_BATCH = 256
"""Examples whose contributions are summed at once."""
_CANDIDATE = r"(?:^| )L\d+(?:H\d+|MLP)"
_EXAMPLE = pl.struct("split", "example_id").n_unique()
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
        "fitted": pl.col("fit_id").filter(pl.col("method") == "comp_rw", pl.col("accuracy").is_not_null()).unique(),
    },
    "reweightings": {
        "distinct": pl.struct("fit_id", "component").n_unique(),
        "fit_ids": pl.col("fit_id").drop_nulls().unique().sort(),
    },
}
"""Table -> what is known of each unit in a file, beside `rows`."""


@dataclass(frozen=True)
class Inspected:
    """What one file says.

    Attributes:
        table, entry: the file.
        part: the part it belongs to, with the name of its fits; None in a compacted folder.
        facts: one row per unit: `unit_id`, `rows` and those of `FACTS`; for `units`, its rows as they are.
        problems, remarks: on the file itself; with a problem that keeps it from being read, `facts` is None.
    """

    table: str
    entry: Entry
    part: Removal | None
    facts: pl.DataFrame | None
    problems: tuple[Problem, ...] = ()
    remarks: tuple[Remark, ...] = ()


def inspect(table: str, entry: Entry, part: Removal | None, *, quick: bool = False) -> Inspected:
    """Look at one file.

    Args:
        table: the table in whose folder it lies.
        entry: the file.
        part: what its name says that it belongs to.
        quick: read footers and keys only; neither checksums nor contributions.
    """
    try:
        if quick and entry.size:
            with opened(entry.place) as source:
                return _inspect(table, entry, part, pq.ParquetFile(source), quick=True)
        data = read(entry.place)
        damage = damage_of(data) if data else "empty (0 bytes)"
        if not damage:
            return _inspect(table, entry, part, pq.ParquetFile(pa.BufferReader(data)), quick=False)
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        damage = f"not readable as Parquet ({first_line(error, 80)})"
    return Inspected(table, entry, part, None, (Problem("damaged", str(entry.place), damage, REPAIR, part),))


def _inspect(table: str, entry: Entry, part: Removal | None, file: pq.ParquetFile, *, quick: bool) -> Inspected:
    """A file whose bytes are sound, as far as is known."""
    if wrong := _wrong_schema(table, file):
        return Inspected(table, entry, part, None, (Problem("schema", str(entry.place), wrong, REPAIR, part),))
    rows = _read(table, file)
    found = [("misplaced", text) for text in _misplaced(rows, part)]
    if len(rows) == 0 and table != "reweightings":
        found.append(("rows", "no rows"))
    if table == "contributions" and not quick:
        found += [("values", text) for text in _unsound(file)]
    facts = _facts(table, rows)
    problems = tuple(Problem(kind, str(entry.place), text, REPAIR, part) for kind, text in found)
    return Inspected(table, entry, part, facts, problems, tuple(_remarks(table, entry, file)))


def no_facts(table: str) -> pl.DataFrame:
    """What a file without rows holds."""
    return _facts(table, pl.DataFrame(TABLES[table].empty_table()).select(_narrow(table)))


def _facts(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows if table == "units" else rows.group_by("unit_id").agg(rows=pl.len(), **FACTS[table])


def _wrong_schema(table: str, file: pq.ParquetFile) -> str | None:
    """What keeps a file from being read as this table of this schema version."""
    about = labels(file.metadata.metadata)
    if about.get("table", table) != table:
        return f"holds rows of {about['table']}"
    if about.get("schema_version", str(SCHEMA_VERSION)) != str(SCHEMA_VERSION):
        return f"written with schema version {about['schema_version']}, this is version {SCHEMA_VERSION}"
    there, ours = _polars_schema(file.schema_arrow), _polars_schema(TABLES[table])
    if lacking := sorted(set(KEYS) - set(there)):
        return f"lacks the columns {', '.join(lacking)}"
    for name in ours:
        if name in there and there[name] != ours[name]:
            return f"column {name} is {there[name]}, not {ours[name]}"
    return None


def _polars_schema(schema: pa.Schema) -> pl.Schema:
    """Types as Polars reads them, without what is a matter of encoding."""
    return pl.DataFrame(schema.empty_table()).schema


def _read(table: str, file: pq.ParquetFile) -> pl.DataFrame:
    """The rows of a file without its wide columns; columns that an older version did not write are null."""
    wanted, there = _narrow(table), set(file.schema_arrow.names)
    rows = pl.DataFrame(file.read(columns=[name for name in wanted if name in there]))
    schema = _polars_schema(TABLES[table])
    lacking = [pl.lit(None, schema[name]).alias(name) for name in wanted if name not in there]
    return rows.with_columns(lacking).select(wanted)


def _narrow(table: str) -> list[str]:
    """The columns that are not wide."""
    return [name for name in TABLES[table].names if name not in _WIDE]


def _misplaced(rows: pl.DataFrame, part: Removal | None) -> list[str]:
    """Rows of another model, step or task than the file's place says."""
    if part is None:
        return []
    place = {"model": part.part.model, "step": part.part.step, "task": part.part.task}
    others = rows.filter(pl.any_horizontal(pl.col(name) != value for name, value in place.items()))
    if others.is_empty():
        return []
    first = " ".join(str(value) for value in others.select(place.keys()).row(0))
    return [f"{len(others)} rows are of another model, step or task than the file's place, the first of {first}"]


def _unsound(file: pq.ParquetFile) -> list[str]:
    """Contributions whose lists have other lengths than they say, or that miss the stored logits.

    The error is that of `dynamics.decomposition`: `max |sum of parts - full| / max(1, max |full|)` over a unit.
    """
    columns = ["unit_id", "dtype", "n_components", "n_labels", "contributions", "constant", "full"]
    missed: list[pl.DataFrame] = []
    for batch in file.iter_batches(_BATCH, columns=columns):
        for _, rows in pl.DataFrame(batch).group_by("n_components", "n_labels", maintain_order=True):
            if (found := _missed(rows)) is None:
                return [f"lists of unit {rows['unit_id'][0]} have other lengths than n_components and n_labels say"]
            missed.append(found)
    if not missed:
        return []
    by_unit = pl.concat(missed).group_by("unit_id", "dtype").agg(pl.col("missed", "full").nan_max())
    errors = by_unit.with_columns(error=pl.col("missed") / pl.col("full").clip(1))
    allowed = pl.col("dtype").replace_strict(TOLERANCE, default=0.0, return_dtype=pl.Float64)
    bad = errors.filter((pl.col("error") <= allowed).not_() | pl.col("error").is_nan()).sort("unit_id")
    what = "parts miss the stored logits by {:.1e}, more than its dtype allows"
    return [f"unit {row['unit_id']}: {what.format(row['error'])}" for row in bad.iter_rows(named=True)]


def _missed(rows: pl.DataFrame) -> pl.DataFrame | None:
    """Per example, by how much its parts miss its logits, and how large these are; None where lists are cut."""
    shape = (len(rows), rows["n_components"][0], rows["n_labels"][0])
    sizes = {"contributions": shape[1] * shape[2], "constant": shape[2], "full": shape[2]}
    if any((rows[name].list.len() != size).any() for name, size in sizes.items()):
        return None
    parts, constant, full = (rows[name].explode().to_numpy().reshape(len(rows), -1) for name in sizes)
    missed = np.abs(parts.reshape(shape).sum(1, dtype=np.float64) + constant - full).max(1)
    return rows.select("unit_id", "dtype", missed=missed, full=np.abs(full).astype(np.float64).max(1))


def _remarks(table: str, entry: Entry, file: pq.ParquetFile) -> list[Remark]:
    found = []
    if not labels(file.metadata.metadata):
        found.append(Remark("unsealed", str(entry.place), "without a checksum: written by an older version"))
    if set(TABLES[table].names) - set(file.schema_arrow.names):
        found.append(Remark("older", str(entry.place), "without newer columns, which read as null"))
    return found
