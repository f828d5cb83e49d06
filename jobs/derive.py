"""`python -m jobs.derive OUT`: scores and fits again from stored contributions, without opening a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer

from dynamics.command_line import command, user_errors_exit_2
from dynamics.components import parse_component
from dynamics.identity import short_hash
from dynamics.methods.fits import METHODS, Fit
from dynamics.results.metadata import saved_plans
from dynamics.results.schema import KEYS
from dynamics.results.store import (
    Part,
    ResultStore,
    open_store,
    parts,
    read_fits,
    read_part,
    rewrite_scores,
    write_fits,
)
from dynamics.results.tables import fit_tables, unit_tables
from dynamics.unit_arrays import UnitArrays
from jobs.plan import parse_plan, read_plan


def main(
    out: Annotated[str, typer.Argument(metavar="OUT", help="folder or URI that a sweep wrote")],
    plan: Annotated[Path | None, typer.Option(help="plan whose [fits] to add; default: those of OUT/plans")] = None,
) -> None:
    """Score every finished unit again, and fit what the plans ask for and the results lack."""
    with user_errors_exit_2():
        store = open_store(out)
        plans = [read_plan(plan)] if plan else [parse_plan(text, name) for name, text in saved_plans(store).items()]
        fits = {fit.fit_id: fit for each in plans for fit in each.fits.all}
        there = parts(store)
        for part in there:
            rescore(store, part)
        again = sum(refit(store, part, fits) for part in there)
        added = sum(derive(store, part, list(fits.values())) for part in there)
    typer.echo(f"{len(there)} parts scored again, {added} fits added" + (f", {again} fitted again" if again else ""))


def derive(store: ResultStore, part: Part, fits: Sequence[Fit]) -> int:
    """Fit what a committed part lacks of these fits; returns how many (unit, fit) pairs were fitted."""
    done = set(read_part(store, "prompt_scores", part)["fit_id"].drop_nulls().to_list())
    missing = [fit for fit in fits if fit.fit_id not in done]
    if not missing:
        return 0
    units = units_of(store, part)
    name = short_hash(" ".join(sorted(fit.fit_id for fit in missing)), 8)
    write_fits(store, part, name, fit_tables(units, missing))
    return len(units) * len(missing)


def refit(store: ResultStore, part: Part, fits: Mapping[str, Fit]) -> int:
    """Fit again what an older version wrote without its answers; returns how many (unit, fit) pairs.

    A set of fits of which no plan knows one is left as it is: it stays readable, without answers.
    """
    again = 0
    for name, rows in read_fits(store, part).items():
        lacking = pl.col("accuracy").is_not_null() & pl.col("predictions").is_null() & pl.col("method").is_in(METHODS)
        mine = rows["fit_id"].unique().sort().to_list()
        if rows.filter(lacking).is_empty() or not set(mine) <= set(fits):
            continue
        units = units_of(store, part)
        write_fits(store, part, name, fit_tables(units, [fits[fit_id] for fit_id in mine]))
        again += len(units) * len(mine)
    return again


def rescore(store: ResultStore, part: Part) -> None:
    """Write a part's predictions and scores again; its contributions, fits and units stay as they are."""
    tables = [unit_tables(unit) for unit in units_of(store, part)]
    rewrite_scores(store, part, tables)


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
