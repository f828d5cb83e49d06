"""Descent on the cross-entropy of a weighted sum of parts, by closed-form gradients.

With g_ijy the contribution of component j to label y of row i, r_iy a part that carries no weight, and logits
`z_i = sum_j w_j g_ij + r_i`, the loss and its gradient are

    loss_i = -log softmax(z_i)[gold_i],     dloss_i / dw_j = sum_y (softmax(z_i)_y - 1[y = gold_i]) g_ijy

Both depend on differences between labels only. So everything here works on the margins of the other labels over the
gold one, `d_ijy = g_ijy - g_ij,gold` (y != gold) and `o_iy` the same of r, in which

    f_iy = sum_j w_j d_ijy + o_iy,   loss_i = log(1 + sum_y exp f_iy),   dloss_i / dw_j = sum_y softmax(z_i)_y d_ijy

A row is answered correctly when all its f_iy are below 0. What is added to all labels of a component drops out, and
the margins are one matrix (row * (label - 1), component) that BLAS reads twice per step. One problem at a time: a
batch of problems leaves the cache and is slower. float64 throughout: in float32, rounding decides when a stopping
rule sees "no improvement", and the answer would depend on the machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from dynamics.scores import at_gold

Stop = Literal["max_epochs", "patience", "leave_one_out"]
PATIENCE = 3
CHECK_EVERY = 100
MAX_FOLDS = 32


@dataclass(frozen=True)
class FitSettings:
    """How weights are fitted.

    Attributes:
        variant: name that results are stored under.
        l1: lambda, weight of `sum_j |w_j|` beside the cross-entropy.
        lr: learning rate; None takes it from the data, 1 / (largest curvature of the cross-entropy).
        max_epochs: updates at most, each from all rows.
        mean_loss: cross-entropy averaged over rows (else summed); the penalty is not divided.
        clip: weights are clipped to [0, 1] where they are applied, not where they are stored. The gradient of the
            cross-entropy passes where 0 <= w <= 1 (as for torch.clip) and is 0 outside; the penalty is on the stored
            weight and always pulls.
        keep_remainder: whether embedding, attention biases and constant stay in the sum, unweighted.
        stop: `max_epochs` runs them all; `patience` after the third update, counted in all and never reset, whose
            cross-entropy was not below the lowest so far, or when all rows are right at an update numbered 0, 100,
            200, ...; `leave_one_out` runs them all and averages over stops (`average_over_stops`).
        check_before_update: with `patience`, whether the rows are checked before the update instead of after it.
    """

    variant: str
    l1: float
    lr: float | None
    max_epochs: int
    mean_loss: bool = False
    clip: bool = False
    keep_remainder: bool = False
    stop: Stop = "max_epochs"
    check_before_update: bool = False

    def __post_init__(self) -> None:
        if self.l1 < 0 or self.max_epochs < 1 or (self.lr is not None and self.lr <= 0):
            raise ValueError(
                f"variant {self.variant!r}: l1={self.l1}, lr={self.lr}, max_epochs={self.max_epochs}; "
                "give l1 >= 0, lr > 0 and max_epochs >= 1"
            )
        if (self.stop == "leave_one_out") != (self.lr is None) or (self.lr is None and (self.clip or self.mean_loss)):
            raise ValueError(
                f"variant {self.variant!r}: stop='leave_one_out' goes with lr=None, clip=False and mean_loss=False "
                "(it takes its step from the summed loss), and the other stops with a learning rate"
            )


@dataclass(frozen=True)
class Margins:
    """Labelled rows, ready to fit: differences of each other label from the gold one.

    Attributes:
        matrix: (row * (label - 1), component) float64.
        offset: (row, label - 1) float64, of the part that carries no weight.
    """

    matrix: np.ndarray
    offset: np.ndarray

    @property
    def n_rows(self) -> int:
        """Number of training rows."""
        return len(self.offset)

    def at(self, weights: np.ndarray) -> np.ndarray:
        """Margins of the weighted sum: weights (component, ...) -> (row, label - 1, ...)."""
        weighted = (self.matrix @ weights).reshape(*self.offset.shape, *weights.shape[1:])
        return weighted + self.offset.reshape(*self.offset.shape, *[1] * (weights.ndim - 1))


class Descent(NamedTuple):
    """Where a descent ended: weights as they are applied, updates made, and why it stopped."""

    weights: np.ndarray
    epochs: int
    stop_reason: str


def margins(contributions: np.ndarray, gold: np.ndarray, remainder: np.ndarray | None) -> Margins:
    """Rows (row, component, label), gold (row,) and an unweighted part (row, label) or None, as margins."""
    n_rows, n_components, n_labels = contributions.shape
    others = np.nonzero(np.arange(n_labels) != gold[:, None])[1].reshape(n_rows, -1)
    parts = contributions.astype(np.float64)
    difference = np.take_along_axis(parts, others[:, None], 2) - at_gold(parts, gold)[..., None]
    offset = np.zeros(others.shape)
    if remainder is not None:
        rest = remainder.astype(np.float64)
        offset = np.take_along_axis(rest, others, 1) - at_gold(rest, gold)[:, None]
    return Margins(np.ascontiguousarray(difference.transpose(0, 2, 1)).reshape(-1, n_components), offset)


def loss_and_probabilities(margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy (row, ...) in nats, and softmax of the labels other than gold: (row, label - 1, ...) in and out."""
    top = np.maximum(margin.max(1), 0)
    powers = np.exp(margin - top[:, None])
    total = np.exp(-top) + powers.sum(1)
    return np.log(total) + top, powers / total[:, None]


def descend(problem: Margins, settings: FitSettings) -> Descent:
    """Fit weights from a start at 1."""
    if settings.stop == "leave_one_out":
        return average_over_stops(problem, settings.l1, settings.max_epochs)
    return _subgradient_descent(problem, settings)


def _subgradient_descent(problem: Margins, settings: FitSettings) -> Descent:
    """`w <- w - lr * (gradient of the cross-entropy + l1 * sign(w))`, full batch, until the settings' stop."""
    assert settings.lr is not None
    stored = np.ones(problem.matrix.shape[1])
    share = 1 / problem.n_rows if settings.mean_loss else 1.0
    patient = settings.stop == "patience"
    lowest, misses = np.inf, 0
    for epoch in range(settings.max_epochs):
        applied = _applied(stored, settings)
        margin = problem.at(applied)
        if patient and settings.check_before_update and epoch % CHECK_EVERY == 0 and (margin < 0).all():
            return Descent(applied, epoch, "all rows right")
        losses, wrong = loss_and_probabilities(margin)
        gradient = share * (wrong.reshape(-1) @ problem.matrix)
        if settings.clip:
            gradient[(stored < 0) | (stored > 1)] = 0
        stored -= settings.lr * (gradient + settings.l1 * np.sign(stored))
        if not patient:
            continue
        if not settings.check_before_update and epoch % CHECK_EVERY == 0 and _all_right(problem, stored, settings):
            return Descent(_applied(stored, settings), epoch + 1, "all rows right")
        loss = share * losses.sum()
        lowest, misses = (loss, misses) if loss < lowest else (lowest, misses + 1)
        if misses == PATIENCE:
            return Descent(_applied(stored, settings), epoch + 1, "patience")
    return Descent(_applied(stored, settings), settings.max_epochs, "max_epochs")


def _applied(stored: np.ndarray, settings: FitSettings) -> np.ndarray:
    return stored.clip(0, 1) if settings.clip else stored


def _all_right(problem: Margins, stored: np.ndarray, settings: FitSettings) -> bool:
    return bool((problem.at(_applied(stored, settings)) < 0).all())


def average_over_stops(problem: Margins, l1: float, max_epochs: int) -> Descent:
    """Descend on all rows, and average the weights met on the way by how well each stop predicts rows left out.

    Beside the descent on all rows runs one without each row (without each of 32 blocks of neighbouring rows where
    there are more than 32, since that costs n^2). Stops t are 0, 1, 2, 4, ..., max_epochs updates, and

        w = sum_t q_t w_t,    q_t proportional to exp(-sum_i loss_i of the descent without row i, stopped at t)

    Stop 0 is the start, weights of one. One stop alone, the best, rests on a difference of a few nats between a dozen
    rows; the average moves away from the start only as far as left-out rows speak for it.
    """
    fold = np.arange(problem.n_rows) * min(problem.n_rows, MAX_FOLDS) // problem.n_rows
    sees = np.column_stack([np.ones(problem.n_rows), fold[:, None] != np.arange(fold[-1] + 1)])
    weights, left_out = [], []
    for at_stop in _path(problem, sees, l1, max_epochs):
        losses, _ = loss_and_probabilities(problem.at(at_stop))
        left_out.append(losses[np.arange(problem.n_rows), 1 + fold].sum())
        weights.append(at_stop[:, 0])
    evidence = np.exp(np.min(left_out) - np.array(left_out))
    return Descent(evidence @ np.stack(weights) / evidence.sum(), max_epochs, "averaged over stops")


def _path(problem: Margins, sees: np.ndarray, l1: float, max_epochs: int) -> Iterator[np.ndarray]:
    """Accelerated proximal descents on `sum of losses + l1 * sum |w|`, one per column, at the stops.

    `w' = shrink(v - h * gradient at v, h * l1)`, `v' = w' + (m - 1) / m' * (w' - w)`, `m' = (1 + sqrt(1 + 4 m^2)) / 2`
    (Beck and Teboulle 2009, FISTA), with h = 2 / (largest singular value of D)^2: the cross-entropy's second derivative
    in the logits is at most 1/2, so this step never overshoots, whatever the scale of the contributions.

    Args:
        problem: D and the offset.
        sees: (row, column), 1 where the column's descent uses the row.

    Yields:
        (component, column) weights after 0, 1, 2, 4, ..., max_epochs updates.
    """
    curvature = np.linalg.norm(problem.matrix, 2) ** 2 / 2
    step = 1 / curvature if curvature > 0 else 1.0
    mask = np.repeat(sees, problem.offset.shape[1], 0)
    weights = ahead = np.ones((problem.matrix.shape[1], sees.shape[1]))
    momentum = 1.0
    yield weights
    for epoch in range(1, max_epochs + 1):
        _, wrong = loss_and_probabilities(problem.at(ahead))
        moved = ahead - step * (problem.matrix.T @ (wrong.reshape(mask.shape) * mask))
        shrunk = np.sign(moved) * np.maximum(np.abs(moved) - step * l1, 0)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = shrunk + (momentum - 1) / following * (shrunk - weights)
        weights, momentum = shrunk, following
        if epoch & (epoch - 1) == 0 or epoch == max_epochs:
            yield weights
