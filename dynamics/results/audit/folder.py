"""Audit of a results folder: every file is checked once, then the files are compared with each other; and repair."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from dynamics.atomic_write import TEMPORARY
from dynamics.errors import StoreError
from dynamics.results.audit.files import Inspected, inspect
from dynamics.results.audit.problems import REPAIR, RESUME, Audit, Problem, Remark, Removal
from dynamics.results.audit.units import check_commits, check_names, check_plans, check_tables, committed
from dynamics.results.file_names import ADDED, FITTED, is_part_file, parse_file, part_path
from dynamics.results.marker import MARKER, read_marker
from dynamics.results.metadata import read_plans
from dynamics.results.places import Entry, Place, delete, entries
from dynamics.results.schema import SCHEMA_VERSION, TABLES
from dynamics.results.store import ResultStore


def audit_results(store: ResultStore, *, quick: bool = False) -> Audit:
    """Check every file of a results folder.

    Args:
        store: the folder.
        quick: read footers and keys only; neither checksums nor contributions.

    Raises:
        StoreError: the object store denies access or cannot be reached.
    """
    files: list[Inspected] = []
    remarks: list[Remark] = []
    others: list[Problem] = []
    for table in TABLES:
        for entry in entries(store.root / table, _pattern(store)):
            if (remark := _other_file(entry)) is not None:
                remarks.append(remark)
            elif not store.compacted and not is_part_file(table, entry):
                others.append(_foreign(entry))
            elif (double := _second_path(store, entry)) is not None:
                others.append(double)
            else:
                part = None if store.compacted else Removal(*parse_file(entry))
                files.append(inspect(table, entry, part, quick=quick))
                others += _link(entry, part)
    units = committed(files)
    problems = [*others, *(problem for file in files for problem in file.problems)]
    problems += check_commits(units) + check_tables(units, files)
    problems += [] if store.compacted else check_names(units)
    problems += check_plans(read_plans(store), units, files) + _marker(store)
    remarks += [*_uncommitted_files(units, files), *_units_in_two_parts(units)]
    return Audit(
        files=len(files),
        bytes=sum(file.entry.size for file in files),
        units=units.filter(pl.col("status") == "done")["unit_id"].n_unique(),
        problems=tuple(problems),
        remarks=tuple(_grouped(remarks)),
    )


def repair(store: ResultStore, problems: Iterable[Problem]) -> list[str]:
    """Delete the files that a sweep computes again.

    Returns:
        The deleted files.
    """
    return remove(store, [problem.removal for problem in problems if problem.removal])


def remove(store: ResultStore, removals: Iterable[Removal]) -> list[str]:
    """Delete the files of parts and sets of fits, the `units` file of a part first; returns the deleted files."""
    deleted: list[str] = []
    for removal in dict.fromkeys(removals):
        for place in _files_of(store, removal):
            delete(place)
            deleted.append(str(place))
    return deleted


def _files_of(store: ResultStore, removal: Removal) -> Iterator:
    """The files of a removal, in the order of deletion."""
    part = removal.part
    stem = f"{part.task}-{part.name}" + (f".{removal.fits}" if removal.fits else "")
    for table in (*FITTED, *ADDED) if removal.fits else ("units", *(name for name in TABLES if name != "units")):
        folder = part_path(store.root, table, part).parent
        for entry in entries(folder, "*.parquet"):
            has_name = entry.place.name == f"{stem}.parquet"
            has_name |= not removal.fits and entry.place.name.startswith(f"{stem}.")
            if has_name and not _is_behind_link(store, entry.place):
                yield entry.place


def _pattern(store: ResultStore) -> str:
    return "model=*/*" if store.compacted else "model=*/step=*/*"


def _other_file(entry: Entry) -> Remark | None:
    """A remark on a file that is not a result file; None on one that is."""
    name = entry.place.name
    if name.startswith(TEMPORARY):
        return Remark("temporary files", str(entry.place), "of a killed process; may be deleted while no sweep runs")
    if not name.endswith(".parquet"):
        return Remark("foreign files", str(entry.place), "not written by a sweep; may confuse readers of the folder")
    return None


def _foreign(entry: Entry) -> Problem:
    """The problem of a Parquet file without the name of a part; `analysis.load` leaves it out, DuckDB does not."""
    what = "not the name of a part, so no sweep wrote it there: a copy, or another program's"
    return Problem("foreign", str(entry.place), what, "move the named files out of OUT, or delete them")


def _link(entry: Entry, part: Removal | None) -> list[Problem]:
    """The problem of a file that is a link, whose rows change with another file."""
    if not isinstance(entry.place, Path) or not entry.place.is_symlink():
        return []
    what = f"a link to {entry.place.readlink()}; a sweep writes files"
    return [Problem("link", str(entry.place), what, REPAIR, part)]


def _second_path(store: ResultStore, entry: Entry) -> Problem | None:
    """The problem of a file that a linked folder shows a second time in the results; it is not checked twice."""
    if not isinstance(entry.place, Path) or not _is_behind_link(store, entry.place):
        return None
    real = entry.place.parent.resolve()
    if not real.is_relative_to(Path(str(store.root)).resolve()):
        return None
    what = f"in a linked folder, the same file as in {real}"
    return Problem("link", str(entry.place), what, "delete the linked folder in OUT, or put a copy in its place")


def _is_behind_link(store: ResultStore, place: Place) -> bool:
    """Whether a file lies in a linked folder, and so elsewhere than its path in the results says."""
    if not isinstance(place, Path) or not isinstance(store.root, Path):
        return False
    return place.parent.resolve() != store.root.resolve() / place.parent.relative_to(store.root)


def _marker(store: ResultStore) -> list[Problem]:
    """The problem of a marker that is lost, cannot be read, or has other versions than the footers of the files."""
    where, opened_as = store.root / MARKER, (SCHEMA_VERSION, store.identity_version)
    try:
        marker = read_marker(store.root)
    except StoreError:
        return [Problem("marker", str(where), "cannot be read", RESUME)]
    if marker is None:
        return [Problem("marker", str(where), "lost", RESUME)]
    versions = marker.schema_version, marker.identity_version
    if versions == opened_as and store.compacted == (marker.compacted_from is not None):
        return []
    what = "says other versions of schema and ids, {} and {}, than the files, {} and {}".format(*versions, *opened_as)
    return [Problem("marker", str(where), what, f"delete it and {RESUME}, which restores it")]


def _uncommitted_files(units: pl.DataFrame, files: Sequence[Inspected]) -> list[Remark]:
    """Remarks on files of parts that `units` does not name: of a killed worker, or of one that is still running."""
    parts = set(units["file_part"].drop_nulls())
    what = "of parts that `units` does not name; readers leave them out"
    return [
        Remark("uncommitted files", str(file.entry.place), what)
        for file in files
        if file.part and file.table != "units" and file.part.part.name not in parts
    ]


def _units_in_two_parts(units: pl.DataFrame) -> list[Remark]:
    """Remarks on units in two parts, of two sweeps that ran at the same time."""
    done = units.filter(pl.col("status") == "done").unique(["unit_id", "part"])
    duplicated = done.filter(pl.col("unit_id").is_duplicated())["unit_id"].unique().sort()
    what = "computed by two sweeps at once; readers use one copy"
    return [Remark("units in two parts", str(unit_id), what) for unit_id in duplicated]


def _grouped(remarks: Sequence[Remark]) -> list[Remark]:
    """The first remark of each kind and description, with their count."""
    first = {(r.kind, r.what): r for r in reversed(remarks)}
    counts = Counter[tuple[str, str]]()
    for remark in remarks:
        counts[remark.kind, remark.what] += remark.count
    return [Remark(kind, first[kind, what].where, what, counts[kind, what]) for kind, what in sorted(first)]
