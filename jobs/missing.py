"""What a results folder lacks of a plan, and that as work by checkpoint."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import TypeVar

import polars as pl

from dynamics.checkpoints import Checkpoint
from dynamics.controls import RANDOM_INIT
from dynamics.errors import StoreError
from dynamics.mechanisms.settings import Mechanism
from dynamics.methods.baselines import PromptingBaseline
from dynamics.methods.fits import Fit
from dynamics.results.completeness import Lost, find_lost
from dynamics.results.file_names import Part
from dynamics.results.store import CELL, FIT, ResultStore, check_identity, read_added, read_fits, read_units
from jobs.resolving import ResolvedPlan
from jobs.sweep_plan import SweepPlan
from jobs.work import (
    CacheSettings,
    CheckpointWork,
    MissingBaselines,
    MissingMechanisms,
    RetryState,
    RunSettings,
    WorkUnit,
)

_PART = {"model": pl.String, "step": pl.Int64, "task": pl.String, "part": pl.String}
"""The columns of `units` that are a `Part`."""


@dataclass(frozen=True)
class MissingWork:
    """What is missing of a plan.

    Attributes:
        units: without a finished row, or in a part whose contributions are lost.
        baselines: units, finished or not, with the baselines that they lack.
        mechanisms: the same of mechanisms.
        lost: files that committed parts lack, of this plan or another.
    """

    units: tuple[WorkUnit, ...]
    baselines: tuple[MissingBaselines, ...] = ()
    mechanisms: tuple[MissingMechanisms, ...] = ()
    lost: Lost = field(default_factory=Lost)

    def finished_without(self, *, label_free: bool) -> set[WorkUnit]:
        """Units that are finished but for some label-free calibration, or for some prompting baseline."""
        lacking = {unit for unit, missing in self.baselines if any(b.is_label_free == label_free for b in missing)}
        return lacking - set(self.units)


def find_missing(resolved: ResolvedPlan, store: ResultStore | None) -> MissingWork:
    """The units and baselines of a plan that a store lacks; without a store, all of them.

    Raises:
        StoreError: the store holds one of the plan's cells or fits, computed with other settings or weights; or its
            ids are of another version.
    """
    plan = resolved.plan
    if store is None:
        baselines = tuple((unit, plan.baselines) for unit in resolved.units if plan.baselines)
        return MissingWork(resolved.units, baselines, tuple(resolved.mechanisms))
    check_identity(store)
    lost = find_lost(store)
    units = missing_units(store, resolved.units, lost.parts)
    check_fits(store, (*plan.fits.all, *plan.baselines))
    without_results = {unit.unit_id for unit in units}
    baselines = missing_baselines(store, resolved.units, plan.baselines, without_results)
    mechanisms = missing_mechanisms(store, resolved.mechanisms, without_results)
    return MissingWork(tuple(units), tuple(baselines), tuple(mechanisms), lost)


def missing_units(store: ResultStore, units: Sequence[WorkUnit], lost: Collection[Part] = ()) -> list[WorkUnit]:
    """The units without a finished row, or with one in a part that is lost.

    Raises:
        StoreError: the store holds one of the plan's cells, computed with other settings or weights.
    """
    lost_parts = pl.DataFrame([astuple(part) for part in lost], _PART, orient="row")
    done = read_units(store).filter(status="done").join(lost_parts, on=list(_PART), how="anti")
    stored_ids = dict(zip(done.select(CELL).iter_rows(), done["unit_id"], strict=True))
    other_weights = _contradicts(done.select("model", "step", _RANDOM_INIT, "content_hash"), 3)
    other_rows = _contradicts(done.select("model", "task", "task_hash", "n_test_asked"), 2)
    clashes = [
        unit
        for unit in units
        if stored_ids.get(unit.cell, unit.unit_id) != unit.unit_id
        or other_weights((*_weights_key(unit), unit.checkpoint.content_hash))
        or other_rows((unit.checkpoint.model, unit.task, unit.task_hash, unit.n_test))
    ]
    if clashes:
        raise StoreError(
            f"{store.root} holds {clashes[0]} from another plan or other weights ({len(clashes)} such units): n_test, "
            "n_train, the task's rows or the checkpoint's files differ (for random_init also the versions of torch and "
            f"transformers). Name another --out, or restore the settings kept in {store.root / 'plans'}"
        )
    return [unit for unit in units if unit.cell not in stored_ids]


def check_fits(store: ResultStore, fits: Sequence[Fit | PromptingBaseline]) -> None:
    """Check that each fit has its name to itself: analyses would average it with another of the same name.

    Raises:
        StoreError: the store, or another of these fits, has the name of one with other settings.
    """
    requested = [(name, fit.fit_id) for fit in fits for name in fit.names]
    stored = read_fits(store).select(*FIT, "fit_id").unique().sort(*FIT, "fit_id")
    by_name: dict[tuple[object, ...], set[str]] = {name: set() for name, _ in requested}
    for name, fit_id in [*((tuple(name), fit_id) for *name, fit_id in stored.iter_rows()), *requested]:
        by_name.get(name, set()).add(fit_id)
    for name, ids in by_name.items():
        if len(ids) > 1:
            method, variant, n_labelled = name
            raise StoreError(
                f"{store.root}, or a plan in it, has {method} {variant!r} at K = {n_labelled} with other settings "
                f"(fits {' and '.join(sorted(ids))}), and analyses would average them: give the fit another name, name "
                f"another --out, or restore the settings kept in {store.root / 'plans'}"
            )


def missing_baselines(
    store: ResultStore,
    units: Sequence[WorkUnit],
    baselines: Sequence[PromptingBaseline],
    without_results: Collection[str] = (),
) -> list[MissingBaselines]:
    """The units that lack some of the baselines, finished or not, each with those that it lacks.

    Args:
        without_results: ids of the units that will be computed, after which they have none.
    """
    if not baselines:
        return []
    rows = read_fits(store).filter(pl.col("unit_id").is_in(list(without_results)).not_())
    stored = set(rows.select("unit_id", "fit_id").iter_rows())
    return without_stored([(unit, tuple(baselines)) for unit in units], stored)


def missing_mechanisms(
    store: ResultStore, requested: Sequence[MissingMechanisms], without_results: Collection[str] = ()
) -> list[MissingMechanisms]:
    """The units that lack some of the mechanisms requested for them; arguments as for `missing_baselines`."""
    if not requested:
        return []
    rows = read_added(store).filter(pl.col("unit_id").is_in(list(without_results)).not_())
    return without_stored(requested, set(rows.iter_rows()))


Added = TypeVar("Added", PromptingBaseline, Mechanism)


def without_stored(
    pairs: Sequence[tuple[WorkUnit, tuple[Added, ...]]], stored: set[tuple[object, ...]]
) -> list[tuple[WorkUnit, tuple[Added, ...]]]:
    """The pairs without what has its (unit_id, fit_id) stored; units that lack none are left out."""
    remaining = [
        (unit, tuple(added for added in requested if (unit.unit_id, added.fit_id) not in stored))
        for unit, requested in pairs
    ]
    return [(unit, requested) for unit, requested in remaining if requested]


def work_by_checkpoint(plan: SweepPlan, missing: MissingWork, run: str = "") -> list[CheckpointWork]:
    """What is missing, by checkpoint, in the order of the units; `run` identifies the sweep."""
    units: dict[Checkpoint, dict[WorkUnit, None]] = {}
    for unit in (*missing.units, *(unit for unit, _ in (*missing.baselines, *missing.mechanisms))):
        units.setdefault(unit.checkpoint, {})[unit] = None
    without_results = {unit.unit_id for unit in missing.units}
    baselines: dict[Checkpoint, list[MissingBaselines]] = {}
    for unit, lacking in missing.baselines:
        baselines.setdefault(unit.checkpoint, []).append((unit, lacking))
    mechanisms: dict[Checkpoint, list[MissingMechanisms]] = {}
    for unit, lacking in missing.mechanisms:
        mechanisms.setdefault(unit.checkpoint, []).append((unit, lacking))
    settings = {model.name: run_settings(plan, model.name, run) for model in plan.models}
    return [
        CheckpointWork(
            checkpoint,
            tuple(unit for unit in of_checkpoint if unit.unit_id in without_results),
            settings[checkpoint.model],
            tuple(baselines.get(checkpoint, ())),
            tuple(mechanisms.get(checkpoint, ())),
        )
        for checkpoint, of_checkpoint in units.items()
    ]


def run_settings(plan: SweepPlan, model: str, run: str) -> RunSettings:
    """How the units of a model run."""
    return RunSettings(
        device=plan.device,
        token_budget=None if plan.token_budget == "auto" else plan.token_budget,
        tasks=plan.task_by_name,
        data=plan.data_folder,
        fits=plan.fits.all,
        encoder=plan.encoder_folder,
        cache=CacheSettings(run, plan.hub.disk_bytes, plan.hub.keep, plan.hub.least_kb_s * 1e3),
        resources=plan.resources_of(model),
    )


def with_earlier_runs(works: Sequence[CheckpointWork], store: ResultStore) -> list[CheckpointWork]:
    """The works, each with how often its own failed units ran before."""
    failed = read_units(store).filter(status="failed").drop_nulls("attempts")
    runs = dict(failed.select("unit_id", "attempts").iter_rows())
    own = [{u.unit_id: runs[u.unit_id] for u in work.all_units if u.unit_id in runs} for work in works]
    return [replace(work, retries=RetryState(earlier_runs=n)) for work, n in zip(works, own, strict=True)]


_RANDOM_INIT = pl.when(pl.col("control").str.starts_with(RANDOM_INIT)).then("control").otherwise(None).alias("init")
"""Random weights are recorded at step 0 beside a suite's own step 0; all other units of a step have its weights."""


def _weights_key(unit: WorkUnit) -> tuple[str, int, str | None]:
    c = unit.checkpoint
    return c.model, c.step, None if c.init_seed is None else unit.control


def _contradicts(stored: pl.DataFrame, n_keys: int) -> Callable[[tuple[object, ...]], bool]:
    """A function that tells whether a row is not stored, though some row with its first `n_keys` values is."""
    rows = set(stored.iter_rows())
    keys = {row[:n_keys] for row in rows}
    return lambda row: row not in rows and row[:n_keys] in keys
