"""Calib+: against autograd, a planted label bias, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamics import scores
from dynamics.methods.calibration import Calibration, fit_calibration, label_probabilities
from dynamics.methods.variants import VARIANTS


def biased(seed: int, n_rows: int, n_labels: int = 3, bias: float = 1.0):
    """Logits that know the label, and a bias towards label 0 that hides it: probabilities and gold."""
    gold = np.arange(n_rows) % n_labels
    logits = np.random.default_rng(seed).normal(0, 0.5, (n_rows, n_labels)) + np.eye(n_labels)[gold]
    logits[:, 0] += bias
    return label_probabilities(logits), gold


def autograd_fit(probabilities, gold, variant) -> tuple[np.ndarray, float, int]:
    """The obvious torch loop: factors, mean cross-entropy, updates made."""
    p, labels = torch.tensor(probabilities), torch.tensor(gold)
    v = torch.ones(p.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([v], lr=variant.lr)
    best, patience, made = float("inf"), 3, 0
    for epoch in range(variant.max_epochs):
        right = bool(((p * v).argmax(1) == labels).all())
        if variant.stop == "patience" and epoch % 100 == 0 and right:
            break
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(p * v, labels, reduction="mean" if variant.mean_loss else "sum")
        loss.backward()
        optimiser.step()
        made = epoch + 1
        patience -= int(loss.item() >= best)
        best = min(best, loss.item())
        if variant.stop == "patience" and not patience:
            break
    v = v.detach()
    return v.numpy(), float(torch.nn.functional.cross_entropy(p * v, labels)), made


@pytest.mark.parametrize("variant", ["paper", "official_code"])
@pytest.mark.parametrize("bias", [0.0, 1.0, 3.0])
def test_equals_autograd(variant: str, bias: float) -> None:
    chosen = replace(VARIANTS[variant].calibration, max_epochs=500)
    probabilities, gold = biased(0, 12, bias=bias)
    fitted = fit_calibration(probabilities, gold, chosen)
    factors, loss, epochs = autograd_fit(probabilities, gold, chosen)
    assert fitted.epochs == epochs
    np.testing.assert_allclose(fitted.factors, factors, atol=1e-9)
    assert fitted.train_loss == pytest.approx(loss, rel=1e-9)


def test_official_code_leaves_a_model_that_is_right_as_it_is() -> None:
    gold = np.arange(12) % 3
    fitted = fit_calibration(label_probabilities(2.0 * np.eye(3)[gold]), gold, VARIANTS["official_code"].calibration)
    assert (fitted.epochs, fitted.stop_reason) == (0, "all rows right")
    assert (fitted.factors == 1).all()


def test_official_code_looks_before_updates_1_and_101_only() -> None:
    """The first update makes all rows right; the code sees it before the 101st."""
    gold, wins = np.array([0, 1, 0, 1, 1]), np.array([0.9, 0.9, 0.9, 0.9, 0.4999])
    probabilities = np.where(np.arange(2) == gold[:, None], wins[:, None], 1 - wins[:, None])
    once = fit_calibration(probabilities, gold, replace(VARIANTS["official_code"].calibration, max_epochs=1))
    assert (once(probabilities).argmax(1) == gold).all()
    fitted = fit_calibration(probabilities, gold, VARIANTS["official_code"].calibration)
    assert (fitted.epochs, fitted.stop_reason) == (100, "all rows right")


def test_variants_are_those_of_the_protocol() -> None:
    paper, code = VARIANTS["paper"].calibration, VARIANTS["official_code"].calibration
    assert (paper.l1, paper.lr, paper.max_epochs, paper.mean_loss, paper.clip) == (0, 0.05, 5000, False, False)
    assert (code.l1, code.lr, code.max_epochs, code.mean_loss, code.clip) == (0, 0.05, 5000, True, False)
    assert all(name == variant.calibration.variant for name, variant in VARIANTS.items())


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_undoes_a_label_bias(variant: str) -> None:
    """10 problems, 24 rows, 300 test rows each."""
    before, after = [], []
    for seed in range(10):
        probabilities, gold = biased(seed, 324)
        fitted = fit_calibration(probabilities[:24], gold[:24], VARIANTS[variant].calibration)
        assert fitted.factors.argmin() == 0
        before.append(scores.accuracy(scores.credit(probabilities[24:]), gold[24:]))
        after.append(scores.accuracy(scores.credit(fitted(probabilities[24:])), gold[24:]))
    assert np.mean(after) > np.mean(before) + 0.03, (before, after)


def test_factors_of_one_are_the_full_model() -> None:
    probabilities, _ = biased(0, 12)
    ones = Calibration(np.ones(3), VARIANTS["default"].calibration, 0, 0.0, "", (4, 4, 4))
    assert (ones(probabilities) == probabilities).all()


def test_probabilities_are_renormalised_without_overflow() -> None:
    probabilities = label_probabilities(np.array([[1e4, 1e4], [0, np.log(3)]], np.float32))
    np.testing.assert_allclose(probabilities, [[0.5, 0.5], [0.25, 0.75]], rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [lambda p: p * 0.9, lambda p: np.where(p > 0, np.nan, p), lambda p: p[0], lambda p: 2 * p - 1 / 3],
    ids=["unnormalised", "nan", "one row", "negative"],
)
def test_refuses_what_is_not_probabilities(change) -> None:
    probabilities, gold = biased(0, 12)
    with pytest.raises(ValueError, match="renormalise with label_probabilities"):
        fit_calibration(change(probabilities), gold)


def test_refuses_other_labels() -> None:
    probabilities, gold = biased(0, 12)
    fitted = fit_calibration(probabilities, gold)
    with pytest.raises(ValueError, match="have 2 labels and the fit has 3 factors"):
        fitted(label_probabilities(np.zeros((4, 2))))
