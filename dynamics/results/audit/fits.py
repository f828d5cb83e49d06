"""Audit of scores and weights of units: every method once, all fits of a file, and one fit to a name."""

import polars as pl

from dynamics.methods.baselines import PROMPT_SELECTION, STANDARD
from dynamics.methods.fits import FIT_METHODS, SELECTION_METHODS
from dynamics.methods.label_free import LABEL_FREE
from dynamics.results.audit.problems import Problem, by_part
from dynamics.results.file_names import fits_name
from dynamics.results.store import FIT
from dynamics.results.tables import BASE_METHODS

_PER_UNIT = (STANDARD, PROMPT_SELECTION, *LABEL_FREE)
"""Methods of which a file may hold the rows of some of a part's units only."""
_METHODS_OF_A_FIT = [" ".join(sorted(methods)) for methods in (FIT_METHODS, SELECTION_METHODS)] + list(_PER_UNIT)


def check_fits(done: pl.DataFrame, scores: pl.DataFrame, weights: pl.DataFrame, on: list[str]) -> list[Problem]:
    """Problems of `prompt_scores` and `reweightings`.

    Args:
        done: finished units, with `n_candidates`.
        scores, weights: facts on units in the files of the two tables.
        on: columns that identify a unit in them.
    """
    base = scores.group_by(on).agg(pl.col("base").sum())
    lacking = done.join(base, on=on).filter(pl.col("base") != len(BASE_METHODS))
    rows = scores.select("unit_id", "part", "fits", row="fit_rows").explode("row").drop_nulls("row").unnest("row")
    return [
        *by_part(lacking, "row count", f"have not one row of {', '.join(BASE_METHODS)} each in prompt_scores"),
        *_rows_of_fits(done, rows, on),
        *_fits_of_files(done, rows),
        *_repeated(done, scores, on),
        *_weights(done, scores, weights, on),
        *_conflicts(rows.join(done, on=on, how="semi")),
    ]


def _rows_of_fits(done: pl.DataFrame, rows: pl.DataFrame, on: list[str]) -> list[Problem]:
    """Fits that lack a method's row, such as Calib+ beside COMP RW."""
    file = [*on, "fits"]
    methods = rows.group_by(*file, "fit_id").agg(pl.col("method").unique().sort().str.join(" "))
    wrong = methods.filter(pl.col("method").is_in(_METHODS_OF_A_FIT).not_()).select(file).unique()
    return by_part(done.join(wrong, on=on), "row count", "lack a method's row of a fit in prompt_scores")


def _fits_of_files(done: pl.DataFrame, rows: pl.DataFrame) -> list[Problem]:
    """Files of fits that lack a fit of some unit of their part, or hold other fits than their name is a hash of."""
    pairs = rows.filter(pl.col("method").is_in(_PER_UNIT).not_()).drop_nulls("fits")
    by_file = pairs.select("unit_id", "part", "fits", "fit_id").unique().group_by("part", "fits")
    files = by_file.agg(pl.col("fit_id").unique(), n_pairs=pl.len()).join(
        done.group_by("part").len("n_units"), on="part"
    )
    wrong = [
        (part, fits)
        for part, fits, fit_ids, n_pairs, n_units in files.iter_rows()
        if n_pairs != n_units * len(fit_ids) or fits_name(fit_ids) != fits
    ]
    named = pl.DataFrame(wrong, schema={"part": pl.String, "fits": pl.String}, orient="row")
    return by_part(done.join(named, on="part"), "row count", "have not the fits their file was made of")


def _repeated(done: pl.DataFrame, scores: pl.DataFrame, on: list[str]) -> list[Problem]:
    """The same fit in two files."""
    repeated = scores.explode("fit_ids").drop_nulls("fit_ids").filter(pl.struct(*on, "fit_ids").is_duplicated())
    duplicate = done.join(repeated.select(*on, "fits").unique(on), on=on)
    return by_part(duplicate, "duplicate rows", "have the same fit in two files")


def _weights(done: pl.DataFrame, scores: pl.DataFrame, weights: pl.DataFrame, on: list[str]) -> list[Problem]:
    """Not one weight per candidate for each accuracy of COMP RW."""
    file = [*on, "fits"]
    fitted = scores.group_by(file).agg(n_fitted=pl.col("fitted").list.len().sum())
    both = fitted.join(
        weights.group_by(file).agg(pl.col("rows").sum()), on=file, how="full", coalesce=True, nulls_equal=True
    )
    counts = done.join(both.with_columns(pl.col("n_fitted", "rows").fill_null(0)), on=on)
    wrong = counts.filter(pl.col("rows") != pl.col("n_fitted") * pl.col("n_candidates"))
    return by_part(wrong, "fits", "have other weights in reweightings than COMP RW has rows in prompt_scores")


def _conflicts(rows: pl.DataFrame) -> list[Problem]:
    """Names under which two fits are stored, which analyses would average."""
    files = pl.col("fits").drop_nulls().unique().sort().str.join(" ")
    by_fit = rows.group_by(*FIT, "fit_id").agg(pl.col("unit_id").n_unique(), files)
    shared = by_fit.filter(pl.struct(FIT).is_duplicated()).sort(*FIT, "fit_id")
    problems = []
    for (method, variant, n_labelled), fits in shared.group_by(FIT, maintain_order=True):
        rows_of_fits = fits.select("fit_id", "unit_id", "fits").iter_rows()
        units_of_fits = [f"{fit_id} of {n} units (fits {names})" for fit_id, n, names in rows_of_fits]
        problems.append(
            Problem(
                "conflict",
                f"{method} {variant!r} at K = {n_labelled}",
                f"two fits of one name, which analyses average: {' and '.join(units_of_fits)}",
                "they are of plans that give one name to two settings: delete the files *.<fits>.parquet of one of the "
                "two in prompt_scores and reweightings and its plan in OUT/plans, then sweep the other's plan again",
            )
        )
    return problems
