"""Problems of an audit, which have to be fixed, and remarks, which do no harm."""

from dataclasses import dataclass

import polars as pl

from dynamics.results.file_names import Part

REPAIR = "`pythia-emergence verify OUT --repair` removes it; then the same sweep command computes it again"
"""Remedy for what a sweep can compute again."""
RESUME = "give the same sweep command again"
"""Remedy for what a sweep has not computed."""


@dataclass(frozen=True)
class Removal:
    """Files to delete before a sweep computes them again: those of a part and its fits, or of one set of fits."""

    part: Part
    fits: str | None = None


@dataclass(frozen=True)
class Problem:
    """A problem: results that are damaged, inconsistent or missing.

    Attributes:
        kind: one of

            damaged         a file cannot be read, or its checksum differs
            schema          a file lacks key columns, has other types, or is of another table or schema version
            misplaced       a file holds rows of another model, step or task than its path says
            values          contributions do not sum to the stored logits, or their lists are cut
            tolerance       a unit exceeds the tolerance of its dtype (`dynamics.gate`)
            metadata        a unit lacks hashes, versions or the time, or names another part
            missing rows    a finished unit has no rows in a table
            row count       a finished unit has another number of rows in a table than `units` says
            duplicate rows  a finished unit has the same row twice
            conflict        a cell has two different results, or the name of a fit two sets of settings
            foreign         a Parquet file has another name than a sweep gives; readers leave it out, DuckDB does not
            link            a file is a link, or lies in a folder that another path of the results leads to
            missing units   planned units are neither finished nor failed
            failed units    planned units failed
            fits            fits are missing, or disagree with their weights
            plan            the text of a plan, or the record of its units, is lost or changed
            marker          `store.json` is lost, cannot be read, or has other versions than the files
        where: file, part or plan.
        what: description with numbers.
        remedy: what to do.
        removal: files that `repair` deletes; None where deleting is not the remedy.
    """

    kind: str
    where: str
    what: str
    remedy: str
    removal: Removal | None = None


@dataclass(frozen=True)
class Remark:
    """A remark: something unusual that does no harm.

    Attributes:
        kind: `temporary files`, `foreign files`, `uncommitted files` or `units in two parts`.
        where: the first of them.
        what: description.
        count: their number.
    """

    kind: str
    where: str
    what: str
    count: int = 1


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Attributes:
        files, bytes: number and size of the files that were checked.
        units: number of finished units.
        problems: all problems; empty for a valid folder.
        remarks: one of each kind and description, with their count.
    """

    files: int
    bytes: int
    units: int
    problems: tuple[Problem, ...]
    remarks: tuple[Remark, ...]


_FILE = ["model", "step", "task", "part", "fits"]


def by_part(rows: pl.DataFrame, kind: str, what: str) -> list[Problem]:
    """One problem for each part, or set of fits (`fits`), of these units."""
    rows = rows if "fits" in rows.columns else rows.with_columns(fits=pl.lit(None, pl.String))
    problems = []
    for (model, step, task, name, fits), units in rows.sort("unit_id").group_by(_FILE, maintain_order=True):
        part = Part(str(model), int(str(step)), str(task), str(name))
        where = f"{model} step {step} {task}, part {name}" + (f", fits {fits}" if fits else "")
        text = f"{len(units)} units {what}, the first is {units['unit_id'][0]}"
        problems.append(Problem(kind, where, text, REPAIR, Removal(part, str(fits) if fits else None)))
    return sorted(problems, key=lambda problem: problem.where)
