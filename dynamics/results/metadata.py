"""Run metadata beside the tables of a results folder: plans and their units, logs of failures, small JSON files."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from dynamics.errors import StoreError
from dynamics.identity import short_hash
from dynamics.results.checksums import damage_of, encode
from dynamics.results.places import Place, delete, entries, names, put, read
from dynamics.results.schema import PLANNED
from dynamics.results.store import ResultStore

PLAN_REMEDY = "give the sweep command of that plan again, which writes it, or delete the plan's files there"
_TEXT, _UNITS = ".toml", ".units.parquet"


@dataclass(frozen=True)
class SavedPlan:
    """A plan that was swept, as it is kept in `plans/`.

    Attributes:
        name: the plan's name and the hash of its text.
        text: its TOML; None where the file is lost or changed.
        planned: its units when it was last swept; None where the file is lost or changed.
        problems: what is wrong with the two files, in words.
    """

    name: str
    text: str | None
    planned: pl.DataFrame | None
    problems: tuple[str, ...]


def save_plan(store: ResultStore, name: str, text: str, planned: pa.Table) -> None:
    """Save the text of a plan in `plans/`, and beside it the units that it has now.

    Args:
        store: the results.
        name: name of the plan.
        text: the plan's TOML.
        planned: its units, with the columns of `dynamics.results.schema.PLANNED`.
    """
    plan = store.root / "plans" / f"{name}-{short_hash(text)}"
    put(plan.with_name(f"{plan.name}{_UNITS}"), encode(planned, "planned"))
    put(plan.with_name(f"{plan.name}{_TEXT}"), text.encode())


def read_plans(store: ResultStore) -> list[SavedPlan]:
    """The plans in `plans/`, sorted, each by its text, by its record of units or by both."""
    folder = store.root / "plans"
    files = {entry.place.name: entry.place for suffix in (_TEXT, _UNITS) for entry in entries(folder, f"*{suffix}")}
    plans = []
    for name in sorted({file.removesuffix(_UNITS).removesuffix(_TEXT) for file in files}):
        text, wrong_text = _text(name, files.get(f"{name}{_TEXT}"))
        planned, wrong_units = _planned(files.get(f"{name}{_UNITS}"))
        problems = ((f"{name}{_TEXT}", wrong_text), (f"{name}{_UNITS}", wrong_units))
        plans.append(SavedPlan(name, text, planned, tuple(f"{file} is {wrong}" for file, wrong in problems if wrong)))
    return plans


def saved_plans(store: ResultStore) -> dict[str, str]:
    """Path -> text of each plan in `plans/`, sorted.

    Raises:
        StoreError: a text is lost or changed.
    """
    plans = read_plans(store)
    for plan in plans:
        if plan.text is None:
            raise StoreError(f"in {store.root / 'plans'}, {plan.problems[0]}; {PLAN_REMEDY}")
    return {str(store.root / "plans" / f"{plan.name}{_TEXT}"): str(plan.text) for plan in plans}


def read_planned(store: ResultStore) -> dict[str, pl.DataFrame | None]:
    """Plan -> its units when it was last swept; None where that record is lost or changed."""
    return {plan.name: plan.planned for plan in read_plans(store)}


def _text(name: str, where: Place | None) -> tuple[str | None, str | None]:
    """The text of a plan, or what is wrong with its file."""
    if where is None:
        return None, "lost"
    try:
        text = read(where).decode()
    except UnicodeDecodeError:
        return None, "changed since it was written: not UTF-8"
    if short_hash(text) != name.rpartition("-")[2]:
        return None, "changed since it was written: its name is not that of its text"
    return text, None


def _planned(where: Place | None) -> tuple[pl.DataFrame | None, str | None]:
    """The units of a plan, or what is wrong with their file."""
    if where is None:
        return None, "lost, so the units of its plan are not checked"
    data = read(where)
    if damage := damage_of(data):
        return None, damage
    rows = pl.read_parquet(data)
    return (rows, None) if set(PLANNED.names) <= set(rows.columns) else (None, "not a record of planned units")


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
        with suppress(OSError, StoreError, ValueError, RecursionError):
            if name.endswith(".json"):
                contents[name.removesuffix(".json")] = json.loads(read(store.root / folder / name))
    return contents


def delete_metadata(store: ResultStore, folder: str, name: str) -> None:
    """Delete `folder/name.json`, if another process has not done so."""
    delete(store.root / folder / f"{name}.json")
