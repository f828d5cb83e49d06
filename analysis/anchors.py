"""Do heads of Pythia score here what others published? Scores of the results beside published ones.

The published numbers (`anchors.csv`) are of random tokens repeated once, 100 before the repetition where
`dynamics.mechanisms.sequences` has 50: the largest score of any head, and how many heads are above .3.
"""

from pathlib import Path

import polars as pl

from analysis.mechanisms import THRESHOLDS, mechanisms
from dynamics.results.places import Place

LARGEST, ABOVE = "largest", "heads above .3"
_KEYS = ["model", "step", "measure", "statistic"]
_SCHEMA = {
    **{"model": pl.String, "step": pl.Int64, "measure": pl.String, "statistic": pl.String},
    **{"published": pl.Float64, "source": pl.String},
}


def anchors(results: Place) -> pl.DataFrame:
    """Published scores, and those of the same model and step in the results.

    Returns:
        One row per (model, step, measure, statistic): published, source, found (null where the results lack the model,
        the step or the mechanism), difference = found - published. A copy of a model under another owner's or a local
        name counts; with several dtypes, the first by name.
    """
    scores = mechanisms(results).filter(control="none").filter(pl.col("measure").is_in(list(THRESHOLDS)))
    threshold, keys = pl.col("threshold").first(), ["dtype", "step", "measure"]
    by_head = scores.with_columns(model=pl.col("model").str.split("/").list.last())
    both = by_head.group_by("model", *keys).agg(
        pl.col("value").max().alias(LARGEST), (pl.col("value") > threshold).sum().cast(pl.Float64).alias(ABOVE)
    )
    first = both.sort("model", *keys).unique(["model", "step", "measure"], keep="first", maintain_order=True)
    found = first.unpivot([LARGEST, ABOVE], index=_KEYS[:3], variable_name="statistic", value_name="found")
    table = published().join(found, on=_KEYS, how="left")
    return table.with_columns(difference=pl.col("found") - pl.col("published")).sort(_KEYS)


def published() -> pl.DataFrame:
    """The published numbers."""
    return pl.read_csv(Path(__file__).with_suffix(".csv"), comment_prefix="#", schema=_SCHEMA)
