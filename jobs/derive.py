"""`python -m jobs.derive OUT`: scores and fits again from stored contributions, without opening a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer

from dynamics.command_line import command, user_errors_exit_2
from dynamics.components import parse_component
from dynamics.methods.fits import Fit
from dynamics.results.metadata import saved_plans
from dynamics.results.schema import KEYS
from dynamics.results.store import (
    Part,
    ResultStore,
    fits_name,
    open_store,
    parts,
    read_part,
    rewrite_scores,
    write_fits,
)
from dynamics.results.tables import fit_tables, unit_tables
from dynamics.unit_arrays import UnitArrays
from jobs.sweep_plan import SweepPlan, parse_plan, read_plan


def main(
    out: Annotated[str, typer.Argument(metavar="OUT", help="folder or URI that a sweep wrote")],
    plan: Annotated[Path | None, typer.Option(help="plan whose [fits] to add; default: those of OUT/plans")] = None,
) -> None:
    """Score every finished unit again, and add the fits that the plans have and the results lack."""
    with user_errors_exit_2():
        store = open_store(out)
        plans = [read_plan(plan)] if plan else [parse_plan(text, name) for name, text in saved_plans(store).items()]
        fits = {fit.fit_id: fit for each in plans for fit in each.fits.all}
        committed = parts(store)
        for part in committed:
            rescore(store, part)
        n_added = sum(add_fits(store, part, list(fits.values())) for part in committed)
    typer.echo(f"{len(committed)} parts scored again, {n_added} fits added")


def add_missing_fits(store: ResultStore, plan: SweepPlan, cells: set[tuple[str, int, str]]) -> int:
    """Add the plan's fits to the parts of these (model, step, task) that lack them: a new K needs no model.

    Returns:
        The number of (unit, fit) pairs added.
    """
    wanted = [part for part in parts(store) if (part.model, part.step, part.task) in cells]
    return sum(add_fits(store, part, plan.fits.all) for part in wanted)


def add_fits(store: ResultStore, part: Part, fits: Sequence[Fit]) -> int:
    """Add the fits that a committed part lacks; returns the number of (unit, fit) pairs added."""
    stored = set(read_part(store, "prompt_scores", part)["fit_id"].drop_nulls().to_list())
    missing = [fit for fit in fits if fit.fit_id not in stored]
    if not missing:
        return 0
    units = units_of(store, part)
    write_fits(store, part, fits_name(fit.fit_id for fit in missing), fit_tables(units, missing))
    return len(units) * len(missing)


def rescore(store: ResultStore, part: Part) -> None:
    """Write a part's predictions and scores again; its contributions, fits and units stay as they are."""
    rewrite_scores(store, part, [unit_tables(unit) for unit in units_of(store, part)])


def units_of(store: ResultStore, part: Part) -> list[UnitArrays]:
    """The arrays of each unit of a part, as they were when it was computed."""
    rows = read_part(store, "contributions", part)
    used = dict(read_part(store, "units", part).select("unit_id", "n_shots_used").iter_rows())
    skipped = read_part(store, "predictions", part).filter(pl.col("reason").is_not_null())
    return [
        _unit(mine, used[str(unit_id)], skipped.filter(unit_id=unit_id))
        for (unit_id,), mine in rows.group_by("unit_id", maintain_order=True)
    ]


def _unit(rows: pl.DataFrame, n_shots_used: int, skipped: pl.DataFrame) -> UnitArrays:
    first = rows.row(0, named=True)
    shape = (len(rows), first["n_components"], first["n_labels"])
    return UnitArrays(
        keys={name: first[name] for name in KEYS},
        components=tuple(parse_component(name) for name in first["components"].split(" ")),
        split=rows["split"].to_list(),
        example_id=rows["example_id"].to_list(),
        gold=rows["gold"].to_numpy().astype(np.int64),
        contributions=_array(rows["contributions"]).reshape(shape),
        constant=np.asarray(first["constant"], np.float32),
        full=_array(rows["full"]).reshape(shape[0], shape[2]),
        n_shots_used=n_shots_used,
        skipped=tuple(skipped.select("split", "example_id", "gold", "reason").iter_rows()),
    )


def _array(lists: pl.Series) -> np.ndarray:
    return lists.explode().to_numpy()


app = command(main)

if __name__ == "__main__":
    app()
