"""`python -m jobs.status OUT`: what is done, running, failed and missing, how fast it goes and how long it may take."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import polars as pl
import typer

from dynamics.command_line import command, user_errors_exit_2
from dynamics.results.metadata import read_planned
from dynamics.results.store import ResultStore, open_store, read_units
from jobs.active_sweeps import Driver, drivers

STATES = ("done", "running", "failed", "missing")
RECENT = timedelta(hours=1)
"""Of work, back from the unit finished last: what the rate is taken from."""
AT_WORK = timedelta(minutes=10)
"""A store whose last unit is older, and that no driver works on, has no expected end."""


@dataclass(frozen=True)
class Count:
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
    """What a results folder holds of what its plans ask for.

    Attributes:
        total, models, plans: units by state.
        unrecorded: plans kept without their units, by a version that did not record them: their missing units are
            unknown.
        units_per_minute: in the last hour of work; None before the second unit.
        eta_seconds: until nothing is missing; None where nothing is or nobody is at work.
        failures: by error, the most frequent first.
        drivers: sweeps at work; what is missing of their plans counts as running.
    """

    total: Count
    models: tuple[Count, ...]
    plans: tuple[Count, ...]
    unrecorded: tuple[str, ...]
    units_per_minute: float | None
    eta_seconds: float | None
    failures: tuple[Failure, ...]
    drivers: tuple[Driver, ...]


def status(store: ResultStore, now: datetime) -> Status:
    """Count the units that plans ask for, and those that results or failures are there of.

    Raises:
        StoreError: the results cannot be read.
    """
    units, plans = read_units(store), read_planned(store)
    recorded = {name: planned for name, planned in sorted(plans.items()) if planned is not None}
    at_work = tuple(drivers(store))
    plans_at_work = {driver.plan for driver in at_work}
    running = [planned for name, planned in recorded.items() if name.rpartition("-")[0] in plans_at_work]
    states = _states(units, list(recorded.values()), running)
    done = units.filter(pl.col("status") == "done", pl.col("created").is_not_null()).with_columns(cost=_COST)
    speed = _speed(done)
    failed = units.filter(status="failed").group_by("error_class", "error").len()
    active = at_work or any(now - created < AT_WORK for created in done["created"].top_k(1))
    return Status(
        total=_count("all", states),
        models=tuple(_count(str(key[0]), rows) for key, rows in sorted(states.group_by("model"))),
        plans=tuple(_count(name, states.join(p, on="unit_id", how="semi")) for name, p in recorded.items()),
        unrecorded=tuple(sorted(set(plans) - set(recorded))),
        units_per_minute=speed.units_per_second * 60 if speed else None,
        eta_seconds=_left(states, done) / speed.work_per_second if speed and active else None,
        failures=tuple(Failure(*row) for row in failed.sort("len", "error", descending=[True, False]).iter_rows()),
        drivers=at_work,
    )


_COST = pl.sum_horizontal(pl.col("forward_seconds", "score_seconds").fill_null(0)).clip(1e-9)
"""Seconds of work that a unit took, without opening its checkpoint, which its checkpoint's other units share."""


@dataclass(frozen=True)
class _Speed:
    """What a second brings: units, and seconds of work, which is how many workers there are but for their overhead."""

    units_per_second: float
    work_per_second: float


def _states(units: pl.DataFrame, planned: Sequence[pl.DataFrame], running: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """unit_id, model, step and state of every unit that is planned or there."""
    keys = ["unit_id", "model", "step"]
    there = units.select(*keys, state=pl.col("status"))
    asked = pl.concat([there.select(keys), *(p.select(keys) for p in planned)]).unique("unit_id")
    at_work = pl.concat([there.select("unit_id").clear(), *(p.select("unit_id") for p in running)])
    absent = pl.when(pl.col("unit_id").is_in(at_work["unit_id"].implode())).then(pl.lit("running"))
    return asked.join(there.select("unit_id", "state"), on="unit_id", how="left").with_columns(
        pl.col("state").fill_null(absent.otherwise(pl.lit("missing")))
    )


def _count(name: str, states: pl.DataFrame) -> Count:
    of = dict(states["state"].value_counts().iter_rows())
    return Count(name, len(states), *(of.get(state, 0) for state in STATES))


def _speed(done: pl.DataFrame) -> _Speed | None:
    """Units and work of the last hour of work; the first of them only starts the clock."""
    recent = done.filter(pl.col("created") > pl.col("created").max() - RECENT).sort("created")
    if len(recent) < 2 or not (seconds := (recent["created"][-1] - recent["created"][0]).total_seconds()):
        return None
    return _Speed((len(recent) - 1) / seconds, recent["cost"][1:].sum() / seconds)


def _left(states: pl.DataFrame, done: pl.DataFrame) -> float:
    """Seconds of work left: a unit costs what its model's units cost on average, else what all do."""
    costs = done.group_by("model").agg(pl.col("cost").mean())
    left = states.filter(pl.col("state").is_in(["running", "missing"])).join(costs, on="model", how="left")
    return float(left["cost"].fill_null(done["cost"].mean()).sum())


def lines(found: Status) -> list[str]:
    """The status as text."""
    rows = [*found.models, found.total] if len(found.models) != 1 else list(found.models)
    width = max(map(len, ("model", *(row.name for row in rows))))
    head = f"{'model':<{width}}  {'units':>7}" + "".join(f"  {state:>7}" for state in STATES)
    text = [head]
    text += [
        f"{r.name:<{width}}  {r.units:>7}  {r.done:>7}  {r.running:>7}  {r.failed:>7}  {r.missing:>7}" for r in rows
    ]
    text += [f"plan {plan.name}: {plan.done} of {plan.units} done" for plan in found.plans]
    text += [
        f"plan {name}: kept without its units; give its sweep command again to record them" for name in found.unrecorded
    ]
    text += [f"at work: {driver.line}" for driver in found.drivers]
    text += [f"failed, {f.units} units: {f.error_class}: {f.error}" for f in found.failures[:20]]
    if found.units_per_minute is not None:
        text.append(f"{found.units_per_minute:.1f} units a minute in the last hour of work")
    if found.eta_seconds:
        text.append(f"about {timedelta(seconds=round(found.eta_seconds))} to go")
    return text


def show_status(
    out: Annotated[str, typer.Argument(metavar="OUT", help="results: a folder, or an s3:// or gs:// URI")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """What is done, running, failed and missing, per model and plan; how fast it goes and how long it may take.

    Exit code 0: all that the plans ask for is done; 1: not yet; 2: there are no results to read.
    """
    with user_errors_exit_2():
        found = status(open_store(out), datetime.now(UTC))
    typer.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(lines(found)))
    if found.total.done < found.total.units:
        raise typer.Exit(1)


app = command(show_status)

if __name__ == "__main__":
    app()
