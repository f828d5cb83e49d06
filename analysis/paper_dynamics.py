"""Does a run of Pythia-6.9B on AGNews reproduce the paper's training dynamics? (Paper: its training-dynamics figure.)

The published means (`paper_dynamics.csv`, 7 of 32 checkpoints) are set beside the run's emergence curves. A difference
is also given in SDs over prompts: the paper's, where it published one and it is not zero, otherwise the run's own.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from analysis.curve_tables import curve_table
from analysis.reading.groups import GROUP, GROUP_SCHEMA, Group, groups
from dynamics.results.places import Place

MODEL, TASK, N_SHOTS = "EleutherAI/pythia-6.9b", "agnews", 4
CURVES = ("T1", "Last-T1", "Full", "B1")
_RUN = {"step": pl.Int64, "curve": pl.String, "mean": pl.Float64, "sd": pl.Float64, "n_prompts": pl.Int64}


def paper_dynamics(results: Place) -> pl.DataFrame:
    """The paper's curves and the run's, and their differences.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, curve), steps of both: published, published_sd (of
        Full), mean, sd, n_prompts (null where the run has no such step), difference = mean - published, in_sds =
        difference / SD, and sd_of, whose SD that is: `paper`, `run`, or null where neither is above zero. A copy of the
        model under another owner's or a local name that ends in `pythia-6.9b` counts. Without such a run, the published
        rows alone, with dtype null.
    """
    runs = [group for group in groups(results) if _reproduces_the_paper(group)]
    if not runs:
        keys = {"model": MODEL, "dtype": None, "control": "none", "task": TASK, "n_shots": N_SHOTS}
        return _beside_published(pl.DataFrame(schema=_RUN), keys)
    curves = curve_table("emergence", results).filter(pl.col("curve").is_in(CURVES), ~pl.col("centred"))
    return pl.concat(_beside_published(curves.filter(run.matches).select(*_RUN), run.keys) for run in runs)


def published() -> pl.DataFrame:
    """The paper's numbers: step, curve, published, published_sd."""
    wide = pl.read_csv(Path(__file__).with_suffix(".csv"), comment_prefix="#")
    long = wide.unpivot(CURVES, index=["step", "full_sd"], variable_name="curve", value_name="published")
    return long.select("step", "curve", "published", published_sd=pl.when(pl.col("curve") == "Full").then("full_sd"))


def _reproduces_the_paper(group: Group) -> bool:
    same_model = group.model.rsplit("/", 1)[-1] == MODEL.rsplit("/", 1)[-1]
    return same_model and (group.control, group.task, group.n_shots) == ("none", TASK, N_SHOTS)


def _beside_published(run: pl.DataFrame, keys: Mapping[str, object]) -> pl.DataFrame:
    both = published().join(run, on=["step", "curve"], how="full", coalesce=True)
    has_paper_sd, has_run_sd = pl.col("published_sd") > 0, pl.col("sd") > 0
    comparable = pl.col("mean").is_not_null() & pl.col("published").is_not_null()
    sd_of = pl.when(comparable & has_paper_sd).then(pl.lit("paper")).when(comparable & has_run_sd).then(pl.lit("run"))
    sd = pl.when(has_paper_sd).then("published_sd").when(has_run_sd).then("sd")
    table = both.with_columns(
        *[pl.lit(value, GROUP_SCHEMA[name]).alias(name) for name, value in keys.items()],
        difference=pl.col("mean") - pl.col("published"),
    )
    table = table.with_columns(in_sds=pl.col("difference") / sd, sd_of=sd_of)
    columns = ["published", "published_sd", "mean", "sd", "n_prompts", "difference", "in_sds", "sd_of"]
    return table.select(*GROUP, "step", "curve", *columns).sort("curve", "step")
