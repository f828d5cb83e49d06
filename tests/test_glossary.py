"""The glossary has every name that a figure, a result table or a plan may show."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from analysis.statistics.component_choice import SELECTED_ON
from analysis.statistics.criteria import HALF, NULL, STEP0, SWAPPED
from analysis.statistics.lead import AREA
from dynamics import controls
from dynamics.label_bias import FORMS
from dynamics.mechanisms import measures
from dynamics.methods.baselines import PROMPT_SELECTION, STANDARD
from dynamics.methods.label_free import LABEL_FREE
from dynamics.methods.variants import VARIANTS
from dynamics.results.schema import COLUMNS
from dynamics.results.tables import BASE_METHODS
from figures.style import CLASSES, CURVES
from jobs.sweep_plan import SweepPlan

PAGE = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text()
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
ENTRIES = {
    part
    for row in ROWS
    for term in re.findall(r"\*\*([^*]+)\*\*|`([^`]+)`", " ".join(row[:-1]))
    for whole in term
    for part in [whole, *whole.split(", ")]
}
"""Names in the first columns, in bold or backquotes; `**a, b**` is three of them."""
METHODS = {*BASE_METHODS, "comp_rw", "calib_plus", STANDARD, PROMPT_SELECTION, *LABEL_FREE}


def keys(model: type[BaseModel]) -> set[str]:
    """The keys of a plan and of the tables in it."""
    found = set(model.model_fields)
    for field in model.model_fields.values():
        for table in tables(field.annotation):
            found |= keys(table) - {"first", "last", "every"}
    return found


def tables(annotation: object) -> Iterator[type[BaseModel]]:
    """The tables that a key may hold, alone or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from tables(inner)


NAMED = {
    "curves": {*SELECTED_ON, *CURVES},
    "methods": {method.removeprefix("train_").removeprefix("centred_") for method in METHODS},
    "forms": set(FORMS) - {""},
    "variants": {*VARIANTS, "split_half", "train_rows", "train_rows_outside"},
    "criteria": {NULL, HALF, STEP0, SWAPPED, AREA},
    "controls": {controls.RANDOM_INIT, controls.SHUFFLED_LABELS, *controls.OF_DEMONSTRATIONS},
    "measures": {*measures.OF_CHECKPOINTS, *measures.OF_LABELS, measures.FUNCTION_VECTOR, measures.FUNCTION_VECTOR_LOG},
    "classes": set(CLASSES),
    "tables": set(COLUMNS),
    "columns": {column for columns in COLUMNS.values() for column in columns},
    "plan keys": keys(SweepPlan),
}
assert {"disk_gb", "text", "max_epochs", "tokens_per_step"} <= NAMED["plan keys"]  # tables in tables


@pytest.mark.parametrize("kind", NAMED)
def test_every_name_has_an_entry(kind: str) -> None:
    assert NAMED[kind]
    entries = {*ENTRIES, *re.findall(r"`([^`]+)`", PAGE)} if kind in {"criteria", "forms", "variants"} else ENTRIES
    assert sorted(NAMED[kind] - entries) == []


def test_every_flag_has_an_entry() -> None:
    about = COLUMNS["units"]["flags"][1]
    assert sorted(set(about.split(", ")) - ENTRIES) == []


def test_no_term_is_explained_twice() -> None:
    terms = [term for row in ROWS for term in re.findall(r"\*\*([^*]+)\*\*", row[0])]
    assert len(set(terms)) == len(terms) > 50
