"""Component reweighting (COMP RW): one weight per attention head and MLP, from a few labelled rows.

    logits_i = sum_j w_j g_ij (+ r_i)

with g_ij (label,) the contribution of component j on row i, and r_i the remainder: embedding, attention biases and the
constant. Source: the paper's component reweighting. Where the paper and its authors' code differ, each is a variant:

`paper`: minimise `sum_i loss_i + 0.1 * ||w||_1` by gradient descent with learning rate .05 from w = 1, all rows in
    every update. The sum over j is over heads and MLPs only, so there is no remainder. The paper does not say when to
    stop: 2,000 updates are made, the maximum of the authors' code, without the code's early stop, which the paper does
    not mention. The step is fixed, so the descent oscillates where contributions are large.

`official_code`: `mean_i loss_i + 0.01 * ||w||_1`, weights clipped to [0, 1] where they are applied. The clip is part
    of the forward pass, so the gradient of the cross-entropy is 0 where a stored weight has left [0, 1] (at exactly 0
    or 1 it passes, as for torch.clip), while the penalty is on the stored weight: above 1 it is pulled back by
    lr * lambda per update, below 0 pulled up to 0. Stops after the third update whose cross-entropy (without the
    penalty, before the update) is not below the lowest so far, where the count is never reset; or when all rows are
    right, checked after updates 1, 101, 201, ...; or after 2,000 updates. A tie does not count as right. No remainder.
    The code orders components as heads, then MLPs; the order does not affect the fit.

`default`: the paper's objective with the remainder kept, so that weights of one are the full model, and a stopping rule
    that depends on the labelled rows: weights are averaged over 0, 1, 2, 4, ..., 256 updates by how well each predicts
    left-out rows (`dynamics.methods.descent.average_over_stops`). Where no stop predicts left-out rows better than the
    full model, the result stays near it. The step is computed from the data, for any scale of the contributions. Tuned
    on synthetic problems; `tests/benchmarks/bench_reweighting_variants.py` compares the variants on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynamics.methods.descent import FitSettings, descend, loss_and_probabilities, margins
from dynamics.methods.variants import VARIANTS


@dataclass(frozen=True)
class Reweighting:
    """COMP RW after fitting: one weight per component.

    Attributes:
        weights: (component,) as they are applied, that is after clipping where the settings clip.
        components: (component,) names, in the order of `weights`; empty where `fit` was given none.
        settings: settings of the fit.
        epochs: number of updates.
        train_loss: mean cross-entropy of the rows under the weights, in nats, without the penalty.
        stop_reason: `all rows right`, `patience`, `max_epochs` or `averaged over stops`.
        n_per_label: (label,) training rows of each label; may be 0.
    """

    weights: np.ndarray
    components: tuple[str, ...]
    settings: FitSettings
    epochs: int
    train_loss: float
    stop_reason: str
    n_per_label: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.weights.ndim != 1 or (self.components and len(self.components) != len(self.weights)):
            raise ValueError(
                f"weights of shape {self.weights.shape} for {len(self.components)} components; give a name for each "
                "weight, or no names"
            )

    def __call__(self, contributions: np.ndarray, remainder: np.ndarray | None = None) -> np.ndarray:
        """Label logits of the reweighted model: `sum_j w_j g_j`, plus the remainder where the settings keep it.

        Args:
            contributions: (example, component, label), in logits, the components it was fitted on in the same order.
            remainder: (example, label), in logits; needed where the settings keep it, else ignored.

        Returns:
            (example, label) float64.

        Raises:
            ValueError: shapes do not match, or the remainder is needed and missing.
        """
        if contributions.ndim != 3 or contributions.shape[1] != len(self.weights):
            raise ValueError(
                f"contributions of shape {contributions.shape} for {len(self.weights)} weights; "
                "give (example, component, label) with the components of the fit"
            )
        unweighted = _unweighted(remainder, contributions, self.settings)
        logits = np.einsum("ejy,j->ey", contributions, self.weights)
        return logits if unweighted is None else logits + unweighted


@dataclass(frozen=True)
class LabelledRows:
    """What a reweighting is fitted to.

    Attributes:
        contributions: (row, component, label) of heads and MLPs, in logits. A label without rows is allowed.
        gold: (row,) label indices.
        remainder: (row, label), all other terms of the full logits; needed where the settings keep it, else ignored.
        components: names, stored with the weights; empty for none.
    """

    contributions: np.ndarray
    gold: np.ndarray
    remainder: np.ndarray | None = None
    components: tuple[str, ...] = ()


def fit(
    contributions: np.ndarray,
    gold: np.ndarray,
    settings: FitSettings = VARIANTS["default"].reweighting,
    remainder: np.ndarray | None = None,
    *,
    components: Sequence[str] = (),
) -> Reweighting:
    """Fit COMP RW, one weight per component, to labelled rows.

    Args:
        contributions, gold, remainder, components: as `LabelledRows` has them.
        settings: those of a variant in `dynamics.methods.variants`, or `dataclasses.replace` of one.

    Raises:
        ValueError: a number is NaN or infinite, there are no rows, labels are out of range, shapes do not match, or the
            remainder is needed and missing.
    """
    rows = LabelledRows(np.asarray(contributions), np.asarray(gold), remainder, tuple(components))
    return fit_each([rows], settings)[0]


def fit_each(sets: Sequence[LabelledRows], settings: FitSettings) -> list[Reweighting]:
    """Fit COMP RW to each of several sets of labelled rows by itself; small ones together take a fraction of the time.

    Raises:
        ValueError: as for `fit`.
    """
    for rows in sets:
        check_rows(rows.contributions, rows.gold)
    problems = [
        margins(rows.contributions, rows.gold, _unweighted(rows.remainder, rows.contributions, settings))
        for rows in sets
    ]
    fitted = []
    for rows, problem, descent in zip(sets, problems, descend(problems, settings), strict=True):
        losses, _ = loss_and_probabilities(problem.at(descent.weights))
        fitted.append(
            Reweighting(
                weights=descent.weights,
                components=rows.components,
                settings=settings,
                epochs=descent.epochs,
                train_loss=float(losses.mean()),
                stop_reason=descent.stop_reason,
                n_per_label=tuple(np.bincount(rows.gold, minlength=rows.contributions.shape[2]).tolist()),
            )
        )
    return fitted


def check_rows(contributions: np.ndarray, gold: np.ndarray) -> None:
    """Raise ValueError unless contributions (row, component, label) are finite and gold (row,) indexes their labels."""
    if contributions.ndim != 3 or gold.shape != contributions.shape[:1] or 0 in contributions.shape:
        raise ValueError(
            f"contributions of shape {contributions.shape} and gold of shape {gold.shape}; give "
            "(row, component, label) and (row,) with at least one row and component"
        )
    n_labels = contributions.shape[2]
    if n_labels < 2 or gold.dtype.kind not in "iu" or gold.min() < 0 or gold.max() >= n_labels:
        raise ValueError(
            f"gold holds {np.unique(gold)[:8]} for {n_labels} labels; give indices from 0 of two or more labels"
        )
    _check_finite("contributions", contributions)


def _unweighted(remainder: np.ndarray | None, contributions: np.ndarray, settings: FitSettings) -> np.ndarray | None:
    """The part of the logits without a weight: the remainder, checked, where the settings keep it, else None."""
    if not settings.keep_remainder:
        return None
    expected = (contributions.shape[0], contributions.shape[2])
    if remainder is None or remainder.shape != expected:
        raise ValueError(
            f"variant {settings.variant!r} keeps the remainder, of shape {expected}; got "
            f"{None if remainder is None else remainder.shape}; give embedding + attention biases + constant"
        )
    _check_finite("remainder", remainder)
    return remainder


def _check_finite(name: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name}: NaN or infinity on row {int(np.argwhere(~np.isfinite(values))[0, 0])}; drop such rows"
        )
