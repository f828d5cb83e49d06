"""Ridge regression across blocks of components: how well a held-out block's order is predicted, and by chance.

A block is a set of components that are ranked against each other, such as the heads of a model on one task. Predictors
and outcome are standardised within each block, so that only differences between its components count. With the rows of
the blocks that are not held out, n in number,

    beta = (X' X + PENALTY n I)^-1 X' y

and the score is Spearman's correlation of `X beta` with the outcome in each held-out block, mean over blocks. A
prediction that is the same for all components of a block scores 0.
"""

from dataclasses import dataclass

import numpy as np

PENALTY = 1.0
"""Per row: it halves the weight of a lone predictor, and is fixed, since so few components could not choose one."""
N_PERMUTED = 1000
SEED = 0
MIN_COMPONENTS, MIN_FOLDS = 5, 2


@dataclass(frozen=True)
class Outcome:
    """What is to be predicted, and the same with components permuted.

    Attributes:
        values: (1 + permutation, block, component) standardised within the block, 0 where there is none; the first as
            observed.
        ranks: of the values, centred and of length 1 within each block; 0 where there is none.
        is_known: (1 + permutation, block, component) bool.
        fold: (block,) what is held out together.
    """

    values: np.ndarray
    ranks: np.ndarray
    is_known: np.ndarray
    fold: np.ndarray


def outcome(values: np.ndarray, fold: np.ndarray, exchangeable: np.ndarray) -> Outcome | None:
    """The outcome, ready to be predicted; None where fewer than `MIN_FOLDS` folds can be ranked.

    Args:
        values: (block, component), NaN where it was not measured. Blocks with fewer than `MIN_COMPONENTS` values that
            are not all equal are left out of fit and score.
        fold: (block,).
        exchangeable: (block,) number of the set of blocks whose components are permuted alike: a component's values
            there depend on each other.
    """
    known = ~np.isnan(values)
    spread = np.nanmax(np.where(known, values, -np.inf), 1) - np.nanmin(np.where(known, values, np.inf), 1)
    usable = (known.sum(1) >= MIN_COMPONENTS) & (spread > 0)
    if len(np.unique(fold[usable])) < MIN_FOLDS:
        return None
    rng = np.random.default_rng(SEED)
    n_blocks, n_components = values.shape
    order = np.tile(np.arange(n_components), (1 + N_PERMUTED, n_blocks, 1))
    for one in np.unique(exchangeable):
        drawn = rng.permuted(np.tile(np.arange(n_components), (N_PERMUTED, 1)), axis=1)
        order[1:, exchangeable == one] = drawn[:, None]
    kept = np.where(usable[:, None], values, np.nan)
    permuted = np.take_along_axis(np.broadcast_to(kept, order.shape), order, -1)
    is_known = ~np.isnan(permuted)
    return Outcome(_standardised(permuted, is_known), _unit_ranks(permuted, is_known), is_known, fold)


def scores(predictors: np.ndarray, of: Outcome) -> np.ndarray:
    """Cross-validated rank correlations, (1 + permutation,), the first as observed.

    Args:
        predictors: (block, component, predictor), finite.
    """
    everywhere = np.ones(predictors.shape[:2], bool)
    x = np.stack([_standardised(column, everywhere) for column in np.moveaxis(predictors, -1, 0)], -1)
    weight = of.is_known.astype(float)
    squares = np.einsum("bcp,kbc,bcq->kbpq", x, weight, x, optimize=True)
    products = np.einsum("bcp,kbc->kbp", x, of.values, optimize=True)
    n_rows = weight.sum(-1)
    usable = n_rows[0] > 0
    correlations = []
    for fold in np.unique(of.fold[usable]):
        held, fitted = usable & (of.fold == fold), usable & (of.fold != fold)
        penalty = PENALTY * n_rows[:, fitted].sum(1)[:, None, None] * np.eye(x.shape[-1])
        beta = np.linalg.solve(squares[:, fitted].sum(1) + penalty, products[:, fitted].sum(1)[..., None])[..., 0]
        predicted = np.einsum("bcp,kp->kbc", x[held], beta, optimize=True)
        ranks = _unit_ranks(np.where(of.is_known[:, held], predicted, np.nan), of.is_known[:, held])
        correlations.append((ranks * of.ranks[:, held]).sum(-1))
    return np.concatenate(correlations, 1).mean(1)


def _standardised(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Less the mean, divided by the standard deviation, over the last axis; 0 where unknown, or where all are equal."""
    n = np.maximum(known.sum(-1, keepdims=True), 1)
    filled = np.where(known, values, 0)
    centred = np.where(known, filled - filled.sum(-1, keepdims=True) / n, 0)
    sd = np.sqrt((centred**2).sum(-1, keepdims=True) / n)
    return np.where(sd > 1e-12, centred / np.where(sd > 1e-12, sd, 1), 0)


def _unit_ranks(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, ties alike, centred and of length 1; 0 where unknown, or where all are equal."""
    from scipy.stats import rankdata  # takes longer to import than all of `analysis`

    scale = np.nanmax(np.abs(np.where(known, values, 0)), axis=-1, keepdims=True)
    rounded = np.round(values / np.where(scale > 0, scale, 1), 9)  # rounding errors must not order equal predictions
    ranks = rankdata(np.where(known, rounded, np.inf), axis=-1)
    standard = _standardised(ranks, known)
    return standard / np.sqrt(np.maximum(known.sum(-1, keepdims=True), 1))
