"""Does a component, or a few labels, show the task before the full model does? Leads in doublings of training."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.special import bdtrc

from analysis.reading.answers import CURVE_SCHEMA, GROUP
from analysis.statistics.choosing import B1, FULL, NO_INTERVAL, SELECTED_ON
from analysis.statistics.criteria import COVERED, Criterion, criteria
from analysis.statistics.curves import Curve, GroupCurves
from analysis.statistics.one_pass import rows_of
from analysis.statistics.onset import interval, onset_of
from analysis.statistics.resampling import again
from dynamics.results.places import Place

SCHEMA = {
    **CURVE_SCHEMA,
    "selected_on": pl.String,
    "criterion": pl.String,
    "lead": pl.Float64,
    "bound": pl.String,
    "low": pl.Float64,
    "high": pl.Float64,
    "undefined": pl.Float64,
    "resampled": pl.String,
    "n_prompts": pl.Int64,
    "n_ahead": pl.Int64,
    "n_behind": pl.Int64,
    "n_undecided": pl.Int64,
    "p_sign": pl.Float64,
    "n_seeds": pl.Int64,
    "n_seeds_ahead": pl.Int64,
    "n_seeds_behind": pl.Int64,
    "p_sign_seeds": pl.Float64,
}


def leads(results: Place) -> pl.DataFrame:
    """Lead of every curve over Full, `log2(onset of Full) - log2(onset of the curve)`: positive where Full is later.

    Returns:
        One row per (model, dtype, control, task, n_shots, curve, variant, n_labelled, criterion): lead, in doublings;
        bound (empty, `at least` where Full never emerges or the curve was above before the first checkpoint,
        `at most` the other way round; the lead is then counted to the last or from the first checkpoint; `undefined`
        where neither emerges or both were above before: lead is null); low, high: 95 % interval, both onsets from the
        same replicates, null where it has no end, and for a criterion or curve whose interval is not known to cover;
        undefined: share of replicates without a lead, left out of it, null where no interval is claimed; resampled;
        n_prompts, n_ahead, n_behind, n_undecided: prompts whose own curve emerges before, after, or neither; p_sign:
        two-sided sign test over them; n_seeds, n_seeds_ahead, n_seeds_behind, p_sign_seeds: the same with one vote
        per demonstration seed, since prompts of a seed share their demonstrations. Prompts and seeds share the test
        rows, so both tests are about these rows. Null where a criterion is not for single prompts.
    """
    return pl.DataFrame(rows_of("leads", results), schema=SCHEMA).sort(
        *GROUP, "curve", "variant", "n_labelled", "criterion"
    )


def sign_test(ahead: int, behind: int) -> float:
    """Two-sided exact p that as many or more of the decided fall on one side if both sides are equally likely."""
    return min(1.0, 2 * float(bdtrc(max(ahead, behind) - 1, ahead + behind, 0.5)))


def rows(curves: GroupCurves) -> Iterator[dict[str, object]]:
    """One group's rows."""
    full = next(curve for curve in curves.curves if curve.name == FULL)
    of_full = {criterion.name: criterion for criterion in criteria(curves, full)}
    for curve in curves.curves:
        if curve.name in (FULL, B1):
            continue
        for criterion in criteria(curves, curve):
            yield {
                **dict(zip(GROUP, curves.asked.group, strict=True)),
                "curve": curve.name,
                "variant": curve.variant,
                "n_labelled": curve.n_labelled,
                "selected_on": SELECTED_ON[curve.name],
                "criterion": criterion.name,
                **_lead(curves.axis, (curve, criterion), (full, of_full[criterion.name])),
                "resampled": curves.design.resampled,
                **_votes(curves, criterion, of_full[criterion.name]),
            }


def _lead(axis: np.ndarray, mine: tuple[Curve, Criterion], full: tuple[Curve, Criterion]) -> dict[str, object]:
    def onset_by(criterion: Criterion, values: np.ndarray) -> np.ndarray:
        return onset_of(axis, criterion.margins(values)).log2

    first, second = (float(onset_by(criterion, curve.mean)) for curve, criterion in (mine, full))
    lead = np.clip(second, axis[0], axis[-1]) - np.clip(first, axis[0], axis[-1])
    undefined = first == second and np.isinf(first)
    with np.errstate(invalid="ignore"):  # never less never is NaN: not defined
        replicates = again(lambda a, b: onset_by(full[1], b) - onset_by(mine[1], a), mine[0].drawn, full[0].drawn)
    claimed = mine[1].name in COVERED and mine[0].name not in NO_INTERVAL
    low, high = interval(replicates) if claimed else (np.nan, np.nan)
    return {
        "lead": None if undefined else lead,
        "bound": "undefined" if undefined else _bound(first, second),
        "low": float(low) if np.isfinite(low) else None,
        "high": float(high) if np.isfinite(high) else None,
        "undefined": float(np.isnan(replicates).mean()) if claimed else None,
    }


def _bound(mine: float, full: float) -> str:
    if mine == -np.inf or full == np.inf:
        return "at least"
    return "at most" if mine == np.inf or full == -np.inf else ""


def _votes(curves: GroupCurves, mine: Criterion, full: Criterion) -> dict[str, object]:
    """Sign tests over prompts and over seeds."""
    seed_of = curves.design.seed_of
    counts: dict[str, object] = {"n_prompts": len(seed_of), "n_seeds": int(seed_of.max()) + 1}
    if mine.prompts is None or full.prompts is None:
        return counts
    first, second = (onset_of(curves.axis, np.nan_to_num(own, nan=-1)).log2 for own in (mine.prompts, full.prompts))
    sign = (second > first).astype(int) - (second < first).astype(int)
    by_seed = np.sign(np.bincount(seed_of, weights=sign)).astype(int)
    ahead, behind = int((sign > 0).sum()), int((sign < 0).sum())
    seeds_ahead, seeds_behind = int((by_seed > 0).sum()), int((by_seed < 0).sum())
    return counts | {
        "n_ahead": ahead,
        "n_behind": behind,
        "n_undecided": len(sign) - ahead - behind,
        "p_sign": sign_test(ahead, behind),
        "n_seeds_ahead": seeds_ahead,
        "n_seeds_behind": seeds_behind,
        "p_sign_seeds": sign_test(seeds_ahead, seeds_behind),
    }
