"""What lies beside the tables of a results folder: plans and what they mean, logs of failures, notes of drivers."""

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
    """Keep the plan's text in `plans/`, once, and beside it the units that it means now.

    Args:
        store: where to.
        name: of the plan.
        text: the plan's TOML.
        planned: its units, columns of `dynamics.results.schema.PLANNED`.
    """
    kept = store.root / "plans" / f"{name}-{short_hash(text)}"
    if not exists(where := kept.with_name(f"{kept.name}.toml")):
        put(where, text.encode())
    put(kept.with_name(f"{kept.name}.units.parquet"), encode(planned, "planned"))


def saved_plans(store: ResultStore) -> dict[str, str]:
    """Where each plan kept in `plans/` is, and its text; sorted."""
    return {str(entry.place): read(entry.place).decode() for entry in entries(store.root / "plans", "*.toml")}


def read_planned(store: ResultStore) -> dict[str, pl.DataFrame | None]:
    """Each plan's units as they were when it was last swept; None for a plan that was kept without them.

    Raises:
        StoreError: a record of units is damaged.
    """
    plans = [entry.place.stem for entry in entries(store.root / "plans", "*.toml")]
    records = {entry.place.name: entry.place for entry in entries(store.root / "plans", "*.units.parquet")}
    found = {name: records.get(f"{name}.units.parquet") for name in plans}
    try:
        return {name: pl.read_parquet(read(where)) if where else None for name, where in found.items()}
    except pl.exceptions.PolarsError as error:
        raise StoreError(
            f"a record of planned units in {store.root / 'plans'} is damaged ({error}); delete *.units.parquet there "
            "and give the sweep commands again, which write them anew"
        ) from error


def write_log(store: ResultStore, name: str, text: str) -> Place:
    """Keep the traceback of a failed unit in `logs/`; the latest replaces the one before."""
    where = store.root / "logs" / name
    put(where, text.encode())
    return where


def write_metadata(store: ResultStore, folder: str, name: str, note: Mapping[str, object]) -> None:
    """Keep a small JSON object beside the tables, as `folder/name.json`; the latest replaces the one before."""
    put(store.root / folder / f"{name}.json", json.dumps(note).encode())


def read_metadata(store: ResultStore, folder: str) -> dict[str, dict[str, Any]]:
    """All notes of a folder by name, sorted; what cannot be read (any more) is left out."""
    notes = {}
    for name in names(store.root / folder):
        with suppress(OSError, StoreError, ValueError):
            if name.endswith(".json"):
                notes[name.removesuffix(".json")] = json.loads(read(store.root / folder / name))
    return notes


def delete_metadata(store: ResultStore, folder: str, name: str) -> None:
    """Take a note away; none is there already where another process did so."""
    delete(store.root / folder / f"{name}.json")
