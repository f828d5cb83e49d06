"""The states of a results folder's units: done, running, failed or missing; how fast it goes, and the time left."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from dynamics.results.metadata import read_planned
from dynamics.results.store import ResultStore, read_units
from jobs.active_sweeps import ActiveSweep, active_sweeps

STATES = ("done", "running", "failed", "missing")
RECENT = timedelta(hours=1)
"""The rate is that of the hour before the last finished unit."""
ACTIVE = timedelta(minutes=10)
"""Without an active sweep, a store whose last unit is older has no estimate of the time left."""


@dataclass(frozen=True)
class UnitCounts:
    """Units of a model, a plan or all, by state."""

    name: str
    units: int
    done: int
    running: int
    failed: int
    missing: int


@dataclass(frozen=True)
class Failure:
    """Failed units with the same error."""

    error_class: str
    error: str
    units: int


@dataclass(frozen=True)
class Status:
    """Progress of the plans of a results folder.

    Attributes:
        total, models, plans: units by state.
        unrecorded: plans whose record of units is lost or changed: their missing units are unknown.
        units_per_minute: in the last hour of work; None before the second unit.
        eta_seconds: until nothing is missing; None where nothing is missing or no sweep is active.
        failures: by error, the most frequent first.
        active_sweeps: what is missing of their plans counts as running.
    """

    total: UnitCounts
    models: tuple[UnitCounts, ...]
    plans: tuple[UnitCounts, ...]
    unrecorded: tuple[str, ...]
    units_per_minute: float | None
    eta_seconds: float | None
    failures: tuple[Failure, ...]
    active_sweeps: tuple[ActiveSweep, ...]


def status(store: ResultStore, now: datetime) -> Status:
    """Count the units of all plans, by state.

    Raises:
        StoreError: the results cannot be read.
    """
    units, plans = read_units(store), read_planned(store)
    recorded = {name: planned for name, planned in sorted(plans.items()) if planned is not None}
    sweeps = tuple(active_sweeps(store))
    active_plans = {sweep.plan for sweep in sweeps}
    running = [planned for name, planned in recorded.items() if name.rpartition("-")[0] in active_plans]
    states = _states(units, list(recorded.values()), running)
    done = units.filter(pl.col("status") == "done", pl.col("created").is_not_null()).with_columns(cost=_COST)
    speed = _speed(done)
    failures = units.filter(status="failed").group_by("error_class", "error").len()
    is_active = sweeps or any(now - created < ACTIVE for created in done["created"].top_k(1))
    return Status(
        total=_count("all", states),
        models=tuple(_count(str(key[0]), rows) for key, rows in sorted(states.group_by("model"))),
        plans=tuple(_count(name, states.join(p, on="unit_id", how="semi")) for name, p in recorded.items()),
        unrecorded=tuple(sorted(set(plans) - set(recorded))),
        units_per_minute=speed.units_per_second * 60 if speed else None,
        eta_seconds=_remaining_work(states, done) / speed.work_per_second if speed and is_active else None,
        failures=tuple(Failure(*row) for row in failures.sort("len", "error", descending=[True, False]).iter_rows()),
        active_sweeps=sweeps,
    )


_COST = pl.sum_horizontal(pl.col("forward_seconds", "score_seconds").fill_null(0)).clip(1e-9)
"""Seconds of work of a unit, without opening its checkpoint, which all units of the checkpoint share."""


@dataclass(frozen=True)
class _Speed:
    """Units finished per second, and seconds of work done per second: the number of workers, less their overhead."""

    units_per_second: float
    work_per_second: float


def _states(units: pl.DataFrame, planned: Sequence[pl.DataFrame], running: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """unit_id, model, step and state of every unit that is planned or stored."""
    keys = ["unit_id", "model", "step"]
    stored = units.select(*keys, state=pl.col("status"))
    all_units = pl.concat([stored.select(keys), *(p.select(keys) for p in planned)]).unique("unit_id")
    active = pl.concat([stored.select("unit_id").clear(), *(p.select("unit_id") for p in running)])
    not_stored = pl.when(pl.col("unit_id").is_in(active["unit_id"].implode())).then(pl.lit("running"))
    return all_units.join(stored.select("unit_id", "state"), on="unit_id", how="left").with_columns(
        pl.col("state").fill_null(not_stored.otherwise(pl.lit("missing")))
    )


def _count(name: str, states: pl.DataFrame) -> UnitCounts:
    n_by_state = dict(states["state"].value_counts().iter_rows())
    return UnitCounts(name, len(states), *(n_by_state.get(state, 0) for state in STATES))


def _speed(done: pl.DataFrame) -> _Speed | None:
    """Units and work of the last hour of work, without the first unit, which only starts the clock."""
    recent = done.filter(pl.col("created") > pl.col("created").max() - RECENT).sort("created")
    if len(recent) < 2 or not (seconds := (recent["created"][-1] - recent["created"][0]).total_seconds()):
        return None
    return _Speed((len(recent) - 1) / seconds, recent["cost"][1:].sum() / seconds)


def _remaining_work(states: pl.DataFrame, done: pl.DataFrame) -> float:
    """Seconds of work that remain: a unit costs the mean of its model's units, else the mean of all."""
    costs = done.group_by("model").agg(pl.col("cost").mean())
    remaining = states.filter(pl.col("state").is_in(["running", "missing"])).join(costs, on="model", how="left")
    return float(remaining["cost"].fill_null(done["cost"].mean()).sum())


def lines(report: Status) -> list[str]:
    """The status as text."""
    rows = [*report.models, report.total] if len(report.models) != 1 else list(report.models)
    width = max(map(len, ("model", *(row.name for row in rows))))
    text = [f"{'model':<{width}}  {'units':>7}" + "".join(f"  {state:>7}" for state in STATES)]
    text += [
        f"{r.name:<{width}}  {r.units:>7}  {r.done:>7}  {r.running:>7}  {r.failed:>7}  {r.missing:>7}" for r in rows
    ]
    text += [f"plan {plan.name}: {plan.done} of {plan.units} done" for plan in report.plans]
    text += [
        f"plan {name}: its record of units is lost or changed; give its sweep command again to write it"
        for name in report.unrecorded
    ]
    text += [f"active sweep: {sweep.line}" for sweep in report.active_sweeps]
    text += [f"failed, {f.units} units: {f.error_class}: {f.error}" for f in report.failures[:20]]
    if report.units_per_minute is not None:
        text.append(f"{report.units_per_minute:.1f} units per minute over the hour before the last finished unit")
    if report.eta_seconds:
        text.append(f"about {timedelta(seconds=round(report.eta_seconds))} to go")
    return text
