"""How far apart are training runs with other seeds? Curves of the same model, mean and range over seeds.

T1, B1 and held-out T1 (chosen on one half of the test rows, scored on the other) choose components anew in every
training: the best of each is compared, not the component at one place, which is another one in every seed.
"""

import polars as pl

from analysis.reading.accuracies import method_scores
from analysis.reading.groups import GROUP
from analysis.reading.seeds import families
from analysis.reading.task_facts import n_labels
from dynamics.results.places import Place

CURVES = {"full": "Full", "oracle_t1": "T1", "oracle_b1": "B1", "heldout_t1": "Held-out T1"}
SETTING = [name for name in GROUP if name != "model"]


def seed_spread(results: Place) -> pl.DataFrame:
    """Mean, SD and range over seeds of each training's mean accuracy over prompts.

    Returns:
        One row per (model, varies, dtype, control, task, n_shots, step, curve): model is the one without a seed in its
        name, varies what its seeds change (`seed`, `data-seed`, `weight-seed`); mean, sd, low, high over seeds,
        n_seeds, seeds (their models), chance. Empty where no model has a second seed.
    """
    scores = method_scores(results).filter(
        pl.col("method").is_in(list(CURVES)),
        (pl.col("method") != "heldout_t1") | (pl.col("variant") == "split_half"),
        pl.col("accuracy").is_not_null(),
    )
    means = scores.group_by("model", *SETTING, "step", "method").agg(pl.col("accuracy").mean())
    trainings = means.collect(engine="streaming").join(n_labels(results), on=["model", "task"], how="left")
    tables = [_over_seeds(trainings.clear(), "", "")]
    for (base, varies), models in families(trainings["model"]).items():
        table = _over_seeds(trainings.filter(pl.col("model").is_in(models)), base, varies)
        tables.append(table.filter(pl.col("n_seeds").max().over(SETTING) > 1))
    return pl.concat(tables).sort("model", "varies", *SETTING, "curve", "step")


def _over_seeds(trainings: pl.DataFrame, base: str, varies: str) -> pl.DataFrame:
    curve = pl.col("method").replace_strict(CURVES, return_dtype=pl.String)
    value = pl.col("accuracy")
    spread = trainings.group_by(*SETTING, "step", curve=curve).agg(
        mean=value.mean(),
        sd=value.std(),
        low=value.min(),
        high=value.max(),
        n_seeds=pl.len().cast(pl.Int64),
        seeds=pl.col("model").sort().str.join(" "),
        chance=1 / pl.col("n_labels").first(),
    )
    return spread.select(pl.lit(base).alias("model"), pl.lit(varies).alias("varies"), pl.all())
