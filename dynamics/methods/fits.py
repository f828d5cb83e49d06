"""What a few labels buy: reweighting, calibration and a held-out choice, from one unit's contributions and no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dynamics import scores
from dynamics.identity import METHOD_VERSION, short_hash
from dynamics.methods import calibration, reweighting, selection
from dynamics.methods.descent import FitSettings
from dynamics.methods.variants import VARIANTS
from dynamics.scores import prediction_columns
from dynamics.unit_arrays import UnitArrays

COMP_RW, CALIB_PLUS, HELDOUT_T1 = METHODS = ("comp_rw", "calib_plus", "heldout_t1")


@dataclass(frozen=True)
class Fit:
    """One way of using K labelled examples: weights and calibration, or the choice of one component.

    Attributes:
        name: variant in the tables.
        base: the built-in variant it starts from, which also decides Calib+ and what K counts.
        settings: of the reweighting; None for held-out T1, which fits nothing.
        n_labelled: K.
    """

    name: str
    base: str
    settings: FitSettings | None
    n_labelled: int

    @property
    def fit_id(self) -> str:
        """Hash (16 hex) of the settings, K and the method's version; a row's whole identity with its unit's id."""
        calibrated = None if self.settings is None else VARIANTS[self.base].calibration
        counting = (self.counts_demonstrations,) if self.settings is None else ()
        text = repr((self.settings, calibrated, self.n_labelled, METHOD_VERSION, *counting))
        return short_hash(text)

    @property
    def counts_demonstrations(self) -> bool:
        """Whether K counts the demonstrations in the prompts."""
        return VARIANTS[self.base].counts_demonstrations

    @property
    def methods(self) -> tuple[str, ...]:
        """What it has rows of `prompt_scores` for."""
        return (HELDOUT_T1,) if self.settings is None else (COMP_RW, CALIB_PLUS)

    def n_train(self, n_shots: int) -> int:
        """Training rows that K leaves beside the demonstrations."""
        return self.n_labelled - n_shots if self.counts_demonstrations else self.n_labelled


def heldout_fits(fits: Sequence[Fit]) -> list[Fit]:
    """Held-out T1 on the training rows of these fits, once for each K and way of counting it.

    Its variants are `train_rows`, and `train_rows_outside` where K comes on top of the demonstrations.
    """
    by_counting = {(fit.n_labelled, fit.counts_demonstrations): fit.base for fit in fits}
    name = {True: "train_rows", False: "train_rows_outside"}
    return [Fit(name[inside], base, None, k) for (k, inside), base in sorted(by_counting.items())]


@dataclass(frozen=True)
class FitRows:
    """Rows of `prompt_scores` and of `reweightings`, without the keys."""

    scores: list[dict[str, object]]
    weights: list[dict[str, object]]


def fit_unit(unit: UnitArrays, fit: Fit) -> FitRows:
    """COMP RW and Calib+, or held-out T1, on the first training rows that K allows, scored on the test rows.

    Where K leaves no training rows, or more than the unit has, the rows are null and say why.
    """
    n_train = fit.n_train(unit.n_shots_used)
    there = unit.split.count("train")
    if not 0 < n_train <= there:
        reason = (
            f"K = {fit.n_labelled} asks for {n_train} training rows beside {unit.n_shots_used} shots; {there} there"
        )
        return FitRows([_score(unit, fit, method, None, reason=reason) for method in fit.methods], [])
    train, test = _rows(unit, "train").take(n_train), _rows(unit, "test")
    if fit.settings is None:
        held_out = selection.heldout_train_rows(train.answers, test.answers)
        index = held_out.chosen[0].component
        score = _score(unit, fit, HELDOUT_T1, held_out.accuracy, component=train.components[index])
        return FitRows([{**score, **test.answered(test.answers.credit[:, index])}], [])
    return _reweight_and_calibrate(unit, fit, fit.settings, train, test)


@dataclass(frozen=True)
class _Rows:
    """The candidates' contributions of one split, and what is left of the logits."""

    components: tuple[str, ...]
    contributions: np.ndarray
    remainder: np.ndarray
    full: np.ndarray
    gold: np.ndarray
    example_id: tuple[str, ...]

    def take(self, n: int) -> "_Rows":
        """The first n rows."""
        arrays = self.contributions[:n], self.remainder[:n], self.full[:n], self.gold[:n]
        return _Rows(self.components, *arrays, self.example_id[:n])

    def answered(self, values: np.ndarray) -> dict[str, list[int] | None]:
        """Labels answered where logits are `values` (row, label), as columns of `prompt_scores`."""
        return prediction_columns(values, self.example_id)

    @property
    def answers(self) -> selection.Answers:
        """What every candidate answers on its own."""
        return selection.answers_of(self.contributions, self.gold)


def _reweight_and_calibrate(
    unit: UnitArrays, fit: Fit, settings: FitSettings, train: "_Rows", test: "_Rows"
) -> FitRows:
    weights = reweighting.fit(
        train.contributions,
        train.gold,
        settings,
        train.remainder if settings.keep_remainder else None,
        components=train.components,
    )
    logits = weights(test.contributions, test.remainder if settings.keep_remainder else None)
    factors = calibration.fit_calibration(
        calibration.label_probabilities(train.full), train.gold, VARIANTS[fit.base].calibration
    )
    calibrated = factors(calibration.label_probabilities(test.full))
    results = [
        {**_score(unit, fit, COMP_RW, _accuracy(logits, test.gold)), **test.answered(logits)},
        {**_score(unit, fit, CALIB_PLUS, _accuracy(calibrated, test.gold)), **test.answered(calibrated)},
    ]
    return FitRows(results, _weights(fit, settings, weights))


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
        example_id=tuple(np.asarray(unit.example_id)[mine].tolist()),
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
    return {
        "split": "test",
        "method": method,
        "variant": fit.name,
        "n_labelled": fit.n_labelled,
        "component": component,
        "selected_on": "train" if method == HELDOUT_T1 else None,
        "accuracy": accuracy,
        "n_examples": unit.split.count("test"),
        "n_shots_used": unit.n_shots_used,
        "reason": reason,
        "fit_id": fit.fit_id,
        "predictions": None,
        "tied": None,
    }


def _weights(fit: Fit, settings: FitSettings, fitted: reweighting.Reweighting) -> list[dict[str, object]]:
    shared: Mapping[str, object] = {
        "variant": fit.name,
        "n_labelled": fit.n_labelled,
        "train_loss": fitted.train_loss,
        "epochs": fitted.epochs,
        "stop_reason": fitted.stop_reason,
        "keeps_remainder": settings.keep_remainder,
        "fit_id": fit.fit_id,
    }
    pairs = zip(fitted.components, fitted.weights.tolist(), strict=True)
    return [{**shared, "component": name, "weight": weight} for name, weight in pairs]
