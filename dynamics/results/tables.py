"""Rows of the result tables from the arrays of a unit. No torch, so that stored contributions can be used too."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dynamics import scores
from dynamics.answers import SplitAnswers, answers_by_form
from dynamics.label_bias import CENTRED, FORMS, TRAIN_CENTRED, label_means, macro_auc
from dynamics.methods import selection
from dynamics.methods.fits import Fit, fit_units
from dynamics.methods.label_free import BATCH_CALIBRATION, calibrate, prior
from dynamics.results.schema import TABLES
from dynamics.unit_arrays import UnitArrays

CHOICES = ("full", "oracle_t1", "oracle_b1", "heldout_t1")
BASE_METHODS = (*(form + choice for form in FORMS for choice in CHOICES), BATCH_CALIBRATION)
"""Methods whose rows of `prompt_scores` every unit has, once each, whatever a plan fits."""


def unit_tables(unit: UnitArrays) -> dict[str, pa.Table]:
    """The rows of `contributions`, `predictions`, `component_scores` and `prompt_scores`."""
    splits = [split for split in ("train", "test") if split in unit.split]
    answers = {split: answers_by_form(unit, split) for split in splits}
    return {
        "contributions": _contributions(unit),
        "predictions": pa.concat_tables([_predictions(unit, answers), _skipped_examples(unit)]),
        "component_scores": pa.concat_tables([_component_scores(unit, split, answers[split]) for split in splits]),
        "prompt_scores": _prompt_scores(unit, answers["test"]),
    }


def table(name: str, keys: Mapping[str, object], columns: Mapping[str, Sequence | pa.Array]) -> pa.Table:
    """Rows of a table from columns, and keys that are equal on every row; columns that are not given are null."""
    n_rows = len(next(iter(columns.values())))
    schema = TABLES[name]
    unknown = sorted({*keys, *columns} - set(schema.names))
    assert not unknown, f"{name} has no column {unknown}"
    arrays = []
    for field in schema:
        if field.name in columns:
            value: Any = columns[field.name]
            arrays.append(value.cast(field.type) if isinstance(value, pa.Array) else pa.array(value, field.type))
        else:
            arrays.append(pa.repeat(pa.scalar(keys.get(field.name), field.type), n_rows))
    return pa.Table.from_arrays(arrays, schema=schema)


def fit_tables(units: Sequence[UnitArrays], fits: Sequence[Fit]) -> dict[str, pa.Table]:
    """The rows of `prompt_scores` and `reweightings` of these fits on these units."""
    by_fit = [fit_units(units, fit) for fit in fits]
    fitted = [(unit, of_units[i]) for i, unit in enumerate(units) for of_units in by_fit]
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


def _predictions(unit: UnitArrays, answers: Mapping[str, Mapping[str, SplitAnswers]]) -> pa.Table:
    columns = _example_columns(unit)
    for form in ("", CENTRED):
        by_split = {split: of_split[form] for split, of_split in answers.items()}
        full_labels, full_tied = _encoded(unit, {name: of.full_credit for name, of in by_split.items()})
        labels, tied = _encoded(unit, {name: of.components.credit for name, of in by_split.items()})
        columns |= {
            f"{form}full": full_labels,
            f"{form}full_tied": pa.array(full_tied, pa.uint32(), mask=full_tied == 0),
            f"{form}predictions": _lists(labels, pa.uint8()),
            f"{form}tied": _lists_or_null(tied, pa.uint32()),
        }
    return table("predictions", unit.keys, columns)


def _encoded(unit: UnitArrays, label_credit: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and ties (example, ...) in the order of the unit, from the credit of each split's rows."""
    shape = (len(unit.split), *next(iter(label_credit.values())).shape[1:-1])
    labels, tied = np.empty(shape, np.uint8), np.empty(shape, np.uint32)
    for split, of_split in label_credit.items():
        rows = np.asarray(unit.split) == split
        labels[rows], tied[rows] = scores.encode_credit(of_split)
    return labels, tied


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


def _component_scores(unit: UnitArrays, split: str, answers: Mapping[str, SplitAnswers]) -> pa.Table:
    raw, centred = answers[""], answers[CENTRED]
    gold = raw.components.gold
    scored = scores.score(raw.contributions, gold, label_credit=raw.components.credit, gaps=raw.components.gaps)
    by_train = _component_accuracy(answers[TRAIN_CENTRED]) if TRAIN_CENTRED in answers else None
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
            "n_examples": [len(gold)] * len(unit.components),
            "centred_accuracy": _component_accuracy(centred),
            "train_centred_accuracy": [None] * len(unit.components) if by_train is None else by_train,
            "auc": _null_if_nan(macro_auc(raw.contributions, gold)),
            "label_means": _lists(label_means(raw.contributions), pa.float32()),
            "mean_gap": scored.mean_gap,
            "centred_mean_gap": centred.components.gaps,
        },
    )


def _component_accuracy(answers: SplitAnswers) -> np.ndarray:
    return answers.components.correct.mean(0)


def _null_if_nan(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def _prompt_scores(unit: UnitArrays, answers: Mapping[str, SplitAnswers]) -> pa.Table:
    """The full model, the best and the worst candidate on the test rows themselves, and held-out T1, in every form."""
    rows = [row for form in FORMS for row in _scores_in_form(unit, form, answers)]
    rows.append(_batch_calibration(unit, answers[""]))
    assert tuple(row["method"] for row in rows) == BASE_METHODS
    shared = {
        "split": "test",
        "variant": "",
        "n_labelled": 0,
        "n_examples": unit.split.count("test"),
        "n_shots_used": unit.n_shots_used,
    }
    names = dict.fromkeys(name for row in rows for name in row)
    return table(
        "prompt_scores", unit.keys, {name: [{**shared, **row}.get(name) for row in rows] for name in names | shared}
    )


def _scores_in_form(unit: UnitArrays, form: str, answers: Mapping[str, SplitAnswers]) -> list[dict[str, object]]:
    """The rows of `CHOICES` from logits as they are, or less each label's mean over the test or the training rows."""
    if form not in answers:
        return [{"method": form + choice, "reason": "no training rows to take means over"} for choice in CHOICES]
    own = answers[form]
    candidates = [i for i, c in enumerate(unit.components) if c.is_candidate]
    names = [unit.components[i].name for i in candidates]
    of_candidates = own.components.components(np.array(candidates))
    best, worst = selection.oracle_t1(of_candidates), selection.oracle_b1(of_candidates)
    gold, ids = of_candidates.gold, _test_ids(unit)
    auc = macro_auc(answers[""].full, gold)
    return [
        {
            "method": f"{form}full",
            "accuracy": float(scores.accuracy(own.full_credit, gold)),
            "auc": None if np.isnan(auc) else auc,
            **({} if form else _full_bias(own)),
            **(scores.prediction_columns(own.full, ids) if form == TRAIN_CENTRED else {}),
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
            **_split_half(of_candidates, ids, [unit.groups.get(name) for name in ids]),
        },
    ]


def _test_ids(unit: UnitArrays) -> list[str]:
    return [name for name, split in zip(unit.example_id, unit.split, strict=True) if split == "test"]


def _full_bias(raw: SplitAnswers) -> dict[str, object]:
    """The full model's label bias on the test rows: mean logits, and shares of predictions."""
    return {"label_means": label_means(raw.full).tolist(), "label_share": raw.full_credit.mean(0).tolist()}


def _batch_calibration(unit: UnitArrays, raw: SplitAnswers) -> dict[str, object]:
    label_prior = prior(raw.full)
    log_odds = calibrate(raw.full, label_prior)
    return {
        "method": BATCH_CALIBRATION,
        "accuracy": float(scores.accuracy(scores.credit(log_odds), raw.components.gold)),
        **scores.prediction_columns(log_odds, _test_ids(unit)),
        "label_prior": label_prior.tolist(),
        "n_prior_prompts": len(raw.full),
    }


def _split_half(answers: selection.Answers, ids: list[str], groups: list[str | None]) -> dict[str, object]:
    """Held-out T1 on halves of the test rows: accuracy and predictions, or the reason why there are none."""
    if len(answers.gold) < 2:
        return {"reason": f"{len(answers.gold)} test row cannot be halved"}
    if None not in groups and len(set(groups)) == 1:
        return {"reason": f"{len(answers.gold)} test rows of one group cannot be halved"}
    in_first = selection.balanced_halves(answers.gold, np.array(ids), groups)
    halves = selection.heldout_split_half(answers, in_first)
    predictions = scores.prediction_columns(selection.credit_of_halves(answers, in_first, halves), ids)
    return {"accuracy": halves.accuracy, **predictions}


def _lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """A (row, length) array as a column of lists."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind)
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32()), flat)


def _lists_or_null(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """The same with null for rows of zeros."""
    has_any = (values != 0).sum(1) > 0
    offsets = np.concatenate([[0], has_any.cumsum() * values.shape[1]])
    masked = pa.array(offsets, pa.int32(), mask=np.append(~has_any, False))
    return pa.ListArray.from_arrays(masked, pa.array(values[has_any].reshape(-1), kind))
