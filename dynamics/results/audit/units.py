"""Units against all tables: each once, complete in every table, within the gate, and all that plans ask for."""

from collections.abc import Mapping, Sequence

import polars as pl

from dynamics.gate import FORWARD_TOLERANCE, TOLERANCE
from dynamics.results.audit.files import Inspected, no_facts
from dynamics.results.audit.findings import REPAIR, RESUME, Problem, Remark, Removal
from dynamics.results.schema import TABLES
from dynamics.results.store import CELL, Part, part_id

_METADATA = ["forward_id", "content_hash", "task_hash", "versions", "created", "part"]
_ON = ["unit_id", "part"]
_FILE = ["model", "step", "task", "part", "fits"]
_SPLITS = (pl.col("n_train") > 0).cast(pl.Int64) + (pl.col("n_test") > 0).cast(pl.Int64)
_EXPECTED: dict[str, pl.Expr] = {
    "contributions": pl.col("n_test") + pl.col("n_train"),
    "predictions": pl.col("n_test") + pl.col("n_train") + pl.col("n_skipped"),
    "component_scores": pl.col("n_components") * _SPLITS,
}
"""Table -> rows that a unit has there, from its row of `units`; `n_components` is taken from its predictions."""


def committed(files: Sequence[Inspected]) -> pl.DataFrame:
    """All rows of the readable files of `units`, each with the part that its file is (`file_part`)."""
    rows = [
        one.facts.with_columns(file_part=pl.lit(one.part.part.name) if one.part else pl.col("part"))
        for one in files
        if one.table == "units" and one.facts is not None
    ]
    return pl.concat([no_facts("units").with_columns(file_part=pl.lit("")), *rows])


def facts_of(files: Sequence[Inspected], table: str) -> pl.DataFrame:
    """What the readable files of a table hold of each unit: facts, `part` (null where compacted) and `fits`."""
    found = [(one.facts, one.part) for one in files if one.table == table and one.facts is not None]
    named = [(no_facts(table), None), *found]
    return pl.concat(
        facts.with_columns(
            part=pl.lit(removal.part.name if removal else None, pl.String),
            fits=pl.lit(removal.fits if removal else None, pl.String),
        )
        for facts, removal in named
    )


def check_commits(units: pl.DataFrame) -> list[Problem]:
    """The rows of `units` themselves: names, metadata, the gate, one row a unit and one unit a cell."""
    done = units.filter(pl.col("status") == "done")
    beyond = [
        (pl.col(name) <= pl.col("dtype").replace_strict(allowed, default=0.0)).fill_null(False).not_()
        | pl.col(name).is_nan()
        for name, allowed in (("decomposition_error", TOLERANCE), ("forward_error", FORWARD_TOLERANCE))
    ]
    faults = [
        ("error", "are beyond the gate of their dtype", pl.any_horizontal(beyond)),
        ("metadata", "lack hashes, versions or the time", pl.any_horizontal(pl.col(_METADATA).is_null())),
        ("metadata", "name another part than their file's", pl.col("part") != pl.col("file_part")),
        ("double", "stand twice in their part", pl.struct(_ON).is_duplicated()),
    ]
    found = [problem for kind, what, where in faults for problem in _by_part(done.filter(where), kind, what)]
    return found + _conflicts(done)


def check_names(units: pl.DataFrame) -> list[Problem]:
    """Parts whose name is not the hash of their units: rows were lost or added after the part was committed."""
    done = units.filter(pl.col("status") == "done")
    ids = done.group_by("file_part").agg(pl.col("unit_id"))
    wrong = [part for part, of in ids.iter_rows() if part_id(of) != part]
    return _by_part(done.filter(pl.col("file_part").is_in(wrong)), "rows", "are not those that their part was made of")


def check_tables(units: pl.DataFrame, files: Sequence[Inspected]) -> list[Problem]:
    """Every finished unit against each table: the rows that `units` says, none twice; fits and weights agree."""
    done = units.filter(pl.col("status") == "done")
    facts = {table: facts_of(files, table) for table in TABLES if table != "units"}
    broken = {(one.table, one.part.part.name) for one in files if one.facts is None and one.part}
    on = ["unit_id"] if facts["predictions"]["part"].is_null().all() else _ON
    sizes = facts["predictions"].unique(on).select(*on, "n_components", "n_candidates")
    done = done.join(sizes, on=on, how="left")
    found = []
    for table, of_table in facts.items():
        rows = of_table.group_by(on).agg(pl.col("rows", "distinct").sum())
        skip = [part for name, part in broken if name == table]
        joined = done.filter(pl.col("part").is_in(skip).not_()).join(rows, on=on, how="left")
        found += _by_part(joined.filter(pl.col("rows") > pl.col("distinct")), "double", f"have rows twice in {table}")
        if table != "reweightings":
            lost = joined.filter(pl.col("rows").is_null())
            found += _by_part(lost, "lost", f"have no rows in {table}")
        if (expected := _EXPECTED.get(table)) is not None:
            other = joined.filter(pl.col("rows") != expected)
            found += _by_part(other, "rows", f"have another number of rows in {table} than `units` says")
    return found + _check_fits(done, facts, on)


def _check_fits(done: pl.DataFrame, facts: Mapping[str, pl.DataFrame], on: list[str]) -> list[Problem]:
    """Each fit once, and, set of fits by set of fits, a weight for each candidate where COMP RW has an accuracy."""
    scores, weights = facts["prompt_scores"], facts["reweightings"]
    twice = scores.explode("fit_ids").drop_nulls("fit_ids").filter(pl.struct(*on, "fit_ids").is_duplicated())
    joined = done.join(twice.select(*on, "fits").unique(on), on=on)
    file = [*on, "fits"]
    fitted = scores.group_by(file).agg(n_fitted=pl.col("fitted").list.len().sum())
    both = fitted.join(
        weights.group_by(file).agg(pl.col("rows").sum()), on=file, how="full", coalesce=True, nulls_equal=True
    )
    counts = done.join(both.with_columns(pl.col("n_fitted", "rows").fill_null(0)), on=on)
    wrong = counts.filter(pl.col("rows") != pl.col("n_fitted") * pl.col("n_candidates"))
    return [
        *_by_part(joined, "double", "have the same fit in two files"),
        *_by_part(wrong, "fits", "have other weights in reweightings than COMP RW has rows in prompt_scores"),
    ]


def check_plans(
    planned: Mapping[str, pl.DataFrame | None], units: pl.DataFrame, files: Sequence[Inspected]
) -> tuple[list[Problem], list[Remark]]:
    """Every planned unit and fit against what is done."""
    done = units.filter(pl.col("status") == "done").select("unit_id").unique()
    failed = units.filter(pl.col("status") != "done").select("unit_id").unique()
    scores = facts_of(files, "prompt_scores")
    fits = scores.select("unit_id", "fit_ids").explode("fit_ids").drop_nulls().unique()
    problems, remarks = [], []
    for name, record in planned.items():
        if record is None:
            remarks.append(Remark("unrecorded", name, "plans kept without their units, so that none can be missed"))
            continue
        undone = record.join(done, on="unit_id", how="anti")
        n_failed = undone.join(failed, on="unit_id", how="semi").height
        asked = record.join(done, on="unit_id").select("unit_id", fit_ids="fit_ids").explode("fit_ids").drop_nulls()
        n_unfitted = asked.join(fits, on=["unit_id", "fit_ids"], how="anti")["unit_id"].n_unique()
        counts = [
            ("missing", undone.height - n_failed, "planned units are not there"),
            ("failed", n_failed, "planned units failed; `python -m jobs.status OUT` says why"),
            ("fits", n_unfitted, "units lack fits or prompting baselines that the plan asks for"),
        ]
        problems += [Problem(kind, f"plan {name}", f"{n} {what}", RESUME) for kind, n, what in counts if n]
    return problems, remarks


def _conflicts(done: pl.DataFrame) -> list[Problem]:
    """Cells with two different results, which no reader can choose between."""
    twice = done.unique("unit_id").filter(pl.struct(CELL).is_duplicated()).sort(CELL)
    return [
        Problem(
            "conflict",
            " ".join(str(value) for value in cell),
            f"two different results, in parts {' and '.join(sorted(rows['file_part'].unique()))}",
            "two sweeps with different settings wrote here: delete one of the parts in every table, then resume",
        )
        for cell, rows in twice.group_by(CELL, maintain_order=True)
    ]


def _by_part(rows: pl.DataFrame, kind: str, what: str) -> list[Problem]:
    """One problem for each part, or set of fits (`fits`), that some of these units are in."""
    rows = rows if "fits" in rows.columns else rows.with_columns(fits=pl.lit(None, pl.String))
    found = []
    for (model, step, task, name, fits), of in rows.sort("unit_id").group_by(_FILE, maintain_order=True):
        part = Part(str(model), int(str(step)), str(task), str(name))
        where = f"{model} step {step} {task}, part {name}" + (f", fits {fits}" if fits else "")
        text = f"{len(of)} units {what}, the first is {of['unit_id'][0]}"
        found.append(Problem(kind, where, text, REPAIR, Removal(part, str(fits) if fits else None)))
    return sorted(found, key=lambda problem: problem.where)
