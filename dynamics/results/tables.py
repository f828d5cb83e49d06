"""Rows of the result tables from the arrays of a unit. No torch, so that stored contributions can be used too."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dynamics import scores
from dynamics.label_bias import CENTRED, FORMS, TRAIN_CENTRED, centred, in_form, label_means, macro_auc
from dynamics.methods import selection
from dynamics.methods.fits import Fit, fit_unit
from dynamics.methods.label_free import BATCH_CALIBRATION, calibrate, prior
from dynamics.results.schema import TABLES
from dynamics.unit_arrays import UnitArrays

CHOICES = ("full", "oracle_t1", "oracle_b1", "heldout_t1")
BASE_METHODS = (*(form + choice for form in FORMS for choice in CHOICES), BATCH_CALIBRATION)
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
    columns = _example_columns(unit)
    for form, full, contributions in (
        ("", unit.full, unit.contributions),
        (CENTRED, _centred_by_split(unit.full, unit.split), _centred_by_split(unit.contributions, unit.split)),
    ):
        labels, tied = scores.encode(contributions)
        full_labels, full_tied = scores.encode(full)
        columns |= {
            f"{form}full": full_labels,
            f"{form}full_tied": pa.array(full_tied, pa.uint32(), mask=full_tied == 0),
            f"{form}predictions": _lists(labels, pa.uint8()),
            f"{form}tied": [row.tolist() if row.any() else None for row in tied],
        }
    return table("predictions", unit.keys, columns)


def _centred_by_split(logits: np.ndarray, split: Sequence[str]) -> np.ndarray:
    """Logits (example, ..., label) less each label's mean over the examples of the same split."""
    values, splits = np.empty(logits.shape), np.asarray(split)
    for name in set(split):
        values[splits == name] = centred(logits[splits == name])
    return values


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
    contributions, gold = unit.contributions[rows], unit.gold[rows]
    scored, centred_contributions = scores.score(contributions, gold), centred(contributions)
    train = _train_rows(unit, unit.contributions)
    by_train = (
        _accuracy(in_form(contributions, TRAIN_CENTRED, train), gold) if len(train) else [None] * len(scored.accuracy)
    )
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
            "centred_accuracy": _accuracy(centred_contributions, gold),
            "train_centred_accuracy": by_train,
            "auc": _null_if_nan(macro_auc(contributions, gold)),
            "label_means": _lists(label_means(contributions), pa.float32()),
            "mean_gap": scored.mean_gap,
            "centred_mean_gap": scores.mean_gap(centred_contributions),
        },
    )


def _train_rows(unit: UnitArrays, values: np.ndarray) -> np.ndarray:
    return values[np.asarray(unit.split) == "train"]


def _accuracy(logits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    return scores.accuracy(scores.credit(logits), gold)


def _null_if_nan(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def _prompt_scores(unit: UnitArrays) -> pa.Table:
    """The full model, the best and the worst candidate on the test rows themselves, and held-out T1, in every form."""
    test = np.asarray(unit.split) == "test"
    rows = [row for form in FORMS for row in _scores_in_form(unit, form, test)]
    rows.append(_batch_calibration(unit, test))
    assert tuple(row["method"] for row in rows) == BASE_METHODS
    shared = {
        "split": "test",
        "variant": "",
        "n_labelled": 0,
        "n_examples": int(test.sum()),
        "n_shots_used": unit.n_shots_used,
    }
    names = dict.fromkeys(name for row in rows for name in row)
    return table(
        "prompt_scores", unit.keys, {name: [{**shared, **row}.get(name) for row in rows] for name in names | shared}
    )


def _scores_in_form(unit: UnitArrays, form: str, test: np.ndarray) -> list[dict[str, object]]:
    """The rows of `CHOICES` from logits as they are, or less each label's mean over the test or the training rows."""
    candidates = [i for i, c in enumerate(unit.components) if c.is_candidate]
    names = [unit.components[i].name for i in candidates]
    raw = {"full": unit.full, "contributions": unit.contributions[:, candidates]}
    gold, ids = unit.gold[test], np.asarray(unit.example_id)[test]
    if form == TRAIN_CENTRED and "train" not in unit.split:
        return [{"method": form + choice, "reason": "no training rows to take means over"} for choice in CHOICES]
    full, contributions = (in_form(logits[test], form, _train_rows(unit, logits)) for logits in raw.values())
    answers = selection.answers_of(contributions, gold)
    best, worst = selection.oracle_t1(answers), selection.oracle_b1(answers)
    auc = macro_auc(raw["full"][test], gold)
    own = scores.prediction_columns(full, ids.tolist()) if form == TRAIN_CENTRED else {}
    return [
        {
            "method": f"{form}full",
            "accuracy": float(_accuracy(full, gold)),
            "auc": None if np.isnan(auc) else auc,
            **({} if form else _full_bias(unit.full[test])),
            **own,
        },
        {
            "method": f"{form}oracle_t1",
            "component": names[best.component],
            "selected_on": "test",
            "accuracy": best.accuracy,
        },
        {
            "method": f"{form}oracle_b1",
            "component": names[worst.component],
            "selected_on": "test",
            "accuracy": worst.accuracy,
        },
        {
            "method": f"{form}heldout_t1",
            "variant": "split_half",
            "selected_on": "the other half of test",
            **_split_half(answers, ids, [unit.groups.get(name) for name in ids.tolist()]),
        },
    ]


def _full_bias(full: np.ndarray) -> dict[str, object]:
    """The full model's label bias on the test rows: mean logits, and shares of predictions."""
    return {"label_means": label_means(full).tolist(), "label_share": scores.credit(full).mean(0).tolist()}


def _batch_calibration(unit: UnitArrays, test: np.ndarray) -> dict[str, object]:
    label_prior = prior(unit.full[test])
    log_odds = calibrate(unit.full[test], label_prior)
    ids = np.asarray(unit.example_id)[test].tolist()
    score = {"accuracy": float(_accuracy(log_odds, unit.gold[test])), **scores.prediction_columns(log_odds, ids)}
    return {
        "method": BATCH_CALIBRATION,
        **score,
        "label_prior": label_prior.tolist(),
        "n_prior_prompts": int(test.sum()),
    }


def _split_half(answers: selection.Answers, ids: np.ndarray, groups: list[str | None]) -> dict[str, object]:
    """Held-out T1 on halves of the test rows: accuracy and predictions, or the reason why there are none."""
    if len(answers.gold) < 2:
        return {"reason": f"{len(answers.gold)} test row cannot be halved"}
    if None not in groups and len(set(groups)) == 1:
        return {"reason": f"{len(answers.gold)} test rows of one group cannot be halved"}
    in_first = selection.balanced_halves(answers.gold, ids, groups)
    halves = selection.heldout_split_half(answers, in_first)
    predictions = scores.prediction_columns(selection.credit_of_halves(answers, in_first, halves), ids.tolist())
    return {"accuracy": halves.accuracy, **predictions}


def _lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """A (row, length) array as a column of lists."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind)
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32()), flat)
