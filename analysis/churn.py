"""Do the same components remain the best as training goes on, or do they change places?

The vector of component accuracies of one prompt at a step is compared with the same prompt's vector at another step:
the last one (`against = "final"`) and the step before in the results (`"previous"`). Two numbers:

- `rank_correlation`: Spearman's rho, Pearson's r of the ranks, equal accuracies sharing their mean rank;
- `iou`: `|A & B| / |A | B|` of the two sets of the `TOP` most accurate components.

A tie for the last place among the top is broken at random, independently at every step and prompt. Both steps are
scored on the same test rows, so noise pulls neither number towards zero as strongly as it would on separate rows.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from analysis.reading.accuracies import StepAccuracies, mean_sd_columns, read_at_common_prompts
from analysis.reading.groups import GROUP_SCHEMA, groups
from analysis.statistics.top_components import TOP, iou_by_chance, top_sets
from dynamics.results.places import Place

_SCHEMA = {
    **GROUP_SCHEMA,
    "step": pl.Int64,
    "against": pl.String,
    "other_step": pl.Int64,
    "rank_correlation": pl.Float64,
    "rank_correlation_sd": pl.Float64,
    "iou": pl.Float64,
    "iou_sd": pl.Float64,
    "n_prompts": pl.Int64,
    "n_without_rank_correlation": pl.Int64,
    "n_components": pl.Int64,
    "top": pl.Int64,
    "iou_by_luck": pl.Float64,
}


def churn(results: Place) -> pl.DataFrame:
    """Mean and SD over prompts of Spearman's rho and IoU between a step and the last one, and the one before.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, against): other_step, rank_correlation,
        rank_correlation_sd, iou, iou_sd, n_prompts (those that every step has), n_without_rank_correlation (prompts
        whose components are all equally accurate at either step: not in its mean), n_components, top (size of the
        sets), iou_by_luck (expected IoU of two random sets). The first step has no row `previous`.
    """
    rows = [row for group in groups(results) for row in _rows(read_at_common_prompts(results, group))]
    return pl.DataFrame(rows, schema=_SCHEMA)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of the rows of two (prompt, component) matrices: (prompt,), NaN where a row is constant."""
    x, y = _centred_ranks(x), _centred_ranks(y)
    norm = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.clip((x * y).sum(1) / np.where(norm > 1e-9, norm, np.nan), -1, 1)


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis less their mean; differences below 1e-9 are rounding, not ranks."""
    columns = pl.from_numpy(np.round(values, 9).T)
    ranks = columns.select(pl.all().rank("average")).to_numpy().T
    return ranks - ranks.mean(1, keepdims=True)


def _rows(steps: Sequence[StepAccuracies]) -> Iterator[dict[str, object]]:
    for i, step in enumerate(steps):
        yield _row(step, "final", steps[-1])
        if i > 0:
            yield _row(step, "previous", steps[i - 1])


def _row(step: StepAccuracies, against: str, other: StepAccuracies) -> dict[str, object]:
    rho = rank_correlation(step.accuracy, other.accuracy)
    own_top, other_top = (top_sets(compared.accuracy, seed=compared.step) for compared in (step, other))
    iou = (own_top & other_top).sum(1) / (own_top | other_top).sum(1)
    return {
        **step.group.keys,
        "step": step.step,
        "against": against,
        "other_step": other.step,
        **mean_sd_columns(rank_correlation=rho, iou=iou),
        "n_prompts": len(step.prompts),
        "n_without_rank_correlation": int(np.isnan(rho).sum()),
        "n_components": len(step.components),
        "top": min(TOP, len(step.components)),
        "iou_by_luck": iou_by_chance(len(step.components)),
    }
