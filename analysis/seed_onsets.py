"""Do onsets and leads replicate in training runs with other seeds? Brackets, shares of runs, means over runs.

An onset is known between two checkpoints only. Over runs, the median onset lies between the median of the left ends and
the median of the right ends, whatever the onsets within their brackets are. A run in which a curve never emerges has
its onset after the last checkpoint, at infinity, and one that is above its level from the first checkpoint on has it at
that checkpoint or before. For an even number of runs the lower of the two middle left ends and the higher of the two
middle right ends are taken, so that the bracket still holds.
"""

import numpy as np
import polars as pl

from analysis.curve_tables import curve_table
from analysis.leads import POOLED
from analysis.reading.groups import GROUP, GROUP_SCHEMA, Schema
from analysis.reading.seeds import families
from analysis.statistics.component_choice import FULL
from analysis.statistics.criteria import HALF, NULL
from analysis.statistics.curve_table import Row
from analysis.statistics.curves import CURVE, CURVE_SCHEMA
from analysis.statistics.lead import AREA
from analysis.statistics.onset import CONFIDENCE
from dynamics.results.places import Place

CRITERIA = (HALF, NULL, AREA)
MIN_RUNS = 3
"""Fewer have no interval: Student's t with 1 degree of freedom is 12.7 standard errors wide on each side."""
ALL_RUNS = ""
SETTING = [name for name in GROUP if name != "model"]
KEYS = [*SETTING, *CURVE, "criterion"]
SCHEMA: Schema = {
    "model": pl.String,
    "varies": pl.String,
    **{name: GROUP_SCHEMA[name] for name in SETTING},
    **{name: CURVE_SCHEMA[name] for name in CURVE},
    "criterion": pl.String,
    "run": pl.String,
    "censored": pl.String,
    **dict.fromkeys(("step_before", "step_after", "first_step", "last_step"), pl.Int64),
    **dict.fromkeys(("never", "never_low", "never_high"), pl.Float64),
    **dict.fromkeys(("lead", "lead_low", "lead_high", "lead_min", "lead_max"), pl.Float64),
    "lead_reason": pl.String,
    **dict.fromkeys(("n_never", "n_leads", "n_runs"), pl.Int64),
}


def seed_onsets(results: Place) -> pl.DataFrame:
    """Onsets, as brackets between checkpoints, and leads over Full: of each training run, and over runs.

    Returns:
        One row per (model, varies, dtype, control, task, n_shots, curve, centred, variant, n_labelled, criterion, run):
        model is the one without a seed in its name, varies what the seeds change; criterion: `half` and `null`, by
        which an onset and a lead are measured, and `area`, a lead alone; run: the model of one training run, or empty
        for all of them. step_before and step_after, the checkpoints around the onset of one run, or the medians of both
        over runs; step_after is null where that is never, step_before where it is before the first checkpoint; censored
        says why a run has no onset (`analysis.onsets`), of all runs whether their median is `never` or `before`. Of all
        runs: never, the share of those in which the curve does not emerge (`never` or `falls`), with its exact 95 %
        interval (Clopper-Pearson) never_low, never_high; n_never. lead over Full in the same form, null where there is
        none or only a bound, for the lead_reason given; of all runs, the mean, null where one has none, with its 95 %
        interval lead_low, lead_high, Student's t over runs (null with fewer than three), and lead_min, lead_max, the
        range of the n_leads runs that have a lead; n_runs. Empty where no model has a second seed.
    """
    onsets, leads = curve_table("onsets", results), leads_over_full(curve_table("leads", results))
    trainings = _of_trainings(onsets, leads)
    tables = [pl.DataFrame(schema=SCHEMA)]
    for (base, varies), models in families(trainings["model"]).items():
        of_family = trainings.filter(pl.col("model").is_in(models))
        for key, runs in of_family.partition_by(KEYS, as_dict=True, maintain_order=True).items():
            if len(runs) > 1:
                keys = {"model": base, "varies": varies, **dict(zip(KEYS, key, strict=True))}
                rows = [{**keys, **row} for row in (over_runs(runs), *_single_runs(runs))]
                tables.append(pl.DataFrame(rows, schema=SCHEMA))
    return pl.concat(tables).sort("model", "varies", *KEYS, "run")


def leads_over_full(leads: pl.DataFrame) -> pl.DataFrame:
    """The rows of `leads` of all prompts together, against the full model in the same form as the curve."""
    same_form = pl.col("over_centred") == pl.col("centred")
    return leads.filter(same_form, pl.col("curve") != FULL, template=POOLED, over=FULL)


def _of_trainings(onsets: pl.DataFrame, leads: pl.DataFrame) -> pl.DataFrame:
    """One row per training run, curve and criterion: its onset and its lead, where it has either."""
    keys = ["model", *KEYS]
    by_onset = onsets.select(*keys, "emerges", "censored", "step_before", "step_after", "first_step", "last_step")
    by_lead = leads.select(*keys, "lead", "bound", lead_reason="reason")
    rows = by_onset.join(by_lead, on=keys, how="full", coalesce=True)
    return rows.filter(pl.col("criterion").is_in(CRITERIA)).sort(keys)


def _single_runs(runs: pl.DataFrame) -> list[Row]:
    """The rows of single runs; of a lead that is only a bound, the reason says so."""
    is_bound = pl.col("bound").is_in(["at least", "at most"])
    bound = pl.format("only a bound: {} {} doublings", "bound", pl.col("lead").round(2))
    rows = runs.with_columns(
        lead=pl.when(~is_bound).then("lead"), lead_reason=pl.when(is_bound).then(bound).otherwise("lead_reason")
    )
    columns = ("censored", "first_step", "last_step", "lead", "lead_reason")
    brackets = [_steps(*ends) for ends in _ends(runs).iter_rows()] if _has_onsets(runs) else [{}] * len(runs)
    named = rows.select(pl.col("model").alias("run"), *columns).iter_rows(named=True)
    return [{**row, **around} for row, around in zip(named, brackets, strict=True)]


def over_runs(runs: pl.DataFrame) -> Row:
    """The row of all runs.

    Args:
        runs: one row per run: emerges, censored, step_before, step_after, first_step, last_step (null of `area`), lead,
            bound (null of Full).
    """
    row: Row = {"run": ALL_RUNS, "n_runs": len(runs)}
    if _has_onsets(runs):
        row |= {"first_step": runs["first_step"].max(), "last_step": runs["last_step"].min()}
        row |= _median_bracket(_ends(runs)) | _share_never(~runs["emerges"].to_numpy())
    if runs["bound"].null_count() < len(runs):
        exact = runs.filter(pl.col("lead").is_not_null(), bound="")["lead"].to_numpy()
        row |= _mean_lead(exact, len(runs))
    return row


def _has_onsets(runs: pl.DataFrame) -> bool:
    return runs["emerges"].null_count() == 0


def _ends(runs: pl.DataFrame) -> pl.DataFrame:
    """The steps that each run's onset is known to be between: left and right, infinite where there is none."""
    emerges, before = pl.col("emerges"), pl.col("censored") == "before"
    return runs.select(
        left=pl.when(before).then(-np.inf).when(emerges).then("step_before").otherwise("last_step"),
        right=pl.when(before).then("first_step").when(emerges).then("step_after").otherwise(np.inf),
    )


def _steps(left: float, right: float) -> Row:
    finite = (int(end) if np.isfinite(end) else None for end in (left, right))
    return dict(zip(("step_before", "step_after"), finite, strict=True))


def _median_bracket(ends: pl.DataFrame) -> Row:
    left = float(np.quantile(ends["left"].to_numpy(), 0.5, method="lower"))
    right = float(np.quantile(ends["right"].to_numpy(), 0.5, method="higher"))
    return {**_steps(left, right), "censored": "never" if np.isinf(right) else "before" if np.isinf(left) else ""}


def _share_never(never: np.ndarray) -> Row:
    from scipy import stats  # takes longer to import than all of `analysis`

    found = stats.binomtest(int(never.sum()), len(never)).proportion_ci(CONFIDENCE, method="exact")
    share = float(never.mean())
    return {"n_never": int(never.sum()), "never": share, "never_low": found.low, "never_high": found.high}


def _mean_lead(leads: np.ndarray, n_runs: int) -> Row:
    """Mean, interval and range of the leads of n_runs runs; only the range where some have none."""
    row: Row = {"n_leads": len(leads)}
    if len(leads):
        row |= {"lead_min": float(leads.min()), "lead_max": float(leads.max())}
    if len(leads) < n_runs:
        return row | {"lead_reason": f"{n_runs - len(leads)} of {n_runs} runs have no lead, or only a bound"}
    row |= {"lead": float(leads.mean()), "lead_reason": ""}
    if n_runs < MIN_RUNS:
        return row
    from scipy import stats  # takes longer to import than all of `analysis`

    half_width = float(stats.t.ppf((1 + CONFIDENCE) / 2, n_runs - 1) * stats.sem(leads))
    return row | {"lead_low": float(leads.mean()) - half_width, "lead_high": float(leads.mean()) + half_width}
