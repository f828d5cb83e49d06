"""Fits under many labellings at once: the same weights as one by one, and what shuffled labels reach."""

from dataclasses import replace

import numpy as np
import pytest

from dynamics.components import component_grid
from dynamics.methods import relabelled_fits
from dynamics.methods.fits import Fit, fit_units
from dynamics.methods.refits import REFITTED, refit_accuracies, shuffled_labels
from dynamics.methods.relabelled_fits import fit_relabelled
from dynamics.methods.reweighting import fit
from dynamics.methods.variants import VARIANTS
from dynamics.unit_arrays import UnitArrays

COMPONENTS = component_grid(2, 4, attention_bias=False)


def problem(n_labels: int, n_rows: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contributions of nine components, a remainder, and five labellings."""
    rng = np.random.default_rng(n_labels)
    gold = shuffled_labels(np.arange(n_rows) % n_labels, 0, 4)
    return rng.normal(size=(n_rows, 9, n_labels)).astype(np.float32), rng.normal(size=(n_rows, n_labels)), gold


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["reweighting", "calibration"])
def test_every_labelling_gets_the_weights_of_a_fit_of_its_own(
    variant: str, n_labels: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contributions, remainder, gold = problem(n_labels)
    settings = getattr(VARIANTS[variant], kind)
    alone = np.stack([fit(contributions, labels, settings, remainder).weights for labels in gold])
    assert np.ptp(alone, 0).max() > 0.05
    np.testing.assert_allclose(fit_relabelled(contributions, gold, settings, remainder), alone, atol=2e-4)
    monkeypatch.setattr(relabelled_fits, "BLOCK_BYTES", 1)
    np.testing.assert_allclose(fit_relabelled(contributions, gold, settings, remainder), alone, atol=2e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_fits_that_are_right_at_once_stop_at_once(variant: str) -> None:
    """Component 0 knows labelling 0, so that stopping rules end one labelling before the others."""
    contributions, remainder, gold = problem(2)
    contributions[:, 0] = 4 * np.eye(2)[gold[0]]
    for settings in (VARIANTS[variant].reweighting, VARIANTS[variant].calibration):
        alone = np.stack([fit(contributions, labels, settings, remainder).weights for labels in gold])
        np.testing.assert_allclose(fit_relabelled(contributions, gold, settings, remainder), alone, atol=2e-4)


def test_more_rows_than_folds_and_components_that_contribute_nothing() -> None:
    contributions, remainder, gold = problem(2, n_rows=40)
    settings = VARIANTS["default"].reweighting
    alone = np.stack([fit(contributions, labels, settings, remainder).weights for labels in gold])
    np.testing.assert_allclose(fit_relabelled(contributions, gold, settings, remainder), alone, atol=2e-4)
    stops = VARIANTS["official_code"].reweighting
    without_gain = fit_relabelled(np.zeros((6, 3, 2), np.float32), gold[:, :6], stops)
    np.testing.assert_allclose(without_gain[0], fit(np.zeros((6, 3, 2)), gold[0, :6], stops).weights)
    nothing = fit_relabelled(np.zeros((6, 3, 3), np.float32), gold[:, :6] % 3, settings, np.zeros((6, 3)))
    assert np.isfinite(nothing).all()


def test_labels_are_shuffled_alike_for_a_seed_and_keep_their_numbers() -> None:
    gold = np.array([0, 1, 2, 0, 1, 2, 0])
    labels = shuffled_labels(gold, 3, 50)
    assert (labels[0] == gold).all()
    assert (np.sort(labels, 1) == np.sort(gold)).all()
    assert (labels == shuffled_labels(gold, 3, 50)).all()
    assert (labels[1:] != shuffled_labels(gold, 4, 50)[1:]).any()
    assert len({tuple(row) for row in labels}) > 30


def unit(knows: float, n_train: int = 16, n_test: int = 200) -> UnitArrays:
    """One unit whose first head separates the labels by `knows` logits and whose other parts are noise."""
    rng = np.random.default_rng(5)
    gold = np.arange(n_train + n_test) % 2
    parts = rng.normal(size=(len(gold), len(COMPONENTS), 2)).astype(np.float32)
    parts[:, 0] *= 6  # the embedding, which is in the remainder
    parts[:, 1] = knows * np.eye(2)[gold] + 0.1 * parts[:, 1]
    return UnitArrays(
        keys={"unit_id": "u", "model": "toy", "step": 0, "task": "t", "template": "plain", "demo_seed": 1},
        components=COMPONENTS,
        split=["train"] * n_train + ["test"] * n_test,
        example_id=[f"{i:04d}" for i in range(len(gold))],
        gold=gold,
        contributions=parts,
        constant=np.zeros(2, np.float32),
        full=parts.sum(1),
        n_shots_used=0,
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_first_refit_is_the_fit_itself(variant: str) -> None:
    of_unit, fitted = unit(1.0), Fit(variant, variant, VARIANTS[variant].reweighting, 12)
    rows = {str(row["method"]): row["accuracy"] for row in fit_units([of_unit], fitted)[0].scores}
    for method, accuracies in refit_accuracies(of_unit, fitted, 3).items():
        assert accuracies.shape == (4,)
        assert accuracies[0] == pytest.approx(rows[method], abs=0.006), method


def test_shuffled_labels_do_not_find_what_true_labels_find() -> None:
    fitted = Fit("paper", "paper", VARIANTS["paper"].reweighting, 16)
    knowing = refit_accuracies(unit(3.0), fitted, 60)
    assert knowing["comp_rw"][0] > np.quantile(knowing["comp_rw"][1:], 0.95)
    assert set(knowing) == set(REFITTED)
    unknowing = refit_accuracies(unit(0.0), replace(fitted, n_labelled=16), 60)
    assert abs(unknowing["comp_rw"][1:].mean() - 0.5) < 0.05
