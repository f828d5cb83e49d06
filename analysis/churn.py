"""Do the same components stay ahead as training goes on, or do they change places?

The vector of component accuracies of one prompt at a step is compared with the same prompt's vector at another step:
the last one (`against = "final"`) and the step before in the results (`"previous"`). Two numbers:

- `rank_correlation`: Spearman's rho, Pearson's r of the ranks, equal accuracies sharing their mean rank;
- `iou`: `|A & B| / |A | B|` of the two sets of the `TOP` most accurate components.

A tie for the last place among the top is broken at random, anew for every step and prompt, as in
`analysis.consistency`: components that all answer at chance must not count as agreement. Both steps are scored on the
same test rows, so neither number is pulled to zero by luck as strongly as it would be on rows of their own.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from analysis.consistency import TOP, iou_by_luck, top_sets
from analysis.reading.accuracies import Prompt, StepAccuracies, accuracies, mean_sd
from analysis.reading.answers import GROUP, groups
from dynamics.results.places import Place

_SCHEMA = {
    **dict.fromkeys(GROUP, pl.String),
    "n_shots": pl.Int64,
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
    rows = [row for group in groups(results) for row in _group(list(accuracies(results, group)))]
    return pl.DataFrame(rows, schema=_SCHEMA)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rho of the rows of two (prompt, component) matrices: (prompt,), NaN where a row is constant."""
    x, y = (_centred_ranks(values) for values in (one, other))
    norm = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.clip((x * y).sum(1) / np.where(norm > 1e-9, norm, np.nan), -1, 1)


def at_common_prompts(steps: Sequence[StepAccuracies]) -> list[StepAccuracies]:
    """The steps with only the prompts that all of them have, so that a curve does not change what it averages."""
    common: set[Prompt] = set.intersection(*(set(at.prompts) for at in steps)) if steps else set()
    return [_only(at, sorted(common)) for at in steps] if common else []


def _only(at: StepAccuracies, prompts: Sequence[Prompt]) -> StepAccuracies:
    keep = [at.prompts.index(prompt) for prompt in prompts]
    return StepAccuracies(at.group, at.step, tuple(prompts), at.components, at.accuracy[keep])


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis less their mean; differences below 1e-9 are rounding, not ranks."""
    columns = pl.from_numpy(np.round(values, 9).T)
    ranks = columns.select(pl.all().rank("average")).to_numpy().T
    return ranks - ranks.mean(1, keepdims=True)


def _group(steps: Sequence[StepAccuracies]) -> Iterator[dict[str, object]]:
    kept = at_common_prompts(steps)
    for i, at in enumerate(kept):
        yield _row(at, "final", kept[-1])
        if i > 0:
            yield _row(at, "previous", kept[i - 1])


def _row(at: StepAccuracies, against: str, other: StepAccuracies) -> dict[str, object]:
    rho = rank_correlation(at.accuracy, other.accuracy)
    sets, others = (top_sets(one.accuracy, seed=one.step) for one in (at, other))
    rho_mean, rho_sd = mean_sd(rho)
    iou_mean, iou_sd = mean_sd((sets & others).sum(1) / (sets | others).sum(1))
    return {
        **dict(zip(GROUP, at.group, strict=True)),
        "step": at.step,
        "against": against,
        "other_step": other.step,
        "rank_correlation": rho_mean,
        "rank_correlation_sd": rho_sd,
        "iou": iou_mean,
        "iou_sd": iou_sd,
        "n_prompts": len(at.prompts),
        "n_without_rank_correlation": int(np.isnan(rho).sum()),
        "n_components": len(at.components),
        "top": min(TOP, len(at.components)),
        "iou_by_luck": iou_by_luck(len(at.components)),
    }
