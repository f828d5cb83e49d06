"""Audit of units: each once, complete in every table and within tolerance, and all that plans request."""

from collections.abc import Sequence

import polars as pl

from dynamics.gate import FORWARD_TOLERANCE, TOLERANCE
from dynamics.results.audit.files import Inspected, no_facts
from dynamics.results.audit.fits import check_fits
from dynamics.results.audit.problems import RESUME, Problem, by_part
from dynamics.results.file_names import ADDED, OPTIONAL, part_id
from dynamics.results.metadata import PLAN_REMEDY, SavedPlan
from dynamics.results.schema import TABLES
from dynamics.results.store import CELL

_METADATA = ["forward_id", "content_hash", "task_hash", "versions", "created", "part"]
_ON = ["unit_id", "part"]
_SPLITS = (pl.col("n_train") > 0).cast(pl.Int64) + (pl.col("n_test") > 0).cast(pl.Int64)
_EXPECTED: dict[str, pl.Expr] = {
    "contributions": pl.col("n_test") + pl.col("n_train"),
    "predictions": pl.col("n_test") + pl.col("n_train") + pl.col("n_skipped"),
    "component_scores": pl.col("n_components") * _SPLITS,
}
"""Table -> number of rows of a unit, from its row of `units`; `n_components` is taken from its predictions."""


def committed(files: Sequence[Inspected]) -> pl.DataFrame:
    """All rows of the readable files of `units`, each with the part in the name of its file (`file_part`)."""
    rows = [
        file.facts.with_columns(file_part=pl.lit(file.part.part.name) if file.part else pl.col("part"))
        for file in files
        if file.table == "units" and file.facts is not None
    ]
    return pl.concat([no_facts("units").with_columns(file_part=pl.lit("")), *rows])


def facts_of(files: Sequence[Inspected], table: str) -> pl.DataFrame:
    """Facts on each unit in the readable files of a table, with `part` (null where compacted) and `fits`."""
    readable = [(file.facts, file.part) for file in files if file.table == table and file.facts is not None]
    return pl.concat(
        facts.with_columns(
            part=pl.lit(removal.part.name if removal else None, pl.String),
            fits=pl.lit(removal.fits if removal else None, pl.String),
        )
        for facts, removal in [(no_facts(table), None), *readable]
    )


def check_commits(units: pl.DataFrame) -> list[Problem]:
    """Problems in the rows of `units`: tolerance, metadata, one row per unit and part, one result per cell."""
    done = units.filter(pl.col("status") == "done")
    beyond = [
        (pl.col(name) <= pl.col("dtype").replace_strict(allowed, default=0.0)).fill_null(False).not_()
        | pl.col(name).is_nan()
        for name, allowed in (("decomposition_error", TOLERANCE), ("forward_error", FORWARD_TOLERANCE))
    ]
    faults = [
        ("tolerance", "exceed the tolerance of their dtype", pl.any_horizontal(beyond)),
        ("metadata", "lack hashes, versions or the time", pl.any_horizontal(pl.col(_METADATA).is_null())),
        ("metadata", "name another part than their file's", pl.col("part") != pl.col("file_part")),
        ("duplicate rows", "have two rows in their part", pl.struct(_ON).is_duplicated()),
    ]
    faulty = [(kind, what, done.filter(where).with_columns(part="file_part")) for kind, what, where in faults]
    problems = [problem for kind, what, rows in faulty for problem in by_part(rows, kind, what)]
    return problems + _conflicts(done)


def check_names(units: pl.DataFrame) -> list[Problem]:
    """Parts whose name is not the hash of their units: rows were removed or added after the part was committed."""
    done = units.filter(pl.col("status") == "done")
    ids = done.group_by("file_part").agg(pl.col("unit_id"))
    changed = [part for part, unit_ids in ids.iter_rows() if part_id(unit_ids) != part]
    rows = done.filter(pl.col("file_part").is_in(changed)).with_columns(part="file_part")
    return by_part(rows, "row count", "are not those their part was made of")


def check_tables(units: pl.DataFrame, files: Sequence[Inspected]) -> list[Problem]:
    """Problems of finished units in the tables: missing, too many or duplicate rows, and fits without weights."""
    done = units.filter(pl.col("status") == "done")
    facts = {table: facts_of(files, table) for table in TABLES if table != "units"}
    unreadable = {(file.table, file.part.part.name) for file in files if file.facts is None and file.part}
    on = ["unit_id"] if facts["predictions"]["part"].is_null().all() else _ON
    sizes = facts["predictions"].unique(on).select(*on, "n_components", "n_candidates")
    done = done.join(sizes, on=on, how="left")
    problems = []
    for table, facts_of_table in facts.items():
        if table in ADDED:
            problems += _check_added(done, table, facts_of_table, on)
            continue
        rows = facts_of_table.group_by(on).agg(pl.col("rows", "distinct").sum())
        skip = [part for name, part in unreadable if name == table]
        joined = done.filter(pl.col("part").is_in(skip).not_()).join(rows, on=on, how="left")
        duplicate = joined.filter(pl.col("rows") > pl.col("distinct"))
        problems += by_part(duplicate, "duplicate rows", f"have duplicate rows in {table}")
        if table not in OPTIONAL:
            missing = joined.filter(pl.col("rows").is_null())
            problems += by_part(missing, "missing rows", f"have no rows in {table}")
        if (expected := _EXPECTED.get(table)) is not None:
            other = joined.filter(pl.col("rows") != expected)
            problems += by_part(other, "row count", f"have another number of rows in {table} than `units` says")
    return problems + check_fits(done, facts["prompt_scores"], facts["reweightings"], on)


def _check_added(done: pl.DataFrame, table: str, facts: pl.DataFrame, on: list[str]) -> list[Problem]:
    """Problems of finished units in a table of `ADDED`: its files are removed alone, and measured again."""
    joined = facts.drop("part") if on == ["unit_id"] else facts
    joined = done.join(joined, on=on)
    duplicate = joined.filter(pl.col("rows") > pl.col("distinct"))
    other = joined.filter(pl.col("distinct") != pl.col("expected"))
    what = f"have another number of rows in {table} than what was measured on them has"
    return [
        *by_part(duplicate, "duplicate rows", f"have duplicate rows in {table}"),
        *by_part(other, "row count", what),
    ]


def check_plans(plans: Sequence[SavedPlan], units: pl.DataFrame, files: Sequence[Inspected]) -> list[Problem]:
    """Problems of planned units and fits that are not finished, and plans whose files are lost or changed."""
    done = units.filter(pl.col("status") == "done").select("unit_id").unique()
    failed = units.filter(pl.col("status") != "done").select("unit_id").unique()
    stored = [facts_of(files, table).select("unit_id", "fit_ids") for table in ("prompt_scores", *ADDED)]
    fits = pl.concat(stored).explode("fit_ids").drop_nulls().unique()
    problems = []
    for plan in plans:
        problems += [Problem("plan", "plans", what, PLAN_REMEDY) for what in plan.problems]
        if (record := plan.planned) is None:
            continue
        undone = record.join(done, on="unit_id", how="anti")
        n_failed = undone.join(failed, on="unit_id", how="semi").height
        requested = record.join(done, on="unit_id").select("unit_id", fit_ids="fit_ids").explode("fit_ids").drop_nulls()
        n_unfitted = requested.join(fits, on=["unit_id", "fit_ids"], how="anti")["unit_id"].n_unique()
        counts = [
            ("missing units", undone.height - n_failed, "planned units are missing"),
            ("failed units", n_failed, "planned units failed; `pythia-emergence status OUT` says why"),
            ("fits", n_unfitted, "units lack fits, baselines or mechanisms that the plan requests"),
        ]
        problems += [Problem(kind, f"plan {plan.name}", f"{n} {what}", RESUME) for kind, n, what in counts if n]
    return problems


def _conflicts(done: pl.DataFrame) -> list[Problem]:
    """Problems of cells with two different results, between which readers cannot choose."""
    conflicting = done.unique("unit_id").filter(pl.struct(CELL).is_duplicated()).sort(CELL)
    return [
        Problem(
            "conflict",
            " ".join(str(value) for value in cell),
            f"two different results, in parts {' and '.join(sorted(rows['file_part'].unique()))}",
            "they are of two sweeps with different settings: delete one of the parts in every table, then resume",
        )
        for cell, rows in conflicting.group_by(CELL, maintain_order=True)
    ]
