"""Fits on the same rows under many labellings at once: what COMP RW and Calib+ reach when labels say nothing.

The descents are those of `dynamics.methods.descent`, with one more axis. Labellings share the contributions, so all of
them are columns of one product per update. In terms of the differences to the first label, `e_ijy = g_ijy - g_ij0`
(y > 0) and o_iy, the same of the part without a weight,

    f_iy = sum_j w_j e_ijy + o_iy,   dloss_i / dw_j = sum_(y > 0) (softmax(0, f_i)_y - 1[y = gold_i]) e_ijy

A sum in another order differs in its last digits, so a stopping rule can see "no improvement" some updates earlier or
later than `descent` does; weights then agree to about 1e-6, not to the last digit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dynamics.methods.descent import CHECK_EVERY, MAX_FOLDS, PATIENCE, FitSettings

BLOCK_BYTES = 2**20
"""Size of an array of one update: few enough labellings at once that the update stays in a processor's cache."""


@dataclass(frozen=True)
class _Rows:
    """Labelled rows as differences to the first label.

    Attributes:
        matrix: (row * (label - 1), component) float64, e.
        offset: (row, label - 1) float64, o.
    """

    matrix: np.ndarray
    offset: np.ndarray

    def at(self, weights: np.ndarray) -> np.ndarray:
        """f at weights (component, ...): (row, label - 1, ...)."""
        flat = weights.reshape(len(weights), -1)
        logits = (self.matrix @ flat).reshape(*self.offset.shape, *weights.shape[1:])
        logits += self.offset.reshape(*self.offset.shape, *[1] * (weights.ndim - 1))
        return logits

    def gradient(self, surplus: np.ndarray) -> np.ndarray:
        """The gradient from probabilities less targets (row, label - 1, ...): (component, ...)."""
        return (self.matrix.T @ surplus.reshape(len(self.matrix), -1)).reshape(-1, *surplus.shape[2:])


def fit_relabelled(
    contributions: np.ndarray, gold: np.ndarray, settings: FitSettings, remainder: np.ndarray | None = None
) -> np.ndarray:
    """Weights fitted to the same rows under each labelling.

    Args:
        contributions: (row, component, label), finite, in logits.
        gold: (labelling, row) label indices.
        settings: those of a variant in `dynamics.methods.variants`.
        remainder: (row, label), the part without a weight; needed where the settings keep it, else ignored.

    Returns:
        (labelling, component) float64, as they are applied.
    """
    n_rows, n_components, n_labels = contributions.shape
    assert gold.shape[1:] == (n_rows,), "a label for every row"
    parts = contributions.astype(np.float64)
    differences = np.ascontiguousarray((parts[..., 1:] - parts[..., :1]).transpose(0, 2, 1))
    offset = np.zeros((n_rows, n_labels - 1))
    if settings.keep_remainder:
        assert remainder is not None, "the settings keep the remainder"
        offset = remainder[:, 1:].astype(np.float64) - remainder[:, :1]
    has_folds = settings.stop == "leave_one_out"
    dtype = np.float32 if has_folds else np.float64
    rows = _Rows(differences.reshape(-1, n_components).astype(dtype), offset.astype(dtype))
    column_bytes = rows.matrix.itemsize * max(rows.matrix.shape) * (1 + min(n_rows, MAX_FOLDS) if has_folds else 1)
    n_at_once = max(1, BLOCK_BYTES // column_bytes)
    fit = _averaged_over_stops if has_folds else _subgradient_descents
    blocks = [gold[first : first + n_at_once] for first in range(0, len(gold), n_at_once)]
    return np.concatenate([fit(rows, labels.T, settings).T for labels in blocks])


def _losses_and_probabilities(logits: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy (row, labelling, ...) in nats, and probabilities of the labels above 0, written over `logits`.

    Args:
        logits: (row, label - 1, labelling, ...), f.
        gold: (row, labelling).
    """
    at_gold = _at_gold(logits, gold)
    top, total = _powers(logits)
    losses = np.log(total) + top - at_gold
    logits /= total[:, None]
    return losses, logits


def _probabilities(logits: np.ndarray) -> np.ndarray:
    """Probabilities of the labels above 0, written over `logits`."""
    if logits.shape[1] == 1:  # two labels: 1 / (1 + exp(-f)), which is 0 or 1 where exp overflows
        np.negative(logits, out=logits)
        with np.errstate(over="ignore"):
            np.exp(logits, out=logits)
        logits += 1
        return np.reciprocal(logits, out=logits)
    _, total = _powers(logits)
    logits /= total[:, None]
    return logits


def _powers(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write exp(f - top) over `logits`; return top, the largest logit, and the sum of powers over all labels."""
    top = np.maximum(logits.max(1), 0)
    logits -= top[:, None]
    np.exp(logits, out=logits)
    return top, logits.sum(1) + np.exp(-top)


def _at_gold(logits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """f at the gold label, 0 for label 0: (row, label - 1, labelling, ...) -> (row, labelling, ...)."""
    index = gold.astype(np.intp).reshape(len(gold), 1, -1, *[1] * (logits.ndim - 3))
    index = np.broadcast_to(index, (len(gold), 1, *logits.shape[2:]))
    return np.where(index == 0, 0, np.take_along_axis(logits, np.maximum(index - 1, 0), 1))[:, 0]


def _targets(gold: np.ndarray, n_labels: int) -> np.ndarray:
    """1 where a label above 0 is gold: (row, labelling) -> (row, label - 1, labelling)."""
    return (gold[:, None] == np.arange(1, n_labels)[:, None]).astype(np.float32)


def _averaged_over_stops(rows: _Rows, gold: np.ndarray, settings: FitSettings) -> np.ndarray:
    """`descent.average_over_stops` of every labelling: gold (row, labelling) -> (component, labelling)."""
    n_rows = len(gold)
    fold = np.arange(n_rows) * min(n_rows, MAX_FOLDS) // n_rows
    used = np.column_stack([np.ones(n_rows), fold[:, None] != np.arange(fold[-1] + 1)])
    weights, left_out = [], []
    for at_stop in _paths(rows, gold, used, settings):
        losses, _ = _losses_and_probabilities(rows.at(at_stop), gold)
        left_out.append(losses[np.arange(n_rows), :, 1 + fold].sum(0))
        weights.append(at_stop[..., 0])
    evidence = np.exp(np.min(left_out, 0) - np.stack(left_out))
    return (evidence[:, None] * np.stack(weights)).sum(0) / evidence.sum(0)


def _paths(rows: _Rows, gold: np.ndarray, used: np.ndarray, settings: FitSettings) -> Iterator[np.ndarray]:
    """The accelerated descents of `descent.average_over_stops`: (component, labelling, column) after each stop.

    Args:
        gold: (row, labelling).
        used: (row, column), 1 where the column's descent uses the row, else 0.
    """
    curvature = _curvatures(rows, gold)
    dtype = rows.matrix.dtype
    step = np.where(curvature > 0, 1 / np.where(curvature > 0, curvature, 1), 1.0)[:, None].astype(dtype)
    targets, mask = _targets(gold, rows.offset.shape[1] + 1)[..., None], used[:, None, None].astype(dtype)
    weights = extrapolated = np.ones((rows.matrix.shape[1], gold.shape[1], used.shape[1]), dtype)
    momentum = 1.0
    yield weights
    for epoch in range(1, settings.max_epochs + 1):
        surplus = _probabilities(rows.at(extrapolated))
        surplus -= targets
        surplus *= mask
        shrunk = rows.gradient(surplus)
        shrunk *= -step
        shrunk += extrapolated
        if settings.l1:
            shrunk -= np.clip(shrunk, -step * settings.l1, step * settings.l1)
        next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        extrapolated = np.subtract(shrunk, weights)
        extrapolated *= dtype.type((momentum - 1) / next_momentum)
        extrapolated += shrunk
        weights, momentum = shrunk, next_momentum
        if epoch & (epoch - 1) == 0 or epoch == settings.max_epochs:
            yield weights


def _curvatures(rows: _Rows, gold: np.ndarray) -> np.ndarray:
    """(labelling,) half the squared largest singular value of each labelling's margins (`descent.Margins.matrix`)."""
    n_rows, n_others = rows.offset.shape
    if n_others == 1:  # of two labels, another labelling only changes signs
        return np.full(gold.shape[1], np.linalg.norm(rows.matrix, 2) ** 2 / 2)
    differences = rows.matrix.reshape(n_rows, n_others, -1)
    with_first = np.concatenate([np.zeros_like(differences[:, :1]), differences], 1)
    curvature = np.empty(gold.shape[1])
    for i, labels in enumerate(gold.T):
        margins = (with_first - with_first[np.arange(n_rows), labels][:, None]).reshape(-1, differences.shape[2])
        gram = margins.T @ margins if margins.shape[0] > margins.shape[1] else margins @ margins.T
        curvature[i] = np.linalg.eigvalsh(gram)[-1] / 2
    return curvature


def _subgradient_descents(rows: _Rows, gold: np.ndarray, settings: FitSettings) -> np.ndarray:
    """The full-batch descents with a learning rate, each until it stops: (row, labelling) -> (component, labelling)."""
    assert settings.lr is not None
    n_labellings = gold.shape[1]
    stored = np.ones((rows.matrix.shape[1], n_labellings))
    fitted = np.empty_like(stored)
    share = 1 / len(gold) if settings.mean_loss else 1.0
    has_patience = settings.stop == "patience"
    active = np.arange(n_labellings)
    lowest, misses = np.full(n_labellings, np.inf), np.zeros(n_labellings, int)
    targets = _targets(gold, rows.offset.shape[1] + 1)

    def retire(done: np.ndarray) -> None:
        nonlocal stored, active, lowest, misses, gold, targets
        fitted[:, active[done]] = _applied(stored[:, done], settings)
        stored, active, gold, targets = stored[:, ~done], active[~done], gold[:, ~done], targets[..., ~done]
        lowest, misses = lowest[~done], misses[~done]

    for epoch in range(settings.max_epochs):
        checked = has_patience and epoch % CHECK_EVERY == 0
        if checked and settings.check_before_update:
            retire(_all_right(rows, stored, gold, settings))
        if not len(active):
            break
        losses, surplus = _losses_and_probabilities(rows.at(_applied(stored, settings)), gold)
        surplus -= targets
        gradient = share * rows.gradient(surplus)
        if settings.clip:
            gradient[(stored < 0) | (stored > 1)] = 0
        stored -= settings.lr * (gradient + settings.l1 * np.sign(stored))
        if has_patience:
            loss = share * losses.sum(0)
            misses += loss >= lowest
            lowest = np.minimum(lowest, loss)
            done = misses == PATIENCE
            if checked and not settings.check_before_update:
                done |= _all_right(rows, stored, gold, settings)
            if done.any():
                retire(done)
    retire(np.ones(len(active), bool))
    return fitted


def _applied(stored: np.ndarray, settings: FitSettings) -> np.ndarray:
    return stored.clip(0, 1) if settings.clip else stored


def _all_right(rows: _Rows, stored: np.ndarray, gold: np.ndarray, settings: FitSettings) -> np.ndarray:
    """(labelling,) whether every row's gold logit exceeds all others; a tie does not count."""
    logits = rows.at(_applied(stored, settings))
    at_gold = _at_gold(logits, gold)
    others = np.where(_targets(gold, logits.shape[1] + 1) > 0, -np.inf, logits).max(1)
    others = np.maximum(others, np.where(gold == 0, -np.inf, 0))
    return np.asarray((at_gold > others).all(0))
