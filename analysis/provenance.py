"""Where do the numbers come from? Checkpoints with their commits, flags, failures and the errors of their checks."""

import polars as pl

from analysis.reading.result_tables import CHECKPOINT, all_units, flagged_checkpoints
from dynamics.results.metadata import saved_plans
from dynamics.results.places import Place
from dynamics.results.store import open_store


def provenance(results: Place) -> pl.DataFrame:
    """What was run, checkpoint by checkpoint, flagged and failed ones included.

    Returns:
        One row per (model, dtype, control, step): revision, tokens_seen, commit_sha (Hub commit or hash of local
        weights; several joined by a space), flags, counts (whether estimates use it), n_units finished, n_failed,
        errors of the failed units (distinct first lines), decomposition_error and forward_error (the largest),
        devices, versions, tokenizer (that the plan names, if it names one), notes (what is known of the checkpoint).
    """
    units = all_units(results)
    done = pl.col("status") == "done"
    table = units.group_by(CHECKPOINT).agg(
        revision=_distinct("revision"),
        tokens_seen=pl.col("tokens_seen").first(),
        commit_sha=_distinct("commit_sha"),
        n_units=done.sum(),
        n_failed=(~done).sum(),
        errors=_distinct("error", "; "),
        decomposition_error=pl.col("decomposition_error").max(),
        forward_error=pl.col("forward_error").max(),
        devices=_distinct("device"),
        versions=_distinct("versions", "; "),
        tokenizer=_distinct("tokenizer", "; "),
        notes=pl.col("notes").list.explode().drop_nulls().unique().sort().str.join("; "),
    )
    with_flags = table.join(_flags(units, results), on=CHECKPOINT, how="left").with_columns(
        pl.col("flags").fill_null(""), pl.col("counts").fill_null(True) & (pl.col("n_units") > 0)
    )
    first = [*CHECKPOINT, "revision", "tokens_seen", "commit_sha", "flags", "counts"]
    return with_flags.select(*first, pl.exclude(first)).sort(CHECKPOINT)


def plans(results: Place) -> dict[str, str]:
    """The plans that were swept into the folder: file name -> text."""
    return {place.rsplit("/", 1)[-1]: text for place, text in saved_plans(open_store(results)).items()}


def _flags(units: pl.DataFrame, results: Place) -> pl.DataFrame:
    """The flagged checkpoints; none where no unit is finished, since only finished ones are read."""
    if (units["status"] == "done").any():
        return flagged_checkpoints(results)
    return units.clear().select(*CHECKPOINT, flags=pl.lit(""), counts=pl.lit(True))


def _distinct(column: str, separator: str = " ") -> pl.Expr:
    return pl.col(column).drop_nulls().unique().sort().str.join(separator)
