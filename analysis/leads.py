"""Does a component, or a few labels, show the task before the full model does? Leads in doublings of training."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from scipy import stats

from analysis.reading.answers import split_prompt
from analysis.reading.groups import GROUP, Schema
from analysis.statistics.component_choice import B1, FULL
from analysis.statistics.criteria import prompt_margins
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import CURVE, CURVE_SCHEMA, Curve, GroupCurves
from analysis.statistics.lead import (
    EVERY_SECOND,
    THE_OTHERS,
    Lead,
    Side,
    is_grid_limited,
    lead,
    lead_alone,
    lead_names,
    side,
)
from analysis.statistics.mean_curve import mean_curve
from analysis.statistics.onset import CONFIDENCE, isotonic_onset

MIN_TEMPLATES = 3
"""Fewer templates have no interval: Student's t with 1 degree of freedom is 12.7 standard errors wide on each side."""
POOLED = ""
SCHEMA: Schema = {
    **CURVE_SCHEMA,
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
    """Lead of every curve over Full, positive where Full is later: by every criterion of onsets, and by area.

    The formulae are in `analysis.statistics.lead`: by a criterion, `log2(onset of Full) - log2(onset of the curve)`; by
    `area`, the area between the two curves, each as a share of its own rise, over log2 of steps.

    Raw curves are compared with raw Full, centred ones with centred Full.

    Yields:
        One row per (model, dtype, control, task, n_shots, curve, centred, variant, n_labelled, template, criterion).
        `template` is empty for the mean over all prompts. lead, in doublings; bound (empty; `at least` where Full never
        emerges, `at most` where the curve never does, the lead then being counted to the last checkpoint; `undefined`
        where there is no lead, for the `reason` given: neither emerges, or one is above its level before the first
        checkpoint); low, high: 95 % bootstrap interval, both curves from the same replicates and, by onsets, never
        narrower than the two checkpoints around each crossing allow; null where it has no end, and where the interval
        of the criterion or curve is not known to cover; undefined: share of replicates without a lead, left out of the
        interval, null where no interval is given; lead_every_second, lead_others: the lead from every second checkpoint
        alone, and from the others alone; null where there is none or only a bound; grid_limited: whether these two are
        further apart than the interval is wide, or one is null (null where there is no interval to compare with);
        resampled. With templates as random as prompts, in rows of all prompts: templates_lead, the mean over the
        n_templates templates' own leads, templates_low and templates_high, its 95 % interval, Student's t over
        templates (three are few: 4.3 standard errors each way), null for the `templates_reason` given. n_prompts,
        n_ahead, n_behind, n_undecided: prompts whose single curve emerges before, after, or neither; n_seeds,
        n_seeds_ahead, n_seeds_behind: the same with one vote per demonstration seed. All of them share the test rows,
        so they are counts and no test. Null where a criterion is not for single prompts.
    """
    templates = _templates(curves)
    for full in (curve for curve in curves.curves if curve.name == FULL):
        full_sides = {name: _side(curves, full, prompts) for name, prompts in templates.items()}
        full_prompts = prompt_margins(full)
        for curve in curves.curves:
            if curve.name not in (FULL, B1) and curve.centred == full.centred:
                signs = _signs(curves, prompt_margins(curve), full_prompts)
                yield from _curve_rows(curves, curve, templates, full_sides, signs)


LEADS = CurveTable(rows, SCHEMA, [*GROUP, *CURVE, "template", "criterion"])


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
    values = np.array([found.value for found in leads])
    mean = float(values.mean())
    half_width = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * stats.sem(values))
    return {
        "templates_lead": mean,
        "templates_low": mean - half_width,
        "templates_high": mean + half_width,
        "templates_reason": "",
    }


def _templates(curves: GroupCurves) -> dict[str, tuple[int, ...] | None]:
    """Template -> its prompts; all of them first."""
    by_name = {split_prompt(curves.common.prompts[prompts[0]])[0]: prompts for prompts in curves.design.templates}
    return {POOLED: None, **by_name}


def _side(curves: GroupCurves, curve: Curve, prompts: Sequence[int] | None) -> Side:
    name = "the full model" if curve.name == FULL else "the curve"
    return side(name, mean_curve(curve, curves.common.steps, prompts))


def _curve_rows(
    curves: GroupCurves,
    curve: Curve,
    templates: dict[str, tuple[int, ...] | None],
    full_sides: dict[str, Side],
    signs: dict[str, np.ndarray],
) -> Iterator[Row]:
    has_values = ~np.isnan(curve.values[0])
    sides = {
        name: _side(curves, curve, prompts)
        for name, prompts in templates.items()
        if prompts is None or has_values[list(prompts)].any()
    }
    halves = {
        name: [(own.at(some), full_sides[name].at(some)) for some in (EVERY_SECOND, THE_OTHERS)]
        for name, own in sides.items()
        if len(own.curve.steps) > 1
    }
    for criterion in lead_names(sides[POOLED], full_sides[POOLED]):
        leads = {name: lead(criterion, own, full_sides[name]) for name, own in sides.items()}
        has_interval = not np.isnan(leads[POOLED].undefined)
        by_template = over_templates(
            [found for name, found in leads.items() if name != POOLED], has_interval=has_interval
        )
        for name, found in leads.items():
            prompts = templates[name] or range(len(has_values))
            yield {
                **curves.keys(curve),
                "template": name,
                "selected_on": curve.selected_on,
                "criterion": criterion,
                **_lead_columns(found, [lead_alone(criterion, *half) for half in halves.get(name, ())]),
                "resampled": curves.design.resampled,
                **({"n_templates": len(leads) - 1, **by_template} if name == POOLED else {}),
                **_counts(curves.design.seed_of[list(prompts)], signs.get(criterion), prompts),
            }


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


def _signs(curves: GroupCurves, own: dict[str, np.ndarray], full: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Criterion -> (prompt,): 1 where the curve emerges before Full, -1 after, 0 neither."""
    signs = {}
    for criterion in own:
        own_onset, full_onset = (isotonic_onset(curves.axis, margins[criterion]).log2 for margins in (own, full))
        signs[criterion] = (full_onset > own_onset).astype(int) - (full_onset < own_onset).astype(int)
    return signs


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
