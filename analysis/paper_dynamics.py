"""Does a run of Pythia-6.9B on AGNews reproduce the paper's training dynamics? (Paper: its training-dynamics figure.)

The published means (`paper_dynamics.csv`, 7 of 32 checkpoints) stand beside the run's emergence curves. A difference is
also given in SDs over prompts: the paper's, where it published one and it is not zero, otherwise the run's own.
"""

from pathlib import Path

import polars as pl

from analysis.emergence import emergence
from analysis.reading.accuracies import of_group
from analysis.reading.answers import GROUP, groups
from dynamics.results.places import Place

MODEL, TASK, N_SHOTS = "EleutherAI/pythia-6.9b", "agnews", 4
CURVES = ("T1", "Last-T1", "Full", "B1")
_GROUP = {**dict.fromkeys(GROUP, pl.String), "n_shots": pl.Int64}
_RUN = {"step": pl.Int64, "curve": pl.String, "mean": pl.Float64, "sd": pl.Float64, "n_prompts": pl.Int64}


def paper_dynamics(results: Place) -> pl.DataFrame:
    """The paper's curves and the run's, and how far they lie apart.

    Returns:
        One row per (model, dtype, control, task, n_shots, step, curve), steps of both: published, published_sd (of
        Full), mean, sd, n_prompts (null where the run has no such step), difference = mean - published, in_sds =
        difference / SD, and sd_of, whose SD that is: `paper`, `run`, or null where neither is above zero. A copy of the
        model under another owner's or a local name that ends in `pythia-6.9b` counts. Without such a run, the published
        rows alone, with dtype null.
    """
    mine = [group for group in groups(results) if _is_the_papers(dict(zip(GROUP, group, strict=True)))]
    if not mine:
        return _beside(pl.DataFrame(schema=_RUN), (MODEL, None, "none", TASK, N_SHOTS))
    curves = emergence(results)
    return pl.concat(
        _beside(curves.filter(*of_group(group), pl.col("curve").is_in(CURVES)).select(*_RUN), group) for group in mine
    )


def published() -> pl.DataFrame:
    """The paper's numbers: step, curve, published, published_sd."""
    wide = pl.read_csv(Path(__file__).with_suffix(".csv"), comment_prefix="#")
    long = wide.unpivot(CURVES, index=["step", "full_sd"], variable_name="curve", value_name="published")
    return long.select("step", "curve", "published", published_sd=pl.when(pl.col("curve") == "Full").then("full_sd"))


def _is_the_papers(keys: dict[str, object]) -> bool:
    of_model = str(keys["model"]).rsplit("/", 1)[-1] == MODEL.rsplit("/", 1)[-1]
    return of_model and (keys["control"], keys["task"], keys["n_shots"]) == ("none", TASK, N_SHOTS)


def _beside(run: pl.DataFrame, group: tuple) -> pl.DataFrame:
    both = published().join(run, on=["step", "curve"], how="full", coalesce=True)
    of_paper, of_run = pl.col("published_sd") > 0, pl.col("sd") > 0
    compares = pl.col("mean").is_not_null() & pl.col("published").is_not_null()
    sd_of = pl.when(compares & of_paper).then(pl.lit("paper")).when(compares & of_run).then(pl.lit("run"))
    sd = pl.when(of_paper).then("published_sd").when(of_run).then("sd")
    keys = [pl.lit(value, _GROUP[name]).alias(name) for name, value in zip(GROUP, group, strict=True)]
    table = both.with_columns(*keys, difference=pl.col("mean") - pl.col("published"))
    compared = table.with_columns(in_sds=pl.col("difference") / sd, sd_of=sd_of)
    columns = ["published", "published_sd", "mean", "sd", "n_prompts", "difference", "in_sds", "sd_of"]
    return compared.select(*GROUP, "step", "curve", *columns).sort("curve", "step")
