"""Run metadata beside the tables of a results folder: plans and their units, logs of failures, small JSON files."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import polars as pl
import pyarrow as pa

from dynamics.errors import StoreError
from dynamics.identity import short_hash
from dynamics.results.checksums import encode
from dynamics.results.places import Place, delete, entries, exists, names, put, read
from dynamics.results.store import ResultStore


def save_plan(store: ResultStore, name: str, text: str, planned: pa.Table) -> None:
    """Save the text of a plan in `plans/`, and beside it the units that it has now.

    Args:
        store: the results.
        name: name of the plan.
        text: the plan's TOML.
        planned: its units, with the columns of `dynamics.results.schema.PLANNED`.
    """
    plan = store.root / "plans" / f"{name}-{short_hash(text)}"
    put(plan.with_name(f"{plan.name}.units.parquet"), encode(planned, "planned"))
    if not exists(toml := plan.with_name(f"{plan.name}.toml")):
        put(toml, text.encode())


def saved_plans(store: ResultStore) -> dict[str, str]:
    """Path -> text of each plan in `plans/`, sorted."""
    return {str(entry.place): read(entry.place).decode() for entry in entries(store.root / "plans", "*.toml")}


def read_planned(store: ResultStore) -> dict[str, pl.DataFrame | None]:
    """Plan -> its units when it was last swept; None for a plan that was saved without them.

    Raises:
        StoreError: a file of planned units is damaged.
    """
    plans = [entry.place.stem for entry in entries(store.root / "plans", "*.toml")]
    records = {entry.place.name: entry.place for entry in entries(store.root / "plans", "*.units.parquet")}
    by_plan = {name: records.get(f"{name}.units.parquet") for name in plans}
    try:
        return {name: pl.read_parquet(read(where)) if where else None for name, where in by_plan.items()}
    except pl.exceptions.PolarsError as error:
        raise StoreError(
            f"a file of planned units in {store.root / 'plans'} is damaged ({error}); delete *.units.parquet there "
            "and give the sweep commands again, which write them"
        ) from error


def write_log(store: ResultStore, name: str, text: str) -> Place:
    """Save the traceback of a failed unit as `logs/name`, in place of an earlier one; returns its path."""
    where = store.root / "logs" / name
    put(where, text.encode())
    return where


def write_metadata(store: ResultStore, folder: str, name: str, content: Mapping[str, object]) -> None:
    """Save a small JSON object beside the tables, as `folder/name.json`, in place of an earlier one."""
    put(store.root / folder / f"{name}.json", json.dumps(content).encode())


def read_metadata(store: ResultStore, folder: str) -> dict[str, dict[str, Any]]:
    """Name -> content of the JSON objects in a folder, sorted; those that cannot be read are left out."""
    contents = {}
    for name in names(store.root / folder):
        with suppress(OSError, StoreError, ValueError):
            if name.endswith(".json"):
                contents[name.removesuffix(".json")] = json.loads(read(store.root / folder / name))
    return contents


def delete_metadata(store: ResultStore, folder: str, name: str) -> None:
    """Delete `folder/name.json`, if another process has not done so."""
    delete(store.root / folder / f"{name}.json")
