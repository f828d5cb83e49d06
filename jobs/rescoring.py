"""Scores and fits again from stored contributions, and the fits that a plan has and results lack. Opens no model."""

from collections.abc import Sequence

import polars as pl

from dynamics.errors import FailedCheck, StoreError, UserError, first_line
from dynamics.methods.fits import Fit
from dynamics.results.audit.folder import remove
from dynamics.results.completeness import Lost, find_lost
from dynamics.results.contributions import read_unit_arrays
from dynamics.results.file_names import Part, fits_name
from dynamics.results.places import delete
from dynamics.results.store import (
    ResultStore,
    check_identity,
    parts,
    read_files,
    read_part,
    rewrite_scores,
    table_files,
    write_fits,
)
from dynamics.results.tables import fit_tables, unit_tables
from dynamics.unit_arrays import UnitArrays
from jobs.missing import check_fits
from jobs.sweep_plan import SweepPlan


def derive(store: ResultStore, plans: Sequence[SweepPlan]) -> tuple[int, int]:
    """Score every finished unit again, and add the fits that the plans have and the store lacks.

    Returns:
        The number of parts scored again, and of (unit, fit) pairs added.

    Raises:
        StoreError: results are lost or of another version, or two fits have the same name.
    """
    fits = list({fit.fit_id: fit for plan in plans for fit in plan.fits.all}.values())
    check_identity(store)
    check_fits(store, fits)
    restore(store, _scores_and_fits(store))
    committed = parts(store)
    for part in committed:
        rescore(store, part)
    update_fits(store, fits)
    return len(committed), sum(add_fits(store, part, fits) for part in committed)


def _scores_and_fits(store: ResultStore) -> Lost:
    """The scores and fits that a store lost.

    Raises:
        StoreError: it lost contributions.
    """
    lost = find_lost(store)
    if lost.parts:
        raise StoreError(
            f"{store.root} lost the contributions of {len(lost.parts)} parts; give the sweep command again, which runs "
            "their units again"
        )
    return lost


def add_missing_fits(store: ResultStore, plan: SweepPlan, cells: set[tuple[str, int, str]]) -> int:
    """Add the plan's fits to the parts of these (model, step, task) that lack them: a new K needs no model.

    Returns:
        The number of (unit, fit) pairs added.

    Raises:
        FailedCheck: a fit failed.
    """
    n_added = 0
    for part in parts(store):
        if (part.model, part.step, part.task) not in cells:
            continue
        try:
            n_added += add_fits(store, part, plan.fits.all)
        except UserError:
            raise
        except Exception as error:
            raise FailedCheck(
                f"a fit of {part.model} step {part.step} {part.task} failed ({type(error).__name__}: "
                f"{first_line(error)}). Its units are stored; take the fit out of [fits], or report the error"
            ) from error
    return n_added


def add_fits(store: ResultStore, part: Part, fits: Sequence[Fit], units: Sequence[UnitArrays] | None = None) -> int:
    """Add the fits that a committed part lacks.

    Args:
        store, part: where.
        fits: those that it should have.
        units: the part's arrays, where they are in memory; read from its stored contributions otherwise.

    Returns:
        The number of (unit, fit) pairs added.
    """
    stored = set(read_part(store, "prompt_scores", part)["fit_id"].drop_nulls().to_list())
    missing = [fit for fit in fits if fit.fit_id not in stored]
    if not missing:
        return 0
    units = read_unit_arrays(store, part) if units is None else units
    write_fits(store, part, fits_name(fit.fit_id for fit in missing), fit_tables(units, missing))
    return len(units) * len(missing)


def update_fits(store: ResultStore, fits: Sequence[Fit]) -> None:
    """Fit again what an earlier release stored without the rows of some method, each file of fits as a whole."""
    known = {fit.fit_id: fit for fit in fits}
    committed = set(parts(store))
    for entry, part, name, _ in table_files(store, "prompt_scores"):
        if name is None or part not in committed:
            continue
        stored = read_files(store.root, [entry], "prompt_scores").group_by("fit_id").agg(pl.col("method").unique())
        methods = {fit_id: set(names) for fit_id, names in stored.iter_rows()}
        if set(methods) <= set(known) and any(set(known[i].methods) - names for i, names in methods.items()):
            units = read_unit_arrays(store, part)
            write_fits(store, part, name, fit_tables(units, [known[fit_id] for fit_id in sorted(methods)]))


def restore(store: ResultStore, lost: Lost) -> int:
    """Score parts again whose scores are lost, and delete what has to be computed again; returns how many of both."""
    for file in lost.cut:
        delete(file)
    for part in lost.unscored:
        rescore(store, part)
    remove(store, lost.removals)
    return len(lost.unscored) + len(lost.removals)


def rescore(store: ResultStore, part: Part) -> None:
    """Write a part's predictions and scores again; its contributions, fits and units stay as they are."""
    rewrite_scores(store, part, [unit_tables(unit) for unit in read_unit_arrays(store, part)])
