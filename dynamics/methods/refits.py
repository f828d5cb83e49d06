"""Refits of a unit with its training labels shuffled: the accuracy of COMP RW and Calib+ where labels say nothing.

Labels are shuffled among the training rows that a fit uses, weights are fitted again, and the test rows are scored with
their true labels. The prompts stay as they are: what demonstrations tell the model, it still knows. So a fit that stays
near the full model is as accurate as the full model under any labels, and only what exceeds the refits is due to them.
"""

import numpy as np

from dynamics import scores
from dynamics.label_bias import CENTRED, centred
from dynamics.methods import calibration
from dynamics.methods.fits import CALIB_PLUS, COMP_RW, Fit, split_rows
from dynamics.methods.relabelled_fits import fit_relabelled
from dynamics.methods.variants import VARIANTS
from dynamics.unit_arrays import UnitArrays

REFITTED = (COMP_RW, CENTRED + COMP_RW, CALIB_PLUS)
"""The methods that are fitted again: weights, the same less the label bias on the test rows, and label factors."""


def shuffled_labels(gold: np.ndarray, demo_seed: int, n: int, *, seed: int = 0) -> np.ndarray:
    """Labels shuffled among rows, the true ones first: (row,) -> (1 + n, row).

    They depend on gold and the demonstration seed only, so all templates and steps of a seed share their shuffles.
    """
    labels = np.repeat(gold[None], 1 + n, 0)
    labels[1:] = np.random.default_rng([seed, 4, demo_seed]).permuted(labels[1:], axis=1)
    return labels


def refit_accuracies(unit: UnitArrays, fit: Fit, n: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Test accuracy of each method of `REFITTED`, first with the true training labels, then with n shuffles of them.

    Args:
        unit: arrays with enough training rows for the fit.
        fit: COMP RW and Calib+ in one variant with one K.
        n: number of shuffles.

    Returns:
        Method -> (1 + n,).
    """
    assert fit.settings is not None, "held-out T1 fits no weights"
    train, test = split_rows(unit, "train").take(fit.n_train(unit.n_shots_used)), split_rows(unit, "test")
    labels = shuffled_labels(train.gold, int(str(unit.keys["demo_seed"])), n, seed=seed)
    weights = fit_relabelled(train.contributions, labels, fit.settings, train.remainder)
    logits = np.einsum("ejy,sj->esy", test.contributions.astype(np.float64), weights, optimize=True)
    if fit.settings.keep_remainder:
        logits += test.remainder[:, None]
    probabilities = calibration.label_probabilities(train.full)
    per_label = probabilities[..., None] * np.eye(probabilities.shape[1])
    factors = fit_relabelled(per_label, labels, VARIANTS[fit.base].calibration)
    calibrated = calibration.label_probabilities(test.full)[:, None] * factors
    by_method = zip(REFITTED, (logits, centred(logits), calibrated), strict=True)
    return {method: scores.accuracy(scores.credit(values), test.gold) for method, values in by_method}
