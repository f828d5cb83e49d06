"""Component reweighting (COMP RW): one weight per attention head and MLP, from a few labelled rows.

    logits_i = sum_j w_j g_ij (+ r_i)

with g_ij (label,) the contribution of component j on row i, and r_i the remainder: embedding, attention biases and the
constant. Source: the paper's component reweighting. Where paper and authors' code differ, both are variants:

`paper`: minimise `sum_i loss_i + 0.1 * ||w||_1` by gradient descent with learning rate .05 from w = 1, all rows in
    every update. The sum over j is over heads and MLPs only, so there is no remainder. The paper does not say when to
    stop: all of 2,000 updates are made, the most that the authors' code makes, without the code's early stop, which
    the paper does not mention. The step is fixed, so large contributions make it oscillate.

`official_code`: `mean_i loss_i + 0.01 * ||w||_1`, weights clipped to [0, 1] where they are applied. The clip is part
    of the forward pass, so the gradient of the cross-entropy is 0 where a stored weight has left [0, 1] (at exactly 0
    or 1 it passes, as for torch.clip), while the penalty is on the stored weight: above 1 it is pulled back by
    lr * lambda per update, below 0 pulled up to 0. Stops after the third update whose cross-entropy (without the
    penalty, before the update) was not below the lowest so far, counted in all and never reset; or when all rows are
    right, looked at after updates 1, 101, 201, ...; or after 2,000. A tie does not count as right. No remainder. The
    code's order of components, heads then MLPs, does not enter the fit.

`default`: the paper's objective with the remainder kept, so that weights of one are the full model, and a stop that
    the labelled rows decide: the weights are averaged over 0, 1, 2, 4, ..., 256 updates by how well each predicts rows
    left out (`dynamics.methods.descent.average_over_stops`). Where no stop predicts left-out rows better than the full
    model, the result stays near it. The step is taken from the data, whatever the scale of the contributions. Chosen on
    synthetic problems; `tests/benchmarks/bench_reweighting_variants.py` compares the variants on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynamics.methods.descent import FitSettings, descend, loss_and_probabilities, margins
from dynamics.methods.variants import VARIANTS


@dataclass(frozen=True)
class Reweighting:
    """Fitted weights.

    Attributes:
        weights: (component,) as they are applied: after clipping, where the settings clip.
        components: (component,) names, in the order of `weights`; empty where `fit` was given none.
        settings: how they were fitted.
        epochs: updates made.
        train_loss: mean cross-entropy of the rows under the weights, in nats, without the penalty.
        stop_reason: `all rows right`, `patience`, `max_epochs` or `averaged over stops`.
        n_per_label: (label,) rows of each label; a label may have had none.
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
            remainder: (example, label), in logits; not read where the settings leave it out.

        Returns:
            (example, label) float64.

        Raises:
            ValueError: shapes do not agree, or the remainder is needed and missing.
        """
        if contributions.ndim != 3 or contributions.shape[1] != len(self.weights):
            raise ValueError(
                f"contributions of shape {contributions.shape} for {len(self.weights)} weights; "
                "give (example, component, label) with the components of the fit"
            )
        rest = _kept(remainder, contributions, self.settings)
        logits = np.einsum("ejy,j->ey", contributions, self.weights)
        return logits if rest is None else logits + rest


def fit(
    contributions: np.ndarray,
    gold: np.ndarray,
    settings: FitSettings = VARIANTS["default"].reweighting,
    remainder: np.ndarray | None = None,
    *,
    components: Sequence[str] = (),
) -> Reweighting:
    """Fit one weight per component to labelled rows.

    Args:
        contributions: (row, component, label) of heads and MLPs, in logits. A label without rows is allowed.
        gold: (row,) label indices.
        settings: those of a variant in `dynamics.methods.variants`, or `dataclasses.replace` of one.
        remainder: (row, label), everything else in the full logits: needed where the settings keep it, else not read.
        components: names, kept with the weights.

    Raises:
        ValueError: a number is NaN or infinite, there are no rows, labels are out of range, shapes do not agree, or the
            remainder is needed and missing.
    """
    contributions, gold = np.asarray(contributions), np.asarray(gold)
    check_rows(contributions, gold)
    problem = margins(contributions, gold, _kept(remainder, contributions, settings))
    found = descend(problem, settings)
    losses, _ = loss_and_probabilities(problem.at(found.weights))
    return Reweighting(
        weights=found.weights,
        components=tuple(components),
        settings=settings,
        epochs=found.epochs,
        train_loss=float(losses.mean()),
        stop_reason=found.stop_reason,
        n_per_label=tuple(np.bincount(gold, minlength=contributions.shape[2]).tolist()),
    )


def check_rows(contributions: np.ndarray, gold: np.ndarray) -> None:
    """Raise ValueError unless (row, component, label) numbers are finite and gold (row,) indexes their labels."""
    if contributions.ndim != 3 or gold.shape != contributions.shape[:1] or 0 in contributions.shape:
        raise ValueError(
            f"contributions of shape {contributions.shape} and gold of shape {gold.shape}; give "
            "(row, component, label) and (row,) with at least one row and component"
        )
    n_labels = contributions.shape[2]
    if n_labels < 2 or gold.dtype.kind not in "iu" or gold.min() < 0 or gold.max() >= n_labels:
        raise ValueError(
            f"gold labels {np.unique(gold)[:8]} among {n_labels}; give indices from 0 of two or more labels"
        )
    _check_finite("contributions", contributions)


def _kept(remainder: np.ndarray | None, contributions: np.ndarray, settings: FitSettings) -> np.ndarray | None:
    """The remainder where the settings keep it, checked; None where they do not."""
    if not settings.keep_remainder:
        return None
    expected = (contributions.shape[0], contributions.shape[2])
    if remainder is None or remainder.shape != expected:
        raise ValueError(
            f"variant {settings.variant!r} keeps the remainder, of shape {expected}; got "
            f"{None if remainder is None else remainder.shape}; pass embedding + attention biases + constant"
        )
    _check_finite("remainder", remainder)
    return remainder


def _check_finite(name: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name}: NaN or infinity on row {int(np.argwhere(~np.isfinite(values))[0, 0])}; drop such rows"
        )
