"""Completeness of committed parts by the names and sizes of their files: what a sweep may count as done.

Whether the bytes are those that were written, only an audit (`pythia-emergence verify`) tells, which reads them all.
"""

from dataclasses import dataclass

import polars as pl

from dynamics.results.audit.problems import Removal
from dynamics.results.file_names import ADDED, FITTED, OPTIONAL, Part
from dynamics.results.places import Place
from dynamics.results.schema import TABLES
from dynamics.results.store import ResultStore, files_with_weights, parts, read_units, table_files

_OWN = [table for table in TABLES if table not in ("units", *OPTIONAL)]
"""Tables in which every part has a file of its own."""


@dataclass(frozen=True)
class Lost:
    """What committed parts lack.

    Attributes:
        removals: parts without contributions, and sets of fits that lack a file: to be deleted and computed again.
        unscored: parts whose predictions or scores are lost, which follow from their contributions.
        cut: files of these that are there, but cut off.
    """

    removals: tuple[Removal, ...] = ()
    unscored: tuple[Part, ...] = ()
    cut: tuple[Place, ...] = ()

    @property
    def parts(self) -> set[Part]:
        """Parts whose units have to be computed again."""
        return {removal.part for removal in self.removals if removal.fits is None}


def find_lost(store: ResultStore) -> Lost:
    """What committed parts lack; a compacted copy is not checked, since it has other files."""
    if store.compacted:
        return Lost()
    committed = parts(store)
    files = {table: [file for file in table_files(store, table) if file[2] is None] for table in _OWN}
    whole = {table: {part for _, part, _, cut in files[table] if not cut} for table in _OWN}
    without = {table: [part for part in committed if part not in whole[table]] for table in _OWN}
    skipping = _parts_that_skip(store)
    gone = {*without["contributions"], *(part for part in without["predictions"] if part in skipping)}
    unscored = {part for table in _OWN for part in without[table]} - gone
    fits = [(part, fits) for part, fits in _lost_fits(store) if part in set(committed) - gone]
    return Lost(
        tuple(Removal(part, fits) for part, fits in [*((p, None) for p in committed if p in gone), *fits]),
        tuple(part for part in committed if part in unscored),
        tuple(entry.place for table in _OWN for entry, part, _, cut in files[table] if cut and part in unscored),
    )


def _parts_that_skip(store: ResultStore) -> set[Part]:
    """Parts with examples that were not run: only `predictions` names these."""
    rows = read_units(store).filter(pl.col("n_skipped") > 0)
    return {Part(*row) for row in rows.select("model", "step", "task", "part").unique().iter_rows()}


def _lost_fits(store: ResultStore) -> list[tuple[Part, str | None]]:
    """Parts and sets of fits with a file that is cut off, or with weights that are lost."""
    scores, weights = (table_files(store, table) for table in FITTED)
    added = [file for table in ADDED for file in table_files(store, table)]
    cut = {(part, fits) for _, part, fits, is_cut in [*scores, *weights, *added] if is_cut and fits}
    stored = {(part, fits) for _, part, fits, _ in weights}
    unweighted = [file for file in scores if file[2] and not file[3] and file[1:3] not in stored]
    fitted = files_with_weights(store, [entry for entry, *_ in unweighted])
    lost = {(part, fits) for entry, part, fits, _ in unweighted if str(entry.place) in fitted}
    return sorted(cut | lost, key=str)
