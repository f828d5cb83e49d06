"""Gradient descent on the cross-entropy of a weighted sum of components, with closed-form gradients.

With g_ijy the contribution of component j to label y of row i, r_iy a part without a weight, and logits
`z_i = sum_j w_j g_ij + r_i`, the loss and its gradient are

    loss_i = -log softmax(z_i)[gold_i],     dloss_i / dw_j = sum_y (softmax(z_i)_y - 1[y = gold_i]) g_ijy

Both depend only on differences between labels. So everything here is in terms of the margins of the other labels over
the gold one, `d_ijy = g_ijy - g_ij,gold` (y != gold), and o_iy, the same of r:

    f_iy = sum_j w_j d_ijy + o_iy,   loss_i = log(1 + sum_y exp f_iy),   dloss_i / dw_j = sum_y softmax(z_i)_y d_ijy

A row is predicted correctly when all its f_iy are below 0. A term that is equal for all labels of a component cancels,
and the margins are one matrix (row * (label - 1), component) that BLAS reads twice per step. Small problems are solved
together, since most of their seconds are numpy's calls; large ones one at a time, since together they exceed the cache.
All is float64: in float32, rounding decides when a stopping rule sees "no improvement", and the result would depend on
the machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np

from dynamics.scores import at_gold

Stop = Literal["max_epochs", "patience", "leave_one_out"]
PATIENCE = 3
CHECK_EVERY = 100
MAX_FOLDS = 32
MAX_EXPONENT = 700.0
"""In nats; e to that power is finite in float64."""
TOGETHER = 2**15
"""Entries of the matrices of margins that are descended on together."""


@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit of weights.

    Attributes:
        variant: name of the variant in the results.
        l1: lambda, weight of the penalty `sum_j |w_j|`.
        lr: learning rate; None computes it from the data, 1 / (largest curvature of the cross-entropy).
        max_epochs: maximum number of updates, each from all rows.
        mean_loss: whether the cross-entropy is averaged over rows, else summed; the penalty is the same either way.
        clip: whether weights are clipped to [0, 1] where they are applied, though not where they are stored. The
            gradient of the cross-entropy passes where 0 <= w <= 1 (as for torch.clip) and is 0 outside; the penalty is
            on the stored weight and always acts.
        keep_remainder: whether embedding, attention biases and constant stay in the sum, unweighted.
        stop: `max_epochs` makes all updates; `patience` stops after the third update whose cross-entropy is not below
            the lowest so far (the count is never reset), or when all rows are right at update 0, 100, 200, ...;
            `leave_one_out` makes all updates and averages over stops (`average_over_stops`).
        check_before_update: with `patience`, whether rows are checked before the update instead of after it.
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
                f"variant {self.variant!r}: stop={self.stop!r} with lr={self.lr}, clip={self.clip}, mean_loss="
                f"{self.mean_loss}; stop='leave_one_out' computes its step from the summed loss and needs lr=None, "
                "clip=False and mean_loss=False, the other stops need a learning rate"
            )


@dataclass(frozen=True)
class Margins:
    """Labelled rows as margins of the other labels over the gold one.

    Attributes:
        matrix: (row * (label - 1), component) float64, d.
        offset: (row, label - 1) float64, o.
    """

    matrix: np.ndarray
    offset: np.ndarray

    @property
    def n_rows(self) -> int:
        """Number of labelled rows."""
        return len(self.offset)

    def at(self, weights: np.ndarray) -> np.ndarray:
        """Margins f of the weighted sum: weights (component, ...) -> (row, label - 1, ...)."""
        weighted = (self.matrix @ weights).reshape(*self.offset.shape, *weights.shape[1:])
        return weighted + self.offset.reshape(*self.offset.shape, *[1] * (weights.ndim - 1))


class Descent(NamedTuple):
    """Result of a descent: weights as they are applied, number of updates, and why it stopped."""

    weights: np.ndarray
    epochs: int
    stop_reason: str


def margins(contributions: np.ndarray, gold: np.ndarray, remainder: np.ndarray | None) -> Margins:
    """Margins of contributions (row, component, label) with gold (row,) and an unweighted part (row, label) or None."""
    n_rows, n_components, n_labels = contributions.shape
    others = np.nonzero(np.arange(n_labels) != gold[:, None])[1].reshape(n_rows, -1)
    parts = contributions.astype(np.float64)
    difference = np.take_along_axis(parts, others[:, None], 2) - at_gold(parts, gold)[..., None]
    offset = np.zeros(others.shape)
    if remainder is not None:
        unweighted = remainder.astype(np.float64)
        offset = np.take_along_axis(unweighted, others, 1) - at_gold(unweighted, gold)[:, None]
    return Margins(np.ascontiguousarray(difference.transpose(0, 2, 1)).reshape(-1, n_components), offset)


def loss_and_probabilities(margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy (row, ...) in nats, and probabilities of the other labels: (row, label - 1, ...) in and out."""
    top, total, powers = _parts_of_softmax(margin)
    return np.log(total) + top, powers / total[:, None]


def _probabilities(margin: np.ndarray) -> np.ndarray:
    """Probabilities of the other labels alone: (row, label - 1, ...) in and out."""
    if margin.shape[1] == 1:  # one exponential in place of two, which are most of the time of a small fit
        probabilities = np.exp(np.minimum(-margin, MAX_EXPONENT))
        probabilities += 1
        return np.reciprocal(probabilities, out=probabilities)
    _, total, powers = _parts_of_softmax(margin)
    powers /= total[:, None]
    return powers


def _parts_of_softmax(margin: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Largest margin, at least the gold label's 0; with it subtracted, the sum of all exponentials, and the others'."""
    is_lone = margin.shape[1] == 1  # with two labels; then the sums over labels, most of the time of a small fit, go
    top = np.maximum(margin[:, 0] if is_lone else margin.max(1), 0)
    powers = np.exp(margin - top[:, None])
    return top, np.exp(-top) + (powers[:, 0] if is_lone else powers.sum(1)), powers


def descend(problems: Sequence[Margins], settings: FitSettings) -> list[Descent]:
    """Fit weights, initialised at 1, to each problem by itself."""
    solve = average_over_stops if settings.stop == "leave_one_out" else subgradient_descents
    descents = []
    for _, group in groupby(problems, key=lambda problem: (problem.matrix.shape, problem.offset.shape)):
        alike = list(group)
        n_together = max(1, TOGETHER // alike[0].matrix.size)
        for first in range(0, len(alike), n_together):
            descents += solve(alike[first : first + n_together], settings)
    return descents


def subgradient_descents(problems: Sequence[Margins], settings: FitSettings) -> list[Descent]:
    """Full-batch `w <- w - lr * (gradient of the cross-entropy + l1 * sign(w))`, until the settings' stopping rule.

    Args:
        problems: of one shape.
        settings: with a learning rate.
    """
    assert settings.lr is not None
    matrices, offsets = np.stack([p.matrix for p in problems]), np.stack([p.offset for p in problems])
    stored = np.ones((len(problems), matrices.shape[2]))
    share = 1 / problems[0].n_rows if settings.mean_loss else 1.0
    has_patience = settings.stop == "patience"
    active, done = np.arange(len(problems)), dict[int, Descent]()
    lowest, misses = np.full(len(problems), np.inf), np.zeros(len(problems), int)

    def end(which: np.ndarray, epochs: int, reason: str) -> None:
        nonlocal matrices, offsets, stored, active, lowest, misses
        applied = _applied(stored, settings)
        done.update((int(active[i]), Descent(applied[i], epochs, reason)) for i in np.flatnonzero(which))
        matrices, offsets, stored = matrices[~which], offsets[~which], stored[~which]
        active, lowest, misses = active[~which], lowest[~which], misses[~which]

    for epoch in range(settings.max_epochs):
        checked = has_patience and epoch % CHECK_EVERY == 0
        if checked and settings.check_before_update:
            end(_all_right(matrices, offsets, stored, settings), epoch, "all rows right")
        if not len(active):
            break
        margin = _margins_at(matrices, offsets, _applied(stored, settings)[..., None])
        losses, probabilities = loss_and_probabilities(margin)
        gradient = share * (probabilities.reshape(len(active), 1, -1) @ matrices)[:, 0]
        if settings.clip:
            gradient[(stored < 0) | (stored > 1)] = 0
        stored -= settings.lr * (gradient + settings.l1 * np.sign(stored))
        if not has_patience:
            continue
        loss = share * losses.reshape(len(active), -1).sum(1)
        is_lower = loss < lowest
        lowest, misses = np.where(is_lower, loss, lowest), misses + ~is_lower
        if checked and not settings.check_before_update:
            end(_all_right(matrices, offsets, stored, settings), epoch + 1, "all rows right")
        if (misses == PATIENCE).any():
            end(misses == PATIENCE, epoch + 1, "patience")
    end(np.ones(len(active), bool), settings.max_epochs, "max_epochs")
    return [done[i] for i in range(len(problems))]


def _applied(stored: np.ndarray, settings: FitSettings) -> np.ndarray:
    return stored.clip(0, 1) if settings.clip else stored


def _all_right(matrices: np.ndarray, offsets: np.ndarray, stored: np.ndarray, settings: FitSettings) -> np.ndarray:
    """(problem,) whether all rows are predicted correctly."""
    margin = _margins_at(matrices, offsets, _applied(stored, settings)[..., None])
    return np.asarray((margin < 0).reshape(len(matrices), -1).all(1))


def average_over_stops(problems: Sequence[Margins], settings: FitSettings) -> list[Descent]:
    """Averages of the weights along a descent on all rows, by how well each stop predicts left-out rows.

    Beside the descent on all rows, one runs without each row (with more than 32 rows, without each of 32 blocks of
    neighbouring rows, since the cost is n^2). Stops t are 0, 1, 2, 4, ..., max_epochs updates, and

        w = sum_t q_t w_t,    q_t proportional to exp(-sum_i loss_i of the descent without row i, stopped at t)

    Stop 0 is the initialisation, weights of one. The single best stop would depend on a few nats between a dozen rows;
    the average moves away from the initialisation only as far as left-out rows support it.

    Args:
        problems: of one shape.
        settings: without a learning rate.
    """
    matrices, offsets = np.stack([p.matrix for p in problems]), np.stack([p.offset for p in problems])
    n_problems, n_rows, _ = offsets.shape
    fold = np.arange(n_rows) * min(n_rows, MAX_FOLDS) // n_rows
    used = np.column_stack([np.ones(n_rows), fold[:, None] != np.arange(fold[-1] + 1)])
    weights, left_out = [], []
    for at_stop in _paths(matrices, offsets, used, settings.l1, settings.max_epochs):
        losses, _ = loss_and_probabilities(_margins_at(matrices, offsets, at_stop))
        losses = losses.reshape(n_problems, n_rows, -1)
        left_out.append(losses[:, np.arange(n_rows), 1 + fold].sum(1))
        weights.append(at_stop[..., 0])
    evidence = np.exp(np.min(left_out, 0) - np.stack(left_out))[..., None]
    averages = (evidence * np.stack(weights)).sum(0) / evidence.sum(0)
    return [Descent(average, settings.max_epochs, "averaged over stops") for average in averages]


def _margins_at(matrices: np.ndarray, offsets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`Margins.at` of problems of one shape.

    Weights (problem, component, column) -> (problem * row, label - 1, column).
    """
    n_problems, n_rows, n_others = offsets.shape
    weighted = (matrices @ weights).reshape(n_problems * n_rows, n_others, -1)
    return weighted + offsets.reshape(n_problems * n_rows, n_others, 1)


def _paths(
    matrices: np.ndarray, offsets: np.ndarray, used: np.ndarray, l1: float, max_epochs: int
) -> Iterator[np.ndarray]:
    """Weights at the stops of accelerated proximal descents on `sum of losses + l1 * sum |w|`, one descent per column.

    `w' = shrink(v - h * gradient at v, h * l1)`, `v' = w' + (m - 1) / m' * (w' - w)`, `m' = (1 + sqrt(1 + 4 m^2)) / 2`
    (Beck and Teboulle 2009, FISTA), with h = 2 / (largest singular value of D)^2: the cross-entropy's second derivative
    in the logits is at most 1/2, so this step never overshoots, at any scale of the contributions.

    Args:
        matrices: D of each problem, (problem, row * (label - 1), component).
        offsets: (problem, row, label - 1).
        used: (row, column), 1 where the column's descent uses the row, else 0.

    Yields:
        (problem, component, column) weights after 0, 1, 2, 4, ..., max_epochs updates.
    """
    curvature = np.linalg.norm(matrices, 2, axis=(1, 2)) ** 2 / 2
    step = np.where(curvature > 0, 1 / np.where(curvature > 0, curvature, 1), 1.0)[:, None, None]
    mask = np.repeat(used, offsets.shape[2], 0)
    transposed = matrices.transpose(0, 2, 1)
    weights = extrapolated = np.ones((len(matrices), matrices.shape[2], used.shape[1]))
    momentum = 1.0
    yield weights
    for epoch in range(1, max_epochs + 1):
        probabilities = _probabilities(_margins_at(matrices, offsets, extrapolated)).reshape(-1, *mask.shape)
        probabilities *= mask
        descended = extrapolated - step * (transposed @ probabilities)
        shrunk = descended - np.clip(descended, -step * l1, step * l1) if l1 else descended
        next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        extrapolated = shrunk - weights
        extrapolated *= (momentum - 1) / next_momentum
        extrapolated += shrunk
        weights, momentum = shrunk, next_momentum
        if epoch & (epoch - 1) == 0 or epoch == max_epochs:
            yield weights
