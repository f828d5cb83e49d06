"""Does a component, or a few labels, show the task before the full model does? Leads in doublings of training."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from analysis.reading.groups import GROUP, Schema
from analysis.statistics.compared_curves import ComparedCurve, Pair, compared_curve, pairs_of
from analysis.statistics.component_choice import CALIB, FULL
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import CURVE, CURVE_SCHEMA, POOLED, Curve, GroupCurves
from analysis.statistics.lead import AREA, Lead, is_grid_limited, lead, lead_alone, lead_names
from analysis.statistics.onset import CONFIDENCE

MIN_TEMPLATES = 3
"""Fewer templates have no interval: Student's t with 1 degree of freedom is 12.7 standard errors wide on each side."""
SCHEMA: Schema = {
    **CURVE_SCHEMA,
    "over": pl.String,
    "over_centred": pl.Boolean,
    "over_variant": pl.String,
    "over_n_labelled": pl.Int64,
    "template": pl.String,
    "selected_on": pl.String,
    "criterion": pl.String,
    "lead": pl.Float64,
    "bound": pl.String,
    "reason": pl.String,
    "low": pl.Float64,
    "high": pl.Float64,
    "undefined": pl.Float64,
    "lead_every_second": pl.Float64,
    "lead_others": pl.Float64,
    "grid_limited": pl.Boolean,
    "resampled": pl.String,
    "n_templates": pl.Int64,
    "templates_lead": pl.Float64,
    "templates_low": pl.Float64,
    "templates_high": pl.Float64,
    "templates_reason": pl.String,
    "n_prompts": pl.Int64,
    "n_ahead": pl.Int64,
    "n_behind": pl.Int64,
    "n_undecided": pl.Int64,
    "n_seeds": pl.Int64,
    "n_seeds_ahead": pl.Int64,
    "n_seeds_behind": pl.Int64,
}


def rows(curves: GroupCurves) -> Iterator[Row]:
    """Lead of a curve over another, positive where the other is later: by every criterion of onsets, and by area.

    The formulae are in `analysis.statistics.lead`: by a criterion, `log2(onset of the other) - log2(onset of the
    curve)`; by `area`, the area between the two curves, each as a share of its own rise, over log2 of steps. Compared
    are (`analysis.statistics.compared_curves`): every curve with Full in its own form, raw or centred; every raw curve
    with centred Full, which needs no label; COMP RW with Calib+, which is fitted to the same labels; centred Full with
    raw Full, Calib+ and raw COMP RW.

    Yields:
        One row per (model, dtype, control, task, n_shots, curve, centred, variant, n_labelled, over, over_centred,
        over_variant, over_n_labelled, template, criterion): `over` and the columns that begin with it are the other
        curve. `template` is empty for the mean over all prompts; single templates have leads by every criterion over
        Full in the curve's own form, by area over other curves. lead, in doublings; bound (empty; `at least` where the
        other never emerges, `at most` where the curve never does, the lead then being counted to the last checkpoint;
        `undefined` where there is no lead, for the `reason` given: neither emerges, or one is above its level before
        the first checkpoint); low, high: 95 % bootstrap interval, both curves from the same replicates and, by onsets,
        never narrower than the two checkpoints around each crossing allow; null where it has no end, and where the
        interval of the criterion or curve is not known to cover; undefined: share of replicates without a lead, left
        out of the interval, null where no interval is given; lead_every_second, lead_others: the lead from every second
        checkpoint alone, and from the others alone; null where there is none or only a bound; grid_limited: whether
        these two are further apart than the interval is wide, or one is null (null where there is no interval to
        compare with); resampled. With templates as random as prompts, in rows of all prompts: templates_lead, the mean
        over the n_templates templates' own leads, templates_low and templates_high, its 95 % interval, Student's t over
        templates (three are few: 4.3 standard errors each way), null for the `templates_reason` given. n_prompts,
        n_ahead, n_behind, n_undecided: prompts whose single curve emerges before, after, or neither; n_seeds,
        n_seeds_ahead, n_seeds_behind: the same with one vote per demonstration seed. All of them share the test rows,
        so they are counts and no test. Null where a criterion is not for single prompts.
    """
    templates = curves.templates

    def compared(curve: Curve) -> ComparedCurve:
        return compared_curve(curve, curves.common.steps, templates)

    often = {_key(curve): compared(curve) for curve in curves.curves if curve.name in (FULL, CALIB)}
    for curve in curves.curves:
        pairs = pairs_of(curve, curves.curves)
        known = often if _key(curve) in often or not pairs else {**often, _key(curve): compared(curve)}
        for pair in pairs:
            yield from _pair_rows(curves, pair, templates, known[_key(pair.curve)], known[_key(pair.over)])


OVER = ["over", "over_centred", "over_variant", "over_n_labelled"]
"""Columns that identify the curve that another is compared with, in the order of `CURVE`."""
LEADS = CurveTable(rows, SCHEMA, [*GROUP, *CURVE, *OVER, "template", "criterion"])


def over_templates(leads: Sequence[Lead], *, has_interval: bool) -> Row:
    """The mean of the templates' leads with its interval, Student's t over templates; null with a reason.

    Args:
        has_interval: whether intervals of the lead are known to cover.
    """
    n = len(leads)
    if n < MIN_TEMPLATES:
        return {"templates_reason": f"an interval over templates needs {MIN_TEMPLATES}; there are {n}"}
    n_without = sum(not found.is_exact for found in leads)
    if n_without:
        return {"templates_reason": f"{n_without} of {n} templates have no lead, or only a bound"}
    if not has_interval:
        return {"templates_reason": "intervals of this curve or criterion are not known to cover"}
    from scipy import stats  # takes longer to import than all of `analysis`

    values = np.array([found.value for found in leads])
    mean = float(values.mean())
    half_width = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * stats.sem(values))
    return {
        "templates_lead": mean,
        "templates_low": mean - half_width,
        "templates_high": mean + half_width,
        "templates_reason": "",
    }


def _key(curve: Curve) -> tuple[object, ...]:
    return tuple(curve.keys.values())


def _pair_rows(
    curves: GroupCurves,
    pair: Pair,
    templates: dict[str, tuple[int, ...]],
    own: ComparedCurve,
    other: ComparedCurve,
) -> Iterator[Row]:
    signs = _signs(own.prompt_onsets, other.prompt_onsets)
    for criterion in lead_names(own.sides[POOLED], other.sides[POOLED]):
        by_template = pair.is_over_own_full or criterion == AREA
        leads = {
            name: lead(criterion, one, other.sides[name])
            for name, one in own.sides.items()
            if name in other.sides and (by_template or name == POOLED)
        }
        for name, found in leads.items():
            prompts = templates[name]
            halves = zip(own.halves.get(name, ()), other.halves.get(name, ()), strict=True)
            yield {
                **curves.keys(pair.curve),
                **dict(zip(OVER, _key(pair.over), strict=True)),
                "template": name,
                "selected_on": pair.curve.selected_on,
                "criterion": criterion,
                **_lead_columns(found, [lead_alone(criterion, *half) for half in halves]),
                "resampled": curves.design.resampled,
                **(_templates_columns(leads, len(templates) - 1, by_template=by_template) if name == POOLED else {}),
                **_counts(curves.design.seed_of[list(prompts)], signs.get(criterion), prompts),
            }


def _templates_columns(leads: dict[str, Lead], n_templates: int, *, by_template: bool) -> Row:
    if not by_template:
        return {"n_templates": n_templates, "templates_reason": "single templates are compared with this curve by area"}
    has_interval = not np.isnan(leads[POOLED].undefined)
    of_templates = [found for name, found in leads.items() if name != POOLED]
    return {"n_templates": len(of_templates), **over_templates(of_templates, has_interval=has_interval)}


def _lead_columns(found: Lead, halves: Sequence[Lead]) -> Row:
    """A lead and those of the half grids, of which a single step has none."""
    by_half = [half.value if half.is_exact else None for half in halves] or [None, None]
    return {
        "lead": _finite(found.value),
        "bound": found.bound,
        "reason": found.reason,
        "low": _finite(found.low),
        "high": _finite(found.high),
        "undefined": _finite(found.undefined),
        "lead_every_second": by_half[0],
        "lead_others": by_half[1],
        "grid_limited": is_grid_limited(found, halves),
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _signs(own: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Criterion -> (prompt,): 1 where the curve emerges before the other, -1 after, 0 neither."""
    return {name: (other[name] > own[name]).astype(int) - (other[name] < own[name]).astype(int) for name in own}


def _counts(seed_of: np.ndarray, signs: np.ndarray | None, prompts: Sequence[int]) -> Row:
    """Prompts and seeds ahead and behind."""
    sizes: Row = {"n_prompts": len(seed_of), "n_seeds": len(np.unique(seed_of))}
    if signs is None:
        return sizes
    sign = signs[list(prompts)]
    seed_sign = np.sign(np.bincount(seed_of, weights=sign)).astype(int)
    return sizes | {
        "n_ahead": int((sign > 0).sum()),
        "n_behind": int((sign < 0).sum()),
        "n_undecided": int((sign == 0).sum()),
        "n_seeds_ahead": int((seed_sign > 0).sum()),
        "n_seeds_behind": int((seed_sign < 0).sum()),
    }
