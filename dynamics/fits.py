"""What a few labels buy: reweighting, calibration and a held-out choice, from one unit's contributions and no model."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dynamics import calibration, reweighting, scores, selection
from dynamics.descent import FitSettings
from dynamics.schema import METHOD_VERSION, TABLES
from dynamics.tables import UnitArrays, table

COUNTS_DEMONSTRATIONS = {"official_code": False}
"""Whether K counts the demonstrations (the paper) or comes on top of them (the authors' code); True unless named."""


@dataclass(frozen=True)
class Fit:
    """One way of using K labelled examples.

    Attributes:
        name: variant in the tables.
        base: the built-in variant it starts from, which also decides Calib+ and what K counts.
        settings: of the reweighting.
        n_labelled: K.
    """

    name: str
    base: str
    settings: FitSettings
    n_labelled: int

    @property
    def fit_id(self) -> str:
        """Hash (16 hex) of the settings, K and the method's version; a row's whole identity with its unit's id."""
        text = repr((self.settings, calibration.VARIANTS[self.base], self.n_labelled, METHOD_VERSION))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def n_train(self, n_shots: int) -> int:
        """Training rows that K leaves beside the demonstrations."""
        return self.n_labelled - n_shots if COUNTS_DEMONSTRATIONS.get(self.base, True) else self.n_labelled


@dataclass(frozen=True)
class FitRows:
    """Rows of `prompt_scores` and of `reweightings`, without the keys."""

    scores: list[dict[str, object]]
    weights: list[dict[str, object]]


def fit_unit(unit: UnitArrays, fit: Fit) -> FitRows:
    """COMP RW, Calib+ and held-out T1 on the first training rows that K allows, scored on the test rows.

    Where K leaves no training rows, or more than the unit has, the rows are null and say why.
    """
    n_train = fit.n_train(unit.n_shots_used)
    there = unit.split.count("train")
    if not 0 < n_train <= there:
        reason = (
            f"K = {fit.n_labelled} asks for {n_train} training rows beside {unit.n_shots_used} shots; {there} there"
        )
        return FitRows([_score(unit, fit, method, None, reason=reason) for method in _METHODS], [])
    train, test = _rows(unit, "train").take(n_train), _rows(unit, "test")
    weights = reweighting.fit(
        train.contributions,
        train.gold,
        fit.settings,
        train.remainder if fit.settings.keep_remainder else None,
        components=train.components,
    )
    logits = weights(test.contributions, test.remainder if fit.settings.keep_remainder else None)
    factors = calibration.fit_calibration(
        calibration.label_probabilities(train.full), train.gold, calibration.VARIANTS[fit.base]
    )
    calibrated = factors(calibration.label_probabilities(test.full))
    held_out = selection.heldout_train_rows(train.answers, test.answers)
    chosen = train.components[held_out.chosen[0].component]
    results = [
        _score(unit, fit, "comp_rw", _accuracy(logits, test.gold)),
        _score(unit, fit, "calib_plus", _accuracy(calibrated, test.gold)),
        _score(unit, fit, "heldout_t1", held_out.accuracy, component=chosen),
    ]
    return FitRows(results, _weights(fit, weights))


def fit_tables(units: Sequence[UnitArrays], fits: Sequence[Fit]) -> dict[str, pa.Table]:
    """The rows of `prompt_scores` and `reweightings` that the fits add to these units."""
    fitted = [(unit, fit_unit(unit, fit)) for unit in units for fit in fits]
    return {
        "prompt_scores": _table("prompt_scores", [(unit, rows.scores) for unit, rows in fitted]),
        "reweightings": _table("reweightings", [(unit, rows.weights) for unit, rows in fitted]),
    }


def _table(name: str, parts: Sequence[tuple[UnitArrays, list[dict[str, object]]]]) -> pa.Table:
    tables = [
        table(name, unit.keys, {column: [row[column] for row in rows] for column in rows[0]})
        for unit, rows in parts
        if rows
    ]
    return pa.concat_tables(tables) if tables else TABLES[name].empty_table()


@dataclass(frozen=True)
class _Rows:
    """The candidates' contributions of one split, and what is left of the logits."""

    components: tuple[str, ...]
    contributions: np.ndarray
    remainder: np.ndarray
    full: np.ndarray
    gold: np.ndarray

    def take(self, n: int) -> "_Rows":
        return _Rows(self.components, self.contributions[:n], self.remainder[:n], self.full[:n], self.gold[:n])

    @property
    def answers(self) -> selection.Answers:
        return selection.answers_of(self.contributions, self.gold)


_METHODS = ("comp_rw", "calib_plus", "heldout_t1")


def _rows(unit: UnitArrays, split: str) -> _Rows:
    mine = np.asarray(unit.split) == split
    candidates = np.array([c.is_candidate for c in unit.components])
    contributions = unit.contributions[mine]
    return _Rows(
        components=tuple(c.name for c in unit.components if c.is_candidate),
        contributions=contributions[:, candidates],
        remainder=contributions[:, ~candidates].sum(1, dtype=np.float64) + unit.constant,
        full=unit.full[mine],
        gold=unit.gold[mine],
    )


def _accuracy(logits: np.ndarray, gold: np.ndarray) -> float:
    return float(scores.accuracy(scores.credit(logits), gold))


def _score(
    unit: UnitArrays,
    fit: Fit,
    method: str,
    accuracy: float | None,
    *,
    component: str | None = None,
    reason: str | None = None,
) -> dict[str, object]:
    variant = {"heldout_t1": "train_rows"}.get(method, fit.name)
    return {
        "split": "test",
        "method": method,
        "variant": variant,
        "n_labelled": fit.n_labelled,
        "component": component,
        "selected_on": "train" if method == "heldout_t1" else None,
        "accuracy": accuracy,
        "n_examples": unit.split.count("test"),
        "n_shots_used": unit.n_shots_used,
        "reason": reason,
        "fit_id": fit.fit_id,
    }


def _weights(fit: Fit, fitted: reweighting.Reweighting) -> list[dict[str, object]]:
    shared: Mapping[str, object] = {
        "variant": fit.name,
        "n_labelled": fit.n_labelled,
        "train_loss": fitted.train_loss,
        "epochs": fitted.epochs,
        "stop_reason": fitted.stop_reason,
        "keeps_remainder": fit.settings.keep_remainder,
        "fit_id": fit.fit_id,
    }
    pairs = zip(fitted.components, fitted.weights.tolist(), strict=True)
    return [{**shared, "component": name, "weight": weight} for name, weight in pairs]
