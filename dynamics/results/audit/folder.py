"""A whole results folder: every file is looked at once, then what they say is held against each other; and repair."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from dynamics.atomic_write import TEMPORARY
from dynamics.results.audit.files import Inspected, inspect
from dynamics.results.audit.findings import Audit, Problem, Remark, Removal
from dynamics.results.audit.units import check_commits, check_names, check_plans, check_tables, committed
from dynamics.results.metadata import read_planned
from dynamics.results.places import Entry, delete, entries
from dynamics.results.schema import TABLES
from dynamics.results.store import ResultStore, belongs, part_path

_FITTED = ("prompt_scores", "reweightings")


def audit(store: ResultStore, *, quick: bool = False) -> Audit:
    """Look at every file of a results folder and say all that is wrong.

    Args:
        store: the folder.
        quick: read footers and keys only; neither checksums nor contributions.

    Raises:
        StoreError: the object store refuses or cannot be reached.
    """
    files: list[Inspected] = []
    remarks: list[Remark] = []
    for table in TABLES:
        for entry in entries(store.root / table, _pattern(store)):
            if (strange := _strange(entry)) is not None:
                remarks.append(strange)
            else:
                files.append(inspect(table, entry, None if store.compacted else Removal(*belongs(entry)), quick=quick))
    problems = [problem for one in files for problem in one.problems]
    remarks += [remark for one in files for remark in one.remarks]
    units = committed(files)
    problems += check_commits(units) + check_tables(units, files)
    problems += [] if store.compacted else check_names(units)
    remarks += [*_orphans(units, files), *_raced(units)]
    planned, unrecorded = check_plans(read_planned(store), units, files)
    return Audit(
        files=len(files),
        bytes=sum(one.entry.size for one in files),
        units=units.filter(pl.col("status") == "done")["unit_id"].n_unique(),
        problems=(*problems, *planned),
        remarks=tuple(_counted([*remarks, *unrecorded])),
    )


def repair(store: ResultStore, problems: Iterable[Problem]) -> list[str]:
    """Delete the files of what has to be computed again; a part's `units` file first, so that it is never half there.

    Returns:
        The deleted files.
    """
    found: list[str] = []
    for removal in dict.fromkeys(problem.removal for problem in problems if problem.removal):
        for place in _files_of(store, removal):
            delete(place)
            found.append(str(place))
    return found


def _files_of(store: ResultStore, removal: Removal) -> Iterator:
    """The files to delete, in order."""
    part = removal.part
    stem = f"{part.task}-{part.name}" + (f".{removal.fits}" if removal.fits else "")
    for table in _FITTED if removal.fits else ("units", *(name for name in TABLES if name != "units")):
        folder = part_path(store, table, part).parent
        for entry in entries(folder, "*.parquet"):
            if entry.place.name == f"{stem}.parquet" or (not removal.fits and entry.place.name.startswith(f"{stem}.")):
                yield entry.place


def _pattern(store: ResultStore) -> str:
    return "model=*/*" if store.compacted else "model=*/step=*/*"


def _strange(entry: Entry) -> Remark | None:
    """A file that is no result."""
    name = entry.place.name
    if name.startswith(TEMPORARY):
        return Remark("temporary", str(entry.place), "begun by a killed process; may be deleted when no sweep runs")
    if not name.endswith(".parquet"):
        return Remark("foreign", str(entry.place), "not written by a sweep; may confuse readers of the folder")
    return None


def _orphans(units: pl.DataFrame, files: Sequence[Inspected]) -> list[Remark]:
    """Files of parts that `units` does not name: of a worker that was killed, or of one at work now."""
    parts = set(units["file_part"].drop_nulls())
    what = "of parts that `units` does not name: readers leave them out"
    orphans = [one for one in files if one.part and one.table != "units" and one.part.part.name not in parts]
    return [Remark("orphan", str(one.entry.place), what) for one in orphans]


def _raced(units: pl.DataFrame) -> list[Remark]:
    """Units in two parts, of two sweeps that ran at the same time; readers keep one."""
    done = units.filter(pl.col("status") == "done").unique(["unit_id", "part"])
    twice = done.filter(pl.col("unit_id").is_duplicated())["unit_id"].unique().sort()
    what = "units computed by two sweeps at once: readers keep one"
    return [Remark("raced", str(unit_id), what) for unit_id in twice]


def _counted(remarks: Sequence[Remark]) -> list[Remark]:
    """One remark of each kind and wording, the first, with how many there are."""
    first = {(r.kind, r.what): r for r in reversed(remarks)}
    counts = Counter[tuple[str, str]]()
    for remark in remarks:
        counts[remark.kind, remark.what] += remark.count
    return [Remark(kind, first[kind, what].where, what, counts[kind, what]) for kind, what in sorted(first)]
