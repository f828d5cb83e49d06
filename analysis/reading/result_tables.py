"""Result tables, lazily, and the valid rows of them: a duplicate or quarantined checkpoint counts as missing."""

from collections.abc import Iterator

import polars as pl

from analysis.reading.snapshots import record, snapshot
from dynamics.results.places import Place
from dynamics.results.store import Within, read_units

FLAGS = ("duplicate", "quarantined")
"""Flags in `units` of a checkpoint that is not, or may not be, the one its name promises."""
CHECKPOINT = ["model", "dtype", "control", "step"]
"""Columns that identify a checkpoint as it was run."""


def load(results: Place | str, table: str, within: Within | None = None) -> pl.LazyFrame:
    """A result table, lazily: the rows of all finished units, one row each, flagged checkpoints included.

    Args:
        results: folder that a sweep wrote, or its `s3://` or `gs://` URI.
        table: `contributions`, `predictions`, `component_scores`, `prompt_scores`, `reweightings`, `units`.
        within: where only rows of some parts are of interest, these; fewer files are opened then.

    Raises:
        StoreError: the folder holds no results, or there is no such table.
    """
    with snapshot(results) as now:
        return now.scan(table, within)


def all_units(results: Place | str) -> pl.DataFrame:
    """One row per unit, failed ones included.

    Raises:
        StoreError: the folder holds no results.
    """
    with snapshot(results) as now:
        record("units")
        now.listing("units")
        return read_units(now.store)


def valid_rows(results: Place | str, table: str, within: Within | None = None) -> pl.LazyFrame:
    """A result table without the rows of invalid checkpoints; all estimates are made from these rows."""
    invalid = flagged_checkpoints(results).filter(~pl.col("counts")).select(CHECKPOINT)
    rows = load(results, table, within)
    return rows.join(invalid.lazy(), on=CHECKPOINT, how="anti") if len(invalid) else rows


def split_by_step(rows: pl.LazyFrame) -> Iterator[tuple[int, pl.LazyFrame]]:
    """Each step with its rows, ascending: collecting one opens that step's files only and holds no other step."""
    steps = rows.select("step").unique().collect(engine="streaming")["step"].sort()
    yield from ((step, rows.filter(pl.col("step") == step)) for step in steps)


def flagged_checkpoints(results: Place | str) -> pl.DataFrame:
    """The flagged checkpoints, and whether they are valid nevertheless.

    Of several steps with the same weights at most one is the step it claims to be, and the hashes do not tell which. So
    none is valid, except step 0 where the others are the steps that directly follow it, as in every Pythia model: the
    weights before training are step 0's by definition.

    Returns:
        One row per (model, dtype, control, step): flags (joined by `+`), counts (whether the checkpoint is valid).
    """
    with snapshot(results) as now:
        return now.once("flagged", lambda: _flagged(load(results, "units").collect()))


def _flagged(units: pl.DataFrame) -> pl.DataFrame:
    known_flags = pl.col("flags").list.set_intersection(list(FLAGS)).list.sort().list.join("+")
    steps = units.group_by(*CHECKPOINT, "content_hash").agg(flags=known_flags.fill_null("").max()).sort(CHECKPOINT)
    steps = steps.with_columns(order=pl.col("step").rank("dense").over(CHECKPOINT[:3]))
    same_weights = [*CHECKPOINT[:3], "content_hash"]
    follow_directly = pl.col("order").max().over(same_weights) == pl.len().over(same_weights)
    initial = (pl.col("step") == 0) & (pl.col("flags") == FLAGS[0]) & follow_directly
    return steps.select(*CHECKPOINT, "flags", counts=initial).filter(pl.col("flags") != "")


def with_flags(table: pl.DataFrame, results: Place | str) -> pl.DataFrame:
    """The table of an analysis with a column `flagged`: the flagged steps of each row's model, as `1:duplicate 2:...`.

    So every table and every figure can name the checkpoints that it lacks.
    """
    keys = [key for key in CHECKPOINT[:2] if key in table.columns]
    if "model" not in keys:
        return table
    items = pl.format("{}:{}", "step", "flags").sort_by("step").str.join(" ")
    by_model = flagged_checkpoints(results).unique([*keys, "step"]).group_by(keys).agg(flagged=items)
    return table.join(by_model, on=keys, how="left", maintain_order="left").with_columns(
        pl.col("flagged").fill_null("")
    )
