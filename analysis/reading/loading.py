"""Result tables, lazily; and which checkpoints count: a duplicate or a quarantined one counts as missing."""

from collections.abc import Iterator

import polars as pl

from dynamics.results.places import Place
from dynamics.results.store import open_store, scan

FLAGS = ("duplicate", "quarantined")
"""Flags of `units` that say that a checkpoint is not, or may not be, what its name says."""
STATE = ["model", "dtype", "control", "step"]


def load(results: Place | str, table: str) -> pl.LazyFrame:
    """A result table, lazily: the rows of all finished units, one row each, flagged checkpoints included.

    Args:
        results: folder that a sweep wrote, or its `s3://` or `gs://` URI.
        table: `contributions`, `predictions`, `component_scores`, `prompt_scores`, `reweightings`, `units`.

    Raises:
        StoreError: the folder holds no results, or there is no such table.
    """
    return scan(open_store(results), table)


def counted(results: Place | str, table: str) -> pl.LazyFrame:
    """A result table without the rows of checkpoints that do not count; what every estimate is made from."""
    left_out = flagged(results).filter(~pl.col("counts")).select(STATE)
    rows = load(results, table)
    return rows.join(left_out.lazy(), on=STATE, how="anti") if len(left_out) else rows


def by_step(rows: pl.LazyFrame) -> Iterator[tuple[int, pl.LazyFrame]]:
    """Each step's rows, ascending: reading one opens its own files only, and need not hold the rows of others."""
    steps = rows.select("step").unique().collect(engine="streaming")["step"].sort()
    yield from ((step, rows.filter(pl.col("step") == step)) for step in steps)


def flagged(results: Place | str) -> pl.DataFrame:
    """The checkpoints that are flagged, and whether they count nevertheless.

    Of several steps with the same weights at most one is what it says, and the hashes do not tell which. So none
    counts, except step 0 where the others are the steps that directly follow it, as in every Pythia model: the weights
    before training are step 0's by definition, whatever came after it.

    Returns:
        One row per (model, dtype, control, step): flags (separated by `+`), counts.
    """
    units = load(results, "units").select(*STATE, "flags", "content_hash").collect()
    mine = pl.col("flags").list.set_intersection(list(FLAGS)).list.sort().list.join("+")
    steps = units.group_by(*STATE, "content_hash").agg(flags=mine.fill_null("").max()).sort(STATE)
    steps = steps.with_columns(order=pl.col("step").rank("dense").over(STATE[:3]))
    twins = [*STATE[:3], "content_hash"]
    follow_directly = pl.col("order").max().over(twins) == pl.len().over(twins)
    initial = (pl.col("step") == 0) & (pl.col("flags") == FLAGS[0]) & follow_directly
    return steps.select(*STATE, "flags", counts=initial).filter(pl.col("flags") != "")


def with_flags(table: pl.DataFrame, results: Place | str) -> pl.DataFrame:
    """The table of an analysis with a column `flagged`: the flagged steps of each row's model, as `1:duplicate 2:...`.

    So every table and every figure can say which checkpoints it lacks.
    """
    keys = [key for key in STATE[:2] if key in table.columns]
    if "model" not in keys:
        return table
    items = pl.format("{}:{}", "step", "flags").sort_by("step").str.join(" ")
    of_model = flagged(results).unique([*keys, "step"]).group_by(keys).agg(flagged=items)
    return table.join(of_model, on=keys, how="left", maintain_order="left").with_columns(
        pl.col("flagged").fill_null("")
    )
