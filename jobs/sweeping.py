"""A sweep: what results lack of a plan is run, and fits that need no model are added. Torch is imported to run only."""

from dynamics.results.metadata import save_plan
from dynamics.results.places import place
from dynamics.results.store import open_store
from dynamics.tracking import check_installed
from jobs import progress
from jobs.missing import find_missing
from jobs.outcomes import Outcome
from jobs.planned_units import planned_units
from jobs.rescoring import add_missing_fits, restore
from jobs.resolving import ResolvedPlan
from jobs.submitted import check_absolute


def run_sweep(resolved: ResolvedPlan, out: str, executor: str) -> list[Outcome]:
    """Run what a results folder lacks of a plan, saying how it goes; the outcomes of the units that ran.

    Raises:
        PlanError: the cluster or a disk cannot provide what the plan requests, or its tracker is not installed.
        StoreError: the results are of another plan, or cannot be written.
    """
    check_installed(resolved.plan.log)
    progress.say_quarantined(resolved)
    progress.say_notes(resolved)
    root = place(out)
    check_absolute("--out", root)
    store = open_store(root, create=True)
    missing = find_missing(resolved, store)
    save_plan(store, resolved.plan.name, resolved.plan.text, planned_units(resolved))
    progress.say_missing(resolved, missing)
    progress.say_restored(restore(store, missing.lost))
    outcomes: list[Outcome] = []
    if missing.units or missing.baselines or missing.mechanisms:
        from jobs.running import run  # here, since torch takes seconds to import, which a finished sweep need not wait

        done = {unit.unit_id for unit in resolved.units} - {unit.unit_id for unit in missing.units}
        outcomes = run(resolved.plan, missing, store, executor, done)
    progress.say_fits(add_missing_fits(store, resolved.plan, _cells(resolved)))
    progress.say_results(resolved, missing, outcomes, out)
    return outcomes


def _cells(resolved: ResolvedPlan) -> set[tuple[str, int, str]]:
    """(model, step, task) of every unit."""
    return {(unit.checkpoint.model, unit.checkpoint.step, unit.task) for unit in resolved.units}
