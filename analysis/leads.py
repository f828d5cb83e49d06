"""Does a component, or a few labels, show the task before the full model does? Leads in doublings of training."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.special import bdtrc

from analysis.reading.groups import GROUP, Schema
from analysis.statistics.bootstrap import replicate
from analysis.statistics.component_choice import B1, FULL
from analysis.statistics.criteria import Criterion, criteria
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import CURVE, CURVE_SCHEMA, Curve, GroupCurves
from analysis.statistics.onset import interval, onset_of

SCHEMA: Schema = {
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


def rows(curves: GroupCurves) -> Iterator[Row]:
    """Lead of every curve over Full, `log2(onset of Full) - log2(onset of the curve)`: positive where Full is later.

    Raw curves are compared with raw Full, centred ones with centred Full.

    Yields:
        One row per (model, dtype, control, task, n_shots, curve, centred, variant, n_labelled,
        criterion): lead, in doublings;
        bound (empty, `at least` where Full never emerges or the curve was above before the first checkpoint,
        `at most` the other way round; the lead is then counted to the last or from the first checkpoint; `undefined`
        where neither emerges or both were above before: lead is null); low, high: 95 % bootstrap interval, both onsets
        from the same replicates, null where it has no end, and where the interval of the criterion or curve is not
        known to cover; undefined: share of replicates without a lead, left out of the interval, null where no interval
        is given; resampled; n_prompts, n_ahead, n_behind, n_undecided: prompts whose single curve emerges before,
        after, or neither; p_sign: two-sided sign test over them; n_seeds, n_seeds_ahead, n_seeds_behind, p_sign_seeds:
        the same with one vote per demonstration seed, since prompts of a seed share their demonstrations. Prompts and
        seeds share the test rows, so both tests are about these rows. Null where a criterion is not for single prompts.
    """
    by_form = {curve.centred: curve for curve in curves.curves if curve.name == FULL}
    full_criteria = {
        centred: {criterion.name: criterion for criterion in criteria(curves, full)}
        for centred, full in by_form.items()
    }
    for curve in curves.curves:
        if curve.name in (FULL, B1):
            continue
        full = by_form[curve.centred]
        for criterion in criteria(curves, curve):
            full_criterion = full_criteria[curve.centred][criterion.name]
            yield {
                **curves.keys(curve),
                "selected_on": curve.selected_on,
                "criterion": criterion.name,
                **_lead_columns(curves.axis, (curve, criterion), (full, full_criterion)),
                "resampled": curves.design.resampled,
                **_sign_test_columns(curves, criterion, full_criterion),
            }


LEADS = CurveTable(rows, SCHEMA, [*GROUP, *CURVE, "criterion"])


def sign_test(ahead: int, behind: int) -> float:
    """Two-sided exact p that as many or more of the decided fall on one side if both sides are equally likely."""
    return min(1.0, 2 * float(bdtrc(max(ahead, behind) - 1, ahead + behind, 0.5)))


def _lead_columns(axis: np.ndarray, own: tuple[Curve, Criterion], full: tuple[Curve, Criterion]) -> Row:
    def onset_by(criterion: Criterion, values: np.ndarray) -> np.ndarray:
        return onset_of(axis, criterion.margins(values)).log2

    own_onset, full_onset = (float(onset_by(criterion, curve.mean)) for curve, criterion in (own, full))
    lead = np.clip(full_onset, axis[0], axis[-1]) - np.clip(own_onset, axis[0], axis[-1])
    undefined = own_onset == full_onset and np.isinf(own_onset)
    with np.errstate(invalid="ignore"):  # never less never is NaN: not defined
        replicates = replicate(
            lambda values, full_values: onset_by(full[1], full_values) - onset_by(own[1], values),
            own[0].bootstrap,
            full[0].bootstrap,
        )
    has_interval = own[1].has_interval(own[0])
    low, high = interval(replicates) if has_interval else (np.nan, np.nan)
    return {
        "lead": None if undefined else lead,
        "bound": "undefined" if undefined else _bound(own_onset, full_onset),
        "low": float(low) if np.isfinite(low) else None,
        "high": float(high) if np.isfinite(high) else None,
        "undefined": float(np.isnan(replicates).mean()) if has_interval else None,
    }


def _bound(own_onset: float, full_onset: float) -> str:
    if own_onset == -np.inf or full_onset == np.inf:
        return "at least"
    return "at most" if own_onset == np.inf or full_onset == -np.inf else ""


def _sign_test_columns(curves: GroupCurves, own: Criterion, full: Criterion) -> Row:
    """Sign tests over prompts and over seeds."""
    seed_of = curves.design.seed_of
    sizes: Row = {"n_prompts": len(seed_of), "n_seeds": curves.design.n_seeds}
    if own.prompts is None or full.prompts is None:
        return sizes
    own_onset, full_onset = (
        onset_of(curves.axis, np.nan_to_num(margins, nan=-1)).log2 for margins in (own.prompts, full.prompts)
    )
    sign = (full_onset > own_onset).astype(int) - (full_onset < own_onset).astype(int)
    seed_sign = np.sign(np.bincount(seed_of, weights=sign)).astype(int)
    ahead, behind = int((sign > 0).sum()), int((sign < 0).sum())
    seeds_ahead, seeds_behind = int((seed_sign > 0).sum()), int((seed_sign < 0).sum())
    return sizes | {
        "n_ahead": ahead,
        "n_behind": behind,
        "n_undecided": len(sign) - ahead - behind,
        "p_sign": sign_test(ahead, behind),
        "n_seeds_ahead": seeds_ahead,
        "n_seeds_behind": seeds_behind,
        "p_sign_seeds": sign_test(seeds_ahead, seeds_behind),
    }
