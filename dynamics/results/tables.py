"""Rows of the result tables from the arrays of a unit. No torch, so that stored contributions can be used too."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dynamics import scores
from dynamics.methods import selection
from dynamics.methods.fits import Fit, fit_unit
from dynamics.results.schema import TABLES
from dynamics.unit_arrays import UnitArrays

BASE_METHODS = ("full", "oracle_t1", "oracle_b1", "heldout_t1")
"""Methods whose rows of `prompt_scores` every unit has, once each, whatever a plan fits."""


def unit_tables(unit: UnitArrays) -> dict[str, pa.Table]:
    """The rows of `contributions`, `predictions`, `component_scores` and `prompt_scores`."""
    splits = [split for split in ("train", "test") if split in unit.split]
    return {
        "contributions": _contributions(unit),
        "predictions": pa.concat_tables([_predictions(unit), _skipped_examples(unit)]),
        "component_scores": pa.concat_tables([_component_scores(unit, split) for split in splits]),
        "prompt_scores": _prompt_scores(unit),
    }


def table(name: str, keys: Mapping[str, object], columns: Mapping[str, Sequence | pa.Array]) -> pa.Table:
    """Rows of a table from columns, and keys that are equal on every row; columns that are not given are null."""
    n_rows = len(next(iter(columns.values())))
    schema = TABLES[name]
    unknown = sorted({*keys, *columns} - set(schema.names))
    assert not unknown, f"{name} has no column {unknown}"
    arrays = []
    for field in schema:
        value: Any = columns[field.name] if field.name in columns else [keys.get(field.name)] * n_rows
        arrays.append(value.cast(field.type) if isinstance(value, pa.Array) else pa.array(value, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def fit_tables(units: Sequence[UnitArrays], fits: Sequence[Fit]) -> dict[str, pa.Table]:
    """The rows of `prompt_scores` and `reweightings` of these fits on these units."""
    fitted = [(unit, fit_unit(unit, fit)) for unit in units for fit in fits]
    return {
        "prompt_scores": _fit_table("prompt_scores", [(unit, rows.scores) for unit, rows in fitted]),
        "reweightings": _fit_table("reweightings", [(unit, rows.weights) for unit, rows in fitted]),
    }


def _fit_table(name: str, rows_by_unit: Sequence[tuple[UnitArrays, list[dict[str, object]]]]) -> pa.Table:
    tables = [
        table(name, unit.keys, {column: [row[column] for row in rows] for column in rows[0]})
        for unit, rows in rows_by_unit
        if rows
    ]
    return pa.concat_tables(tables) if tables else TABLES[name].empty_table()


def _contributions(unit: UnitArrays) -> pa.Table:
    n_examples, n_components, n_labels = unit.contributions.shape
    return table(
        "contributions",
        unit.keys,
        {
            **_example_columns(unit),
            "n_components": [n_components] * n_examples,
            "contributions": _lists(unit.contributions.reshape(n_examples, -1), pa.float32()),
            "constant": _lists(np.broadcast_to(unit.constant, (n_examples, n_labels)), pa.float32()),
            "full": _lists(unit.full, pa.float32()),
        },
    )


def _predictions(unit: UnitArrays) -> pa.Table:
    labels, tied = scores.encode(unit.contributions)
    full, full_tied = scores.encode(unit.full)
    return table(
        "predictions",
        unit.keys,
        {
            **_example_columns(unit),
            "full": full,
            "full_tied": pa.array(full_tied, pa.uint32(), mask=full_tied == 0),
            "predictions": _lists(labels, pa.uint8()),
            "tied": [row.tolist() if row.any() else None for row in tied],
        },
    )


def _skipped_examples(unit: UnitArrays) -> pa.Table:
    """Null rows of the examples that were not run, so that the others cannot be taken for all examples."""
    split, example_id, gold, reason = zip(*unit.skipped, strict=True) if unit.skipped else ((), (), (), ())
    group = [unit.groups.get(name) for name in example_id]
    columns = {"split": split, "example_id": example_id, "gold": gold, "group": group, "reason": reason}
    return table("predictions", unit.keys, columns)


def _example_columns(unit: UnitArrays) -> dict[str, Sequence | pa.Array]:
    n_examples, _, n_labels = unit.contributions.shape
    return {
        "split": unit.split,
        "example_id": unit.example_id,
        "gold": unit.gold.astype(np.uint8),
        "group": [unit.groups.get(name) for name in unit.example_id],
        "n_labels": [n_labels] * n_examples,
        "components": [" ".join(c.name for c in unit.components)] * n_examples,
    }


def _component_scores(unit: UnitArrays, split: str) -> pa.Table:
    rows = np.asarray(unit.split) == split
    scored = scores.score(unit.contributions[rows], unit.gold[rows])
    return table(
        "component_scores",
        unit.keys,
        {
            "split": [split] * len(unit.components),
            "component": [c.name for c in unit.components],
            "kind": [c.kind for c in unit.components],
            "layer": [c.layer for c in unit.components],
            "head": [c.head for c in unit.components],
            "accuracy": scored.accuracy,
            "balanced_accuracy": scored.balanced_accuracy,
            "mean_margin": scored.mean_margin,
            "label_share": _lists(scored.label_share, pa.float64()),
            "label_share_max": scored.label_share.max(-1),
            "entropy": scored.entropy,
            "n_examples": [int(rows.sum())] * len(unit.components),
        },
    )


def _prompt_scores(unit: UnitArrays) -> pa.Table:
    """The full model, the best and the worst candidate on the test rows themselves, and held-out T1."""
    test = np.asarray(unit.split) == "test"
    candidates = [i for i, c in enumerate(unit.components) if c.is_candidate]
    names = [unit.components[i].name for i in candidates]
    answers = selection.answers_of(unit.contributions[test][:, candidates], unit.gold[test])
    ids = np.asarray(unit.example_id)[test]
    best, worst = selection.oracle_t1(answers), selection.oracle_b1(answers)
    full = float(scores.accuracy(scores.credit(unit.full[test]), answers.gold))
    rows = [
        ("full", "", None, None, full, None, None, None),
        ("oracle_t1", "", names[best.component], "test", best.accuracy, None, None, None),
        ("oracle_b1", "", names[worst.component], "test", worst.accuracy, None, None, None),
        ("heldout_t1", "split_half", None, "the other half of test", *_split_half(answers, ids)),
    ]
    assert tuple(row[0] for row in rows) == BASE_METHODS
    method, variant, component, selected_on, accuracy, predictions, tied, reason = zip(*rows, strict=True)
    shared = {"split": "test", "n_labelled": 0, "n_examples": len(answers.gold), "n_shots_used": unit.n_shots_used}
    columns = {
        "method": method,
        "variant": variant,
        "component": component,
        "selected_on": selected_on,
        "accuracy": accuracy,
        "predictions": predictions,
        "tied": tied,
        "reason": reason,
    }
    return table("prompt_scores", {**unit.keys, **shared}, columns)


def _split_half(answers: selection.Answers, ids: np.ndarray) -> tuple[object, ...]:
    """Held-out T1 on halves of the test rows: accuracy, predictions, tied, and the reason where these are null."""
    if len(answers.gold) < 2:
        return None, None, None, f"{len(answers.gold)} test row cannot be halved"
    in_first = selection.balanced_halves(answers.gold, ids)
    halves = selection.heldout_split_half(answers, in_first)
    predictions = scores.prediction_columns(selection.credit_of_halves(answers, in_first, halves), ids.tolist())
    return halves.accuracy, predictions["predictions"], predictions["tied"], None


def _lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """A (row, length) array as a column of lists."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind)
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32()), flat)
