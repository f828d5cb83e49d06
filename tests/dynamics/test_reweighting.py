"""Reweighting: closed form against autograd, stops against plain loops, and what must and must not be found."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from dynamics import scores
from dynamics.methods import descent
from dynamics.methods.descent import FitSettings, loss_and_probabilities, margins
from dynamics.methods.reweighting import LabelledRows, Reweighting, fit, fit_each
from dynamics.methods.variants import VARIANTS

SHORT = {name: replace(variant.reweighting, max_epochs=64) for name, variant in VARIANTS.items()}


def noise(seed: int, n_rows: int = 12, n_components: int = 9, n_labels: int = 3, scale: float = 0.3):
    """Random rows with labels in turn: contributions, gold, remainder."""
    rng = np.random.default_rng(seed)
    contributions = rng.normal(0, scale, (n_rows, n_components, n_labels))
    return contributions, np.arange(n_rows) % n_labels, rng.normal(0, scale, (n_rows, n_labels))


def planted(seed: int, n_rows: int, n_components: int = 60, n_labels: int = 4, informative: int = 7):
    """Noise, label bias in every third component, and one component that mostly knows the label."""
    contributions, gold, remainder = noise(seed, n_rows, n_components, n_labels)
    bias = np.random.default_rng(0).normal(0, 0.5, (n_components, n_labels))
    contributions[:, ::3] += bias[::3]
    contributions[:, informative] += 0.7 * np.eye(n_labels)[gold]
    return contributions, gold, remainder


def autograd_fit(contributions, gold, variant: FitSettings, remainder) -> tuple[np.ndarray, float, int]:
    """A plain torch loop: applied weights, mean cross-entropy, updates made. Not for `leave_one_out`."""
    parts, labels = torch.tensor(contributions), torch.tensor(gold)
    weights = torch.ones(parts.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([weights], lr=variant.lr)

    def forward():
        applied = torch.clip(weights, 0, 1) if variant.clip else weights
        logits = (parts * applied[:, None]).sum(1) + (torch.tensor(remainder) if variant.keep_remainder else 0)
        return logits, torch.nn.functional.cross_entropy(
            logits, labels, reduction="mean" if variant.mean_loss else "sum"
        )

    best, patience, epoch = float("inf"), 3, 0
    for epoch in range(variant.max_epochs):
        optimiser.zero_grad()
        loss = forward()[1]
        (loss + variant.l1 * weights.abs().sum()).backward()
        optimiser.step()
        if variant.stop == "patience":
            if epoch % 100 == 0 and bool((forward()[0].argmax(1) == labels).all()):
                break
            patience -= int(loss.item() >= best)
            best = min(best, loss.item())
            if not patience:
                break
    logits = forward()[0].detach()
    applied = weights.detach().clip(0, 1) if variant.clip else weights.detach()
    return applied.numpy(), float(torch.nn.functional.cross_entropy(logits, labels)), epoch + 1


@pytest.mark.parametrize("variant", ["paper", "official_code"])
@pytest.mark.parametrize("case", [(0, 12, 9, 2), (1, 24, 60, 4), (2, 12, 27, 3)])
def test_descent_equals_autograd(variant: str, case: tuple) -> None:
    chosen = VARIANTS[variant].reweighting
    contributions, gold, remainder = noise(*case)
    fitted = fit(contributions, gold, chosen, remainder)
    weights, loss, epochs = autograd_fit(contributions, gold, chosen, remainder)
    assert fitted.epochs == epochs
    assert np.abs(fitted.weights - weights).max() <= 2 * chosen.lr * chosen.l1
    assert fitted.train_loss == pytest.approx(loss, abs=1e-3)
    expected = (contributions * weights[:, None]).sum(1)
    assert (fitted(contributions).argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_gradient_equals_autograd_to_rounding(n_labels: int) -> None:
    contributions, gold, remainder = noise(5, 12, 9, n_labels)
    weights = np.random.default_rng(1).normal(1, 1, 9)
    problem = margins(contributions, gold, remainder)
    losses, wrong = loss_and_probabilities(problem.at(weights))
    w = torch.tensor(weights, requires_grad=True)
    logits = (torch.tensor(contributions) * w[:, None]).sum(1) + torch.tensor(remainder)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(gold), reduction="sum")
    loss.backward()
    assert losses.sum() == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(wrong.reshape(-1) @ problem.matrix, w.grad.numpy(), rtol=1e-10, atol=1e-12)


def autograd_average(contributions, gold, variant: FitSettings, remainder, block: int = 1) -> np.ndarray:
    """`default` by plain loops: one autograd path per left-out block, then the weighted mean of its stops."""
    rows = np.arange(len(gold))
    full_path = autograd_path(contributions, gold, remainder, rows, variant)
    left_out = np.zeros(len(full_path))
    for row in rows:
        path = autograd_path(contributions, gold, remainder, rows[rows // block != row // block], variant)
        logits = np.einsum("jy,tj->ty", contributions[row], path) + remainder[row]
        left_out -= torch.log_softmax(torch.tensor(logits), 1).numpy()[:, gold[row]]
    share = np.exp(-left_out) / np.exp(-left_out).sum()
    return share @ full_path


def autograd_path(contributions, gold, remainder, rows: np.ndarray, variant: FitSettings) -> np.ndarray:
    """FISTA from weights of one on some of the rows, its gradients by autograd; the step is that of all rows."""
    contrast = contributions - contributions[np.arange(len(gold)), :, gold][..., None]
    flat = contrast.transpose(0, 2, 1).reshape(-1, contributions.shape[1])
    step = 2 / np.linalg.svd(flat, compute_uv=False)[0] ** 2
    parts, rest = torch.tensor(contributions[rows]), torch.tensor(remainder[rows])
    w = v = torch.ones(contributions.shape[1], dtype=torch.float64)
    m, path = 1.0, [w.numpy()]
    for epoch in range(1, variant.max_epochs + 1):
        v = v.clone().requires_grad_(True)
        logits = torch.einsum("rjy,j->ry", parts, v) + rest
        torch.nn.functional.cross_entropy(logits, torch.tensor(gold[rows]), reduction="sum").backward()
        moved = v.detach() - step * v.grad
        shrunk = torch.nn.functional.softshrink(moved, step * variant.l1)
        m_next = (1 + (1 + 4 * m * m) ** 0.5) / 2
        w, v, m = shrunk, shrunk + (m - 1) / m_next * (shrunk - w), m_next
        if epoch in (1, 2, 4, 8, 16, 32, 64, 128, 256):
            path.append(w.numpy())
    return np.stack(path)


@pytest.mark.parametrize("case", [(0, 8, 9, 2), (3, 12, 20, 4)])
def test_default_equals_autograd(case: tuple) -> None:
    contributions, gold, remainder = noise(*case)
    fitted = fit(contributions, gold, SHORT["default"], remainder)
    weights = autograd_average(contributions, gold, SHORT["default"], remainder)
    np.testing.assert_allclose(fitted.weights, weights, atol=1e-9)
    logits = np.einsum("ejy,j->ey", contributions, weights) + remainder
    loss = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(gold))
    assert fitted.train_loss == pytest.approx(loss.item(), rel=1e-8)
    assert (fitted(contributions, remainder).argmax(1) == logits.argmax(1)).all()


def official_stop(contributions, gold) -> tuple[int, str]:
    """The code's rule step by step, by numerical bookkeeping on plain logits: updates made and the reason."""
    w, best, left = np.ones(contributions.shape[1]), np.inf, 3
    onehot = np.eye(contributions.shape[2])[gold]
    for epoch in range(2000):
        z = np.einsum("ejy,j->ey", contributions, w.clip(0, 1))
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        loss = -np.log((p * onehot).sum(1)).mean()
        slope = np.einsum("ey,ejy->j", p - onehot, contributions) / len(gold) * ((w >= 0) & (w <= 1))
        w = w - 0.05 * (slope + 0.01 * np.sign(w))
        answers = np.einsum("ejy,j->ey", contributions, w.clip(0, 1)).argmax(1)
        if epoch % 100 == 0 and (answers == gold).all():
            return epoch + 1, "all rows right"
        best, left = (loss, left) if loss < best else (best, left - 1)
        if left == 0:
            return epoch + 1, "patience"
    return 2000, "max_epochs"


def stop_cases():
    """Rows for each way to stop: right at once, right after a few hundred updates, never, and no longer improving.

    In `misled`, weights fall from 1 to 0 at lr * lambda per update, and the loss with them for all 2,000.
    """
    easy = noise(0)[:2]
    easy[0][:, 0] += 5 * np.eye(3)[easy[1]]
    slow = planted(3, 12, 20, 2)[:2]
    hard = noise(4, 12, 3, 3, 0.05)[:2]
    steep = noise(2, 24, 60, 4, 3.0)[:2]
    gold = np.arange(12) % 3
    misled = -1e-6 * np.broadcast_to(np.eye(3)[gold][:, None], (12, 4, 3)), gold
    return {"easy": easy, "slow": slow, "hard": hard, "steep": steep, "misled": misled}


@pytest.mark.parametrize("name", sorted(stop_cases()))
def test_official_stop_step_by_step(name: str) -> None:
    contributions, gold = stop_cases()[name]
    fitted = fit(contributions, gold, VARIANTS["official_code"].reweighting)
    assert (fitted.epochs, fitted.stop_reason) == official_stop(contributions, gold)


def test_official_stop_cases_cover_every_reason() -> None:
    reasons = {name: official_stop(*case) for name, case in stop_cases().items()}
    assert {reason for _, reason in reasons.values()} == {"all rows right", "patience", "max_epochs"}, reasons
    assert any(epochs > 1 and reason == "all rows right" for epochs, reason in reasons.values()), reasons


def test_variants_are_those_of_the_protocol() -> None:
    paper, code = VARIANTS["paper"].reweighting, VARIANTS["official_code"].reweighting
    assert (paper.l1, paper.lr, paper.mean_loss, paper.clip) == (0.1, 0.05, False, False)
    assert (code.l1, code.lr, code.max_epochs, code.mean_loss, code.clip) == (0.01, 0.05, 2000, True, True)
    assert [name for name, chosen in VARIANTS.items() if chosen.reweighting.keep_remainder] == ["default"]
    assert all(name == chosen.reweighting.variant for name, chosen in VARIANTS.items())


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_recovers_a_planted_component(variant: str) -> None:
    """24 rows, 60 components, 4 labels, 10 problems, 400 test rows each."""
    ranks, before, after = [], [], []
    for seed in range(10):
        contributions, gold, remainder = planted(seed, 424)
        fitted = fit(contributions[:24], gold[:24], VARIANTS[variant].reweighting, remainder[:24])
        ranks.append(int((fitted.weights > fitted.weights[7]).sum()))
        before.append(held_out((contributions.sum(1) + remainder)[24:], gold[24:]))
        after.append(held_out(fitted(contributions[24:], remainder[24:]), gold[24:]))
    assert ranks == [0] * 10, ranks
    assert np.mean(after) > np.mean(before) + (0.03 if variant == "official_code" else 0.2), (before, after)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_shuffled_labels_give_chance(variant: str) -> None:
    """10 problems of 400 test rows: the hits lie within the central 99.9 % of a binomial with p = 1/4."""
    hits = 0
    for seed in range(10):
        contributions, gold, remainder = planted(seed, 424)
        shuffled = np.random.default_rng(100 + seed).permutation(gold)
        fitted = fit(contributions[:24], shuffled[:24], VARIANTS[variant].reweighting, remainder[:24])
        hits += round(400 * held_out(fitted(contributions[24:], remainder[24:]), shuffled[24:]))
    low, high = binom.ppf([0.0005, 0.9995], 4000, 0.25)
    assert low <= hits <= high, (low, hits, high)


def held_out(logits: np.ndarray, gold: np.ndarray) -> float:
    return float(scores.accuracy(scores.credit(logits), gold))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), variant=st.sampled_from(sorted(VARIANTS)))
def test_order_of_rows_and_components_does_not_matter(seed: int, variant: str) -> None:
    contributions, gold, remainder = noise(seed)
    rng = np.random.default_rng(seed)
    rows, components = rng.permutation(len(gold)), rng.permutation(contributions.shape[1])
    fitted = fit(contributions, gold, SHORT[variant], remainder)
    permuted = fit(contributions[rows][:, components], gold[rows], SHORT[variant], remainder[rows])
    np.testing.assert_allclose(permuted.weights, fitted.weights[components], atol=chatter(variant))
    assert permuted.train_loss == pytest.approx(fitted.train_loss, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-5, 5), variant=st.sampled_from(sorted(VARIANTS)))
def test_a_constant_on_all_labels_of_a_component_does_not_matter(seed: int, shift: float, variant: str) -> None:
    contributions, gold, remainder = noise(seed)
    moved = contributions.copy()
    moved[:, seed % contributions.shape[1]] += shift
    fitted, shifted = (fit(c, gold, SHORT[variant], remainder) for c in (contributions, moved))
    np.testing.assert_allclose(shifted.weights, fitted.weights, atol=chatter(variant))


def chatter(variant: str) -> float:
    """Two correct fits differ by rounding, and by 2 * lr * lambda where a weight crosses 0 one update apart."""
    chosen = VARIANTS[variant].reweighting
    return 1e-9 if chosen.lr is None else 2 * chosen.lr * chosen.l1 + 1e-9


@given(seed=st.integers(0, 10_000))
def test_weights_of_one_are_the_full_model(seed: int) -> None:
    """On numbers that add without rounding, exactly."""
    rng = np.random.default_rng(seed)
    contributions, remainder = rng.integers(-64, 64, (5, 7, 3)) / 16, rng.integers(-64, 64, (5, 3)) / 16
    ones = Reweighting(np.ones(7), (), VARIANTS["default"].reweighting, 0, 0.0, "", (2, 2, 1))
    assert (ones(contributions, remainder) == contributions.sum(1) + remainder).all()


def test_default_stays_with_a_full_model_that_left_out_rows_cannot_improve() -> None:
    """Components that say nothing, and a remainder that answers: reweighting has nothing to gain."""
    contributions, gold, remainder = noise(3, 412, 30, 4)
    remainder += 2 * np.eye(4)[gold]
    fitted = fit(contributions[:12], gold[:12], VARIANTS["default"].reweighting, remainder[:12])
    full = held_out((contributions.sum(1) + remainder)[12:], gold[12:])
    assert held_out(fitted(contributions[12:], remainder[12:]), gold[12:]) >= full - 0.01


def test_default_takes_its_step_from_the_data() -> None:
    """Contributions a thousand times as large still give finite weights and a train loss that is no worse."""
    contributions, gold, remainder = noise(3, 12, 30, 4, 300.0)
    fitted = fit(contributions, gold, VARIANTS["default"].reweighting, remainder)
    start, _ = loss_and_probabilities(margins(contributions, gold, remainder).at(np.ones(30)))
    assert np.isfinite(fitted.weights).all()
    assert fitted.train_loss <= start.mean()


def test_a_label_without_rows_is_recorded() -> None:
    contributions, _, remainder = noise(1)
    fitted = fit(
        contributions,
        np.arange(12) % 2,
        VARIANTS["default"].reweighting,
        remainder,
        components=[f"L0H{h}" for h in range(9)],
    )
    assert fitted.n_per_label == (6, 6, 0)
    assert fitted.components[8] == "L0H8"


@pytest.mark.parametrize("variant", VARIANTS)
def test_fits_together_are_the_fits_one_by_one(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "TOGETHER", 100)  # two of the first shape together
    rng, rows = np.random.default_rng(4), []
    for n_rows, n_components, n_labels in [(8, 5, 2), (8, 5, 2), (8, 5, 2), (9, 5, 3), (8, 5, 2), (8, 4, 2)]:
        contributions, gold = rng.normal(size=(n_rows, n_components, n_labels)), rng.integers(0, n_labels, n_rows)
        rows.append(LabelledRows(contributions, gold, rng.normal(size=(n_rows, n_labels))))
    settings = VARIANTS[variant].reweighting
    for together, alone in zip(fit_each(rows, settings), rows, strict=True):
        one = fit(alone.contributions, alone.gold, settings, alone.remainder)
        assert together.weights == pytest.approx(one.weights, abs=1e-12)
        assert (together.train_loss, together.epochs) == (pytest.approx(one.train_loss), one.epochs)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_probabilities_of_two_labels_are_those_of_any_number(scale: float) -> None:
    margin = scale * np.random.default_rng(5).normal(size=(20, 1, 3))
    _, expected = loss_and_probabilities(margin)
    assert descent._probabilities(margin) == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_many_rows_are_left_out_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "MAX_FOLDS", 4)
    contributions, gold, remainder = noise(0)
    fitted = fit(contributions, gold, SHORT["default"], remainder)
    weights = autograd_average(contributions, gold, SHORT["default"], remainder, block=3)
    np.testing.assert_allclose(fitted.weights, weights, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, g, r: (np.where(np.arange(9)[None, :, None] == 2, np.nan, c), g, r), "NaN or infinity on row 0"),
        (lambda c, g, r: (c, g, np.full_like(r, np.inf)), "remainder: NaN"),
        (lambda c, g, _: (c, g, None), "keeps the remainder"),
        (lambda c, g, r: (c, g, r[:5]), "keeps the remainder"),
        (lambda c, g, r: (c, g[:5], r), "give \\(row, component, label\\)"),
        (lambda c, g, r: (c[:0], g[:0], r[:0]), "at least one row"),
        (lambda c, g, r: (c, g + 1, r), "give indices from 0"),
        (lambda c, g, r: (c, g - 1, r), "give indices from 0"),
        (lambda c, g, r: (c, g.astype(float), r), "give indices from 0"),
    ],
)
def test_refuses_what_cannot_be_fitted(change, message: str) -> None:
    contributions, gold, remainder = change(*noise(0))
    with pytest.raises(ValueError, match=message):
        fit(contributions, gold, VARIANTS["default"].reweighting, remainder)


def test_refuses_other_components_and_a_missing_remainder() -> None:
    contributions, gold, remainder = noise(0)
    fitted = fit(contributions, gold, SHORT["default"], remainder)
    with pytest.raises(ValueError, match="for 9 weights"):
        fitted(contributions[:, :8], remainder)
    with pytest.raises(ValueError, match="keeps the remainder"):
        fitted(contributions)
    with pytest.raises(ValueError, match="a name for each weight"):
        fit(contributions, gold, SHORT["default"], remainder, components=["L0H0"])


@pytest.mark.parametrize("bad", [{"l1": -1.0}, {"lr": 0.0}, {"max_epochs": 0}, {"lr": None}, {"stop": "leave_one_out"}])
def test_refuses_settings_that_do_not_go_together(bad: dict) -> None:
    with pytest.raises(ValueError, match="variant 'paper'"):
        replace(VARIANTS["paper"].reweighting, **bad)
