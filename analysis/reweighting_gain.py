"""Can a few labels unlock what the components know, and when in training? Methods beside the full model.

Full needs no labels beyond the demonstrations, nor do the label-free baselines that methods with labels must beat: Full
less its label bias (`centred_full`) and its calibrations (`dynamics.methods.label_free`). Calib+ (`calib_plus`),
COMP RW (`comp_rw`) and held-out T1 (`heldout_t1`, variant `train_rows`) use `n_labelled` of them. Held-out T1 in its
variant `split_half` is chosen on half of the test rows: no method to use, but T1 without its optimism.
"""

import polars as pl

from analysis.reading.accuracies import method_scores
from analysis.reading.groups import GROUP
from analysis.reading.task_facts import n_labels
from dynamics.methods.label_free import BATCH_CALIBRATION, LABEL_FREE
from dynamics.results.places import Place

LABEL_FREE_BASELINES = ("centred_full", BATCH_CALIBRATION, *LABEL_FREE)
"""The full model without its label bias, estimated without a label."""
METHODS = ("full", *LABEL_FREE_BASELINES, "calib_plus", "comp_rw", "heldout_t1")
PROMPT = [*GROUP, "step", "template", "demo_seed"]


def reweighting_gain(results: Place) -> pl.DataFrame:
    """Accuracy of every method over training, and its gain over the full model on the same prompts.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, method, variant, n_labelled): accuracy (mean over
        prompts), sd, gain (mean over prompts of accuracy less the full model's), gain_sd, gain_over_centred and
        gain_over_centred_sd (the same less `centred_full`, which needs no label: what labels add; `bias_or_knowledge`
        has intervals), n_prompts, n_missing (prompts whose accuracy is null, not in the means), reason (of one of
        them), n_examples, chance. Methods that are not in the results have no rows.
    """
    scores = method_scores(results)
    full, centred = (
        scores.filter(method=method).select(*PROMPT, pl.col("accuracy").alias(method)).unique(PROMPT)
        for method in ("full", "centred_full")
    )
    gain, over_centred = (pl.col("accuracy") - pl.col(method) for method in ("full", "centred_full"))
    table = (
        scores.filter(pl.col("method").is_in(METHODS))
        .join(full, on=PROMPT, how="left")
        .join(centred, on=PROMPT, how="left")
        .group_by(*GROUP, "step", "method", "variant", "n_labelled")
        .agg(
            pl.col("accuracy").mean(),
            sd=pl.col("accuracy").std(),
            gain=gain.mean(),
            gain_sd=gain.std(),
            gain_over_centred=over_centred.mean(),
            gain_over_centred_sd=over_centred.std(),
            n_prompts=pl.col("accuracy").count(),
            n_missing=pl.col("accuracy").null_count(),
            reason=pl.col("reason").drop_nulls().sort().first(),
            n_examples=pl.col("n_examples").first(),
        )
        .collect(engine="streaming")
    )
    chance = table.join(n_labels(results), on=["model", "task"], how="left").with_columns(chance=1 / pl.col("n_labels"))
    return chance.drop("n_labels").sort(*GROUP, "method", "variant", "n_labelled", "step")
