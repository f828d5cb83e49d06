"""What do the methods reach where nothing can be known? Controls beside the trained model. (Paper, Table 6.)

A control is a sweep whose weights are random (`random_init`) or whose labels are shuffled (`shuffled_labels`). Step 0
of an untouched model, a random network of the suite's own making, is set beside them as `step 0`. A control at some
step is compared with the untouched model at that step, or at its last step where it has not that one; step 0 with the
last.
"""

import polars as pl

from analysis.accuracies import method_scores, n_labels
from dynamics.storage import Place

KEYS = ["model", "dtype", "task", "n_shots", "method", "variant", "n_labelled"]
STEP_ZERO = "step 0"


def controls(results: Place) -> pl.DataFrame:
    """Every method under every control, and trained.

    Returns:
        One row per (model, dtype, task, n_shots, method, variant, n_labelled, control, step): accuracy (mean over
        prompts), sd, n_prompts, n_examples, chance; trained_step, trained_accuracy, trained_sd: the untouched model.
        Empty where results hold neither a control nor a step 0 with later steps.
    """
    means = _means(results)
    trained = means.filter(control="none").drop("control", "n_examples", "n_prompts")
    trained = trained.rename({"step": "trained_step", "accuracy": "trained_accuracy", "sd": "trained_sd"})
    last = trained.group_by(*KEYS).agg(last_step=pl.col("trained_step").max())
    control = pl.when(pl.col("control") == "none").then(pl.lit(STEP_ZERO)).otherwise("control")
    untrained = means.filter((pl.col("control") != "none") | (pl.col("step") == 0)).with_columns(control=control)
    there = trained.select(*KEYS, step="trained_step", has_step=pl.lit(True))
    compared = untrained.join(last, on=KEYS, how="left").join(there, on=[*KEYS, "step"], how="left")
    same_step = pl.col("has_step").fill_null(False) & (pl.col("control") != STEP_ZERO)
    compared = compared.with_columns(trained_step=pl.when(same_step).then("step").otherwise("last_step"))
    compared = compared.filter((pl.col("control") != STEP_ZERO) | (pl.col("trained_step") > 0))
    wide = compared.join(trained, on=[*KEYS, "trained_step"], how="left").drop("last_step", "has_step")
    chance = wide.join(n_labels(results), on=["model", "task"], how="left").with_columns(chance=1 / pl.col("n_labels"))
    return chance.drop("n_labels").sort(*KEYS, "control", "step").select(*KEYS, "control", "step", *_VALUES)


_VALUES = ["accuracy", "sd", "n_prompts", "n_examples", "chance", "trained_step", "trained_accuracy", "trained_sd"]


def _means(results: Place) -> pl.DataFrame:
    """Mean over prompts of every method's test accuracy; prompts without one are left out."""
    return (
        method_scores(results)
        .filter(pl.col("accuracy").is_not_null())
        .group_by(*KEYS, "control", "step")
        .agg(
            pl.col("accuracy").mean(),
            sd=pl.col("accuracy").std(),
            n_prompts=pl.len(),
            n_examples=pl.col("n_examples").first(),
        )
        .collect(engine="streaming")
    )
