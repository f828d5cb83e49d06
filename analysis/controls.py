"""What do the methods reach without pretraining, or with shuffled labels? Controls beside the model. (Paper, table 6.)

`dynamics.controls` defines `random_init` and `shuffled_labels`. Step 0 of the model without a control, a random network
as the suite initialised it, is set beside them as `step 0`. Shuffled labels at some step are compared with the model at
that step, or at its last step where it lacks that one; random weights and step 0 with its last.

Prompts of one control seed share their labels or their weights, so what is averaged over prompts is one observation,
and the interval is over seeds: `accuracy +- t(0.975, n_seeds - 1) * seed_sd / sqrt(n_seeds)`.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.special import stdtrit

from analysis.reading.accuracies import method_scores
from analysis.reading.answers import StepAnswers, has_centred_answers, read_answers
from analysis.reading.groups import GROUP_SCHEMA, groups
from analysis.reading.task_facts import n_labels
from analysis.statistics.null import permuted_extremes
from dynamics.label_bias import CENTRED, TRAIN_CENTRED
from dynamics.results.places import Place

KEYS = ["model", "dtype", "task", "n_shots", "method", "variant", "n_labelled"]
NONE, STEP_ZERO = "none", "step 0"
LEVEL = 0.95


def controls(results: Place) -> pl.DataFrame:
    """Every method under every control, and trained.

    Returns:
        One row per (model, dtype, task, n_shots, method, variant, n_labelled, control, step). accuracy: mean over
        seeds of the mean over prompts; sd: over all prompts; seed_sd: over seeds; low, high: 95 % interval over seeds;
        n_seeds, n_prompts (of all seeds), n_examples; chance; expected: the accuracy of guessing, which is chance, but
        for T1 and B1, centred or not, the mean of the best and worst component over permuted test labels (best and
        worst less means over training rows, whose answers are not stored, are left out); distance:
        `(accuracy - expected) / sqrt(chance (1 - chance) / (n_seeds * n_examples))`, in SDs of guesses that all
        prompts of a seed share; trained_step, trained_accuracy, trained_sd (over prompts): the model without a control.
        seed_sd, low and high are null with one seed. Empty where results hold neither a control nor a step 0 with
        later steps.
    """
    means = _means(results)
    trained = means.filter(control=NONE).select(
        *KEYS, trained_step="step", trained_accuracy="accuracy", trained_sd="sd"
    )
    compared = _compared(means, trained).join(trained, on=[*KEYS, "trained_step"], how="left")
    chance = compared.join(n_labels(results), on=["model", "task"], how="left").with_columns(
        chance=1 / pl.col("n_labels")
    )
    table = chance.join(_expected_extremes(results), on=[*_SETTING, "method"], how="left").with_columns(
        expected=pl.coalesce("expected", "chance")
    )
    return table.with_columns(distance=_DISTANCE).sort(*KEYS, "control", "step").select(*KEYS, *_VALUES)


_VALUES = [
    *("control", "step", "accuracy", "sd", "seed_sd", "low", "high", "n_seeds", "n_prompts", "n_examples"),
    *("chance", "expected", "distance", "trained_step", "trained_accuracy", "trained_sd"),
]
_SETTING = ["model", "dtype", "task", "n_shots", "control", "step"]
_SD_OF_GUESSING = (pl.col("chance") * (1 - pl.col("chance")) / (pl.col("n_seeds") * pl.col("n_examples"))).sqrt()
_DISTANCE = (pl.col("accuracy") - pl.col("expected")) / _SD_OF_GUESSING
_EXTREMES = ("oracle_t1", "oracle_b1")
_WITHOUT_EXPECTED = [TRAIN_CENTRED + method for method in _EXTREMES]
_KIND = pl.col("control").str.split("-").list.first()


def _means(results: Place) -> pl.DataFrame:
    """Test accuracy of every method under every kind of control; prompts without one are left out."""
    has_expected = pl.col("method").is_in(_WITHOUT_EXPECTED).not_()
    scores = method_scores(results).filter(pl.col("accuracy").is_not_null(), has_expected).with_columns(kind=_KIND)
    rows = scores.group_by(*KEYS, "kind", "step")
    prompts = rows.agg(sd=pl.col("accuracy").std(), n_prompts=pl.len(), n_examples=pl.col("n_examples").first())
    by_seed = scores.group_by(*KEYS, "kind", "step", "control").agg(pl.col("accuracy").mean())
    seeds = by_seed.group_by(*KEYS, "kind", "step").agg(
        pl.col("accuracy").mean(), seed_sd=pl.col("accuracy").std(), n_seeds=pl.len()
    )
    table = seeds.join(prompts, on=[*KEYS, "kind", "step"]).collect(engine="streaming")
    half_width = _quantile(table["n_seeds"]) * pl.col("seed_sd") / pl.col("n_seeds").sqrt()
    low, high = pl.col("accuracy") - half_width, pl.col("accuracy") + half_width
    return table.with_columns(low=low, high=high).rename({"kind": "control"})


def _quantile(n_seeds: pl.Series) -> pl.Series:
    """Student's t for a two-sided interval at `LEVEL`; null with one seed."""
    quantiles = {n: float(stdtrit(n - 1, (1 + LEVEL) / 2)) for n in n_seeds.unique() if n > 1}
    return pl.Series([quantiles.get(n) for n in n_seeds], dtype=pl.Float64)


def _compared(means: pl.DataFrame, trained: pl.DataFrame) -> pl.DataFrame:
    """The controls, each with the step of the trained model that it is compared with."""
    last = trained.group_by(*KEYS).agg(last_step=pl.col("trained_step").max())
    trained_steps = trained.select(*KEYS, step="trained_step", has_step=pl.lit(True))
    untrained = means.filter((pl.col("control") != NONE) | (pl.col("step") == 0))
    table = untrained.join(last, on=KEYS, how="left").join(trained_steps, on=[*KEYS, "step"], how="left")
    same_step = pl.col("has_step").fill_null(False) & (pl.col("control") == "shuffled_labels")
    table = table.with_columns(trained_step=pl.when(same_step).then("step").otherwise("last_step"))
    table = table.filter((pl.col("control") != NONE) | (pl.col("trained_step") > 0))
    return table.with_columns(pl.col("control").replace(NONE, STEP_ZERO)).drop("last_step", "has_step")


def _expected_extremes(results: Place) -> pl.DataFrame:
    """Expected T1 and B1, means over seeds and prompts, where test labels are permuted."""
    rows = [
        row
        for form in ("", CENTRED)
        for answers in _control_answers(results, centred=bool(form))
        for row in _permuted_means(answers, form)
    ]
    table = pl.DataFrame(rows, {**GROUP_SCHEMA, "step": pl.Int64, "method": pl.String, "expected": pl.Float64})
    kinds = table.with_columns(control=_KIND.replace(NONE, STEP_ZERO))
    return kinds.group_by(*_SETTING, "method").agg(pl.col("expected").mean())


def _control_answers(results: Place, *, centred: bool) -> Iterator[StepAnswers]:
    """The answers under controls, and without a control at step 0."""
    for group in groups(results):
        if centred and not has_centred_answers(results, group):
            continue
        for answers in read_answers(results, group, centred=centred):
            if group.control == NONE and answers.step > 0:
                break
            yield answers


def _permuted_means(answers: StepAnswers, form: str) -> list[dict[str, object]]:
    means = np.mean([(best.mean(), worst.mean()) for best, worst in permuted_extremes(answers)], 0).tolist()
    keys = {**answers.group.keys, "step": answers.step}
    return [{**keys, "method": form + m, "expected": v} for m, v in zip(_EXTREMES, means, strict=True)]
