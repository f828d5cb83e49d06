"""Fits on K labelled examples: reweighting, calibration and held-out selection, from a unit's contributions alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np

from dynamics import scores
from dynamics.identity import METHOD_VERSION, identity_hash
from dynamics.label_bias import FORMS, TRAIN_CENTRED, in_form, macro_auc
from dynamics.methods import calibration, reweighting, selection
from dynamics.methods.descent import FitSettings
from dynamics.methods.variants import VARIANTS
from dynamics.scores import prediction_columns
from dynamics.unit_arrays import UnitArrays

COMP_RW, CALIB_PLUS, HELDOUT_T1 = ("comp_rw", "calib_plus", "heldout_t1")
FIT_METHODS = (*(form + COMP_RW for form in FORMS), CALIB_PLUS)
SELECTION_METHODS = tuple(form + HELDOUT_T1 for form in FORMS)


@dataclass(frozen=True)
class Fit:
    """One use of K labelled examples: COMP RW and Calib+, or held-out selection of one component (T1).

    Attributes:
        name: the variant in the tables.
        base: the entry of `VARIANTS` it is derived from, which decides Calib+ and what K counts.
        settings: of the reweighting; None for held-out T1, which fits no weights.
        n_labelled: K.
    """

    name: str
    base: str
    settings: FitSettings | None
    n_labelled: int

    @cached_property
    def fit_id(self) -> str:
        """Hash (16 hex) of the settings, K and the version of the method; with a unit's id it identifies a row."""
        return identity_hash(
            {
                "reweighting": self.settings,
                "calibration": None if self.settings is None else VARIANTS[self.base].calibration,
                "counts_demonstrations": self.counts_demonstrations,
                "n_labelled": self.n_labelled,
                "method_version": METHOD_VERSION,
            }
        )

    @property
    def counts_demonstrations(self) -> bool:
        """Whether K counts the demonstrations in the prompts."""
        return VARIANTS[self.base].counts_demonstrations

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods whose rows of `prompt_scores` it gives, each logit method as it is and less its label bias."""
        return SELECTION_METHODS if self.settings is None else FIT_METHODS

    @property
    def names(self) -> tuple[tuple[str, str, int], ...]:
        """(method, variant, n_labelled) of its rows, by which analyses tell fits apart."""
        return tuple((method, self.name, self.n_labelled) for method in self.methods)

    def n_train(self, n_shots: int) -> int:
        """Number of training rows: K, less the demonstrations where K counts them."""
        return self.n_labelled - n_shots if self.counts_demonstrations else self.n_labelled


def heldout_fits(fits: Sequence[Fit]) -> list[Fit]:
    """Held-out T1 on the training rows of these fits, once for each K, with and without the demonstrations counted.

    The variant is `train_rows`, or `train_rows_outside` where K comes on top of the demonstrations.
    """
    bases = {(fit.n_labelled, fit.counts_demonstrations): fit.base for fit in fits}
    variant = {True: "train_rows", False: "train_rows_outside"}
    return [Fit(variant[counts], base, None, n_labelled) for (n_labelled, counts), base in sorted(bases.items())]


@dataclass(frozen=True)
class FitRows:
    """Rows of `prompt_scores` (`scores`) and of `reweightings` (`weights`), without the keys."""

    scores: list[dict[str, object]]
    weights: list[dict[str, object]]


def fit_units(units: Sequence[UnitArrays], fit: Fit) -> list[FitRows]:
    """Fit COMP RW and Calib+, or select held-out T1, on the first training rows that K allows; score the test rows.

    Each unit is fitted by itself; several at once take less time. Where K allows no training rows, or more than a unit
    has, accuracies are null with a reason.
    """
    reasons = [_unfit(unit, fit) for unit in units]
    usable = [unit for unit, reason in zip(units, reasons, strict=True) if reason is None]
    fitted = iter(_select_each(usable, fit) if fit.settings is None else _reweight_each(usable, fit, fit.settings))
    return [
        next(fitted)
        if reason is None
        else FitRows([_score(unit, fit, method, None, reason=reason) for method in fit.methods], [])
        for unit, reason in zip(units, reasons, strict=True)
    ]


def _unfit(unit: UnitArrays, fit: Fit) -> str | None:
    """Why a unit has too few training rows for a fit; None where it has enough."""
    n_train, available = fit.n_train(unit.n_shots_used), unit.split.count("train")
    if 0 < n_train <= available:
        return None
    return f"K = {fit.n_labelled} asks for {n_train} training rows beside {unit.n_shots_used} shots; {available} there"


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split: contributions of the candidates, and the remainder of the logits."""

    components: tuple[str, ...]
    contributions: np.ndarray
    remainder: np.ndarray
    full: np.ndarray
    gold: np.ndarray
    example_id: tuple[str, ...]

    def take(self, n: int) -> "SplitRows":
        """The first n rows."""
        arrays = self.contributions[:n], self.remainder[:n], self.full[:n], self.gold[:n]
        return SplitRows(self.components, *arrays, self.example_id[:n])

    def kept(self, settings: FitSettings) -> np.ndarray | None:
        """The remainder where the settings keep it, else None."""
        return self.remainder if settings.keep_remainder else None

    def labelled(self, settings: FitSettings) -> reweighting.LabelledRows:
        """The rows as a reweighting is fitted to them."""
        return reweighting.LabelledRows(self.contributions, self.gold, self.kept(settings), self.components)

    def predictions(self, values: np.ndarray) -> dict[str, list[int] | None]:
        """The columns `predictions` and `tied` of `prompt_scores`, from logits or credit (row, label)."""
        return prediction_columns(values, self.example_id)


def _select_each(units: Sequence[UnitArrays], fit: Fit) -> list[FitRows]:
    return [FitRows([_select(unit, fit, form) for form in FORMS], []) for unit in units]


def _select(unit: UnitArrays, fit: Fit, form: str) -> dict[str, object]:
    """Held-out T1 in one of `FORMS`: the best component on the labelled rows, scored on the test rows.

    Labelled rows are centred by the means over all training rows, in both forms: a few rows have no mean of their own.
    """
    train, test = split_rows(unit, "train"), split_rows(unit, "test")
    labelled = train.take(fit.n_train(unit.n_shots_used))
    seen = labelled.contributions if form == "" else in_form(labelled.contributions, TRAIN_CENTRED, train.contributions)
    scored = in_form(test.contributions, form, train.contributions)
    answers = selection.answers_of(scored, test.gold)
    held_out = selection.heldout_train_rows(selection.answers_of(seen, labelled.gold), answers)
    index = held_out.selected[0].component
    score = _score(unit, fit, form + HELDOUT_T1, held_out.accuracy, component=train.components[index])
    auc = _auc(test.contributions[:, index], test.gold) if form == "" else None
    return {**score, "auc": auc, **test.predictions(answers.credit[:, index])}


def _reweight_each(units: Sequence[UnitArrays], fit: Fit, settings: FitSettings) -> list[FitRows]:
    """COMP RW and Calib+ of each unit."""
    train = [split_rows(unit, "train") for unit in units]
    labelled = [rows.take(fit.n_train(unit.n_shots_used)) for rows, unit in zip(train, units, strict=True)]
    weights = reweighting.fit_each([rows.labelled(settings) for rows in labelled], settings)
    factors = calibration.fit_each_calibration(
        [(calibration.label_probabilities(rows.full), rows.gold) for rows in labelled], VARIANTS[fit.base].calibration
    )
    return [_fitted(*of_unit) for of_unit in zip(units, repeat(fit), train, weights, factors)]


def _fitted(
    unit: UnitArrays, fit: Fit, train: SplitRows, weights: reweighting.Reweighting, factors: calibration.Calibration
) -> FitRows:
    """The rows of COMP RW and Calib+ of one unit."""
    test = split_rows(unit, "test")
    on_train, on_test = (weights(rows.contributions, rows.kept(weights.settings)) for rows in (train, test))
    logits = {form + COMP_RW: in_form(on_test, form, on_train) for form in FORMS}
    logits[CALIB_PLUS] = factors(calibration.label_probabilities(test.full))
    results = [
        {**_score(unit, fit, method, _accuracy(values, test.gold)), **test.predictions(values)}
        for method, values in logits.items()
    ]
    results[0]["auc"] = _auc(on_test, test.gold)
    return FitRows(results, _weights(fit, weights))


def split_rows(unit: UnitArrays, split: str) -> SplitRows:
    """The rows of one split of a unit, `train` or `test`, in the order they are stored in."""
    in_split = np.asarray(unit.split) == split
    candidates = np.array([c.is_candidate for c in unit.components])
    contributions = unit.contributions[in_split]
    return SplitRows(
        components=tuple(c.name for c in unit.components if c.is_candidate),
        contributions=contributions[:, candidates],
        remainder=contributions[:, ~candidates].sum(1, dtype=np.float64) + unit.constant,
        full=unit.full[in_split],
        gold=unit.gold[in_split],
        example_id=tuple(np.asarray(unit.example_id)[in_split].tolist()),
    )


def _accuracy(logits: np.ndarray, gold: np.ndarray) -> float:
    return float(scores.accuracy(scores.credit(logits), gold))


def _auc(logits: np.ndarray, gold: np.ndarray) -> float | None:
    area = float(macro_auc(logits, gold))
    return None if np.isnan(area) else area


def _score(
    unit: UnitArrays,
    fit: Fit,
    method: str,
    accuracy: float | None,
    *,
    component: str | None = None,
    reason: str | None = None,
) -> dict[str, object]:
    return {
        "split": "test",
        "method": method,
        "variant": fit.name,
        "n_labelled": fit.n_labelled,
        "component": component,
        "selected_on": "train" if method.endswith(HELDOUT_T1) else None,
        "accuracy": accuracy,
        "auc": None,
        "n_examples": unit.split.count("test"),
        "n_shots_used": unit.n_shots_used,
        "reason": reason,
        "fit_id": fit.fit_id,
        "predictions": None,
        "tied": None,
    }


def _weights(fit: Fit, fitted: reweighting.Reweighting) -> list[dict[str, object]]:
    shared: Mapping[str, object] = {
        "variant": fit.name,
        "n_labelled": fit.n_labelled,
        "train_loss": fitted.train_loss,
        "epochs": fitted.epochs,
        "stop_reason": fitted.stop_reason,
        "keeps_remainder": fitted.settings.keep_remainder,
        "fit_id": fit.fit_id,
    }
    pairs = zip(fitted.components, fitted.weights.tolist(), strict=True)
    return [{**shared, "component": name, "weight": weight} for name, weight in pairs]
