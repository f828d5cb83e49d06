"""What does the full model lose without a component, and do later components make up for it?

From the table `ablations` (`dynamics.mechanisms.ablation`): a component's *direct effect* on the margin is what its own
contribution gives, its *total effect* what the model loses when later layers see the replacement too.

    self-repair = direct - total

is positive where later components make up for the loss, negative where they depend on the component. `ablations` sets
the best and the worst components, chosen on the training rows and ablated together, beside random sets of the same
size: what is lost without any components of that number. Intervals are over demonstration seeds, Student's t; all
prompts of a task share their test rows.
"""

import numpy as np
import polars as pl

from analysis.reading.groups import GROUP
from analysis.reading.result_tables import valid_rows
from analysis.statistics.onset import CONFIDENCE
from dynamics.results.places import Place

SETTING = [*GROUP, "replacement", "k"]
PROMPT = [*GROUP, "step", "template", "demo_seed", "fit_id"]
NOTHING, SINGLE = "none", "single"


def ablations(results: Place) -> pl.DataFrame:
    """The full model without the best, the worst and random components.

    Returns:
        One row per (model, dtype, control, task, n_shots, replacement, k, step, selection), selection `none`,
        `top`, `bottom` or `random` (mean over the random sets of a prompt): accuracy, centred_accuracy, mean_margin
        (means over prompts), lost (accuracy of `none` less this one, paired by prompt), lost_low, lost_high
        (95 % over demonstration seeds; null with one), centred_lost with the same, direct_effect, total_effect,
        n_prompts, n_seeds. Empty where a plan requested no ablations.
    """
    rows = _rows(results).filter(pl.col("selection") != SINGLE).with_columns(pl.col("selection").str.replace("-.*", ""))
    values = ["accuracy", "centred_accuracy", "mean_margin", "direct_effect", "total_effect"]
    prompts = rows.group_by(*PROMPT, *SETTING[len(GROUP) :], "selection").agg(pl.col(values).mean())
    whole = prompts.filter(selection=NOTHING).select(*PROMPT, full="accuracy", centred_full="centred_accuracy")
    lost = prompts.join(whole, on=PROMPT).with_columns(
        lost=pl.col("full") - pl.col("accuracy"), centred_lost=pl.col("centred_full") - pl.col("centred_accuracy")
    )
    return _over_seeds(lost, ["selection"], [*values, "lost", "centred_lost"], ["lost", "centred_lost"])


def direct_total(results: Place) -> pl.DataFrame:
    """Direct and total effect of single components.

    Returns:
        One row per (model, dtype, control, task, n_shots, replacement, k, step, component): direct_effect,
        total_effect and self_repair in logits of the margin (means over prompts), each with _low and _high, 95 % over
        demonstration seeds (null with one); self_repair_share = self_repair / direct_effect, null where the interval of
        the direct effect has 0 in it; accuracy and centred_accuracy without the component, n_prompts (those on which it
        was among the best, the worst or the first random set, so was ablated alone), n_seeds.
    """
    rows = _rows(results).filter(pl.col("selection") == SINGLE).rename({"components": "component"})
    rows = rows.with_columns(self_repair=pl.col("direct_effect") - pl.col("total_effect"))
    effects = ["direct_effect", "total_effect", "self_repair"]
    table = _over_seeds(rows, ["component"], [*effects, "accuracy", "centred_accuracy"], effects)
    is_known = pl.col("direct_effect_low") * pl.col("direct_effect_high") > 0
    share = pl.when(is_known).then(pl.col("self_repair") / pl.col("direct_effect"))
    return table.with_columns(self_repair_share=share)


def _rows(results: Place) -> pl.DataFrame:
    return valid_rows(results, "ablations").drop("predictions", "tied").collect(engine="streaming")


def _over_seeds(prompts: pl.DataFrame, keys: list[str], values: list[str], with_interval: list[str]) -> pl.DataFrame:
    """Means over prompts, with intervals over the means of demonstration seeds."""
    rows = prompts.group_by(*SETTING, "step", *keys)
    seeds = prompts.group_by(*SETTING, "step", *keys, "demo_seed").agg(pl.col(with_interval).mean())
    spread = seeds.group_by(*SETTING, "step", *keys).agg(
        n_seeds=pl.len().cast(pl.Int64), **{f"{name}_seed_sd": pl.col(name).std() for name in with_interval}
    )
    means = rows.agg(pl.col(values).mean(), n_prompts=pl.len().cast(pl.Int64))
    table = means.join(spread, on=[*SETTING, "step", *keys])
    n = table["n_seeds"].to_numpy()
    from scipy import stats  # takes longer to import than all of `analysis`

    t = stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(n - 1, 1)) / np.sqrt(n)
    half = pl.Series("half", np.where(n > 1, t, np.nan)).fill_nan(None)
    ends = [
        (pl.col(name) + sign * half * pl.col(f"{name}_seed_sd")).alias(f"{name}_{end}")
        for name in with_interval
        for sign, end in ((-1, "low"), (1, "high"))
    ]
    table = table.with_columns(ends).drop(f"{name}_seed_sd" for name in with_interval)
    return table.sort(*SETTING, *keys, "step")
