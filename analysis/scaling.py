"""Is the lead of components over the full model longer in larger models, and at how many tokens does each emerge?

Onsets and leads of `analysis.onsets` and `analysis.leads` beside the size of the model and the tokens seen by then.
Sizes are those in the models' names (`pythia-1.4b`: 1.4e9), as their publishers count them.
"""

import re

import numpy as np
import polars as pl

from analysis.curve_tables import curve_table
from analysis.reading.groups import GROUP, GROUP_SCHEMA, Schema, groups
from analysis.statistics.component_choice import FULL
from dynamics.results.places import Place

CURVE = ["curve", "centred", "variant", "n_labelled", "criterion"]
_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)(m|b)(?![a-z0-9])", re.IGNORECASE)
SCHEMA: Schema = {
    **GROUP_SCHEMA,
    "n_parameters": pl.Int64,
    "curve": pl.String,
    "centred": pl.Boolean,
    "variant": pl.String,
    "n_labelled": pl.Int64,
    "criterion": pl.String,
    **dict.fromkeys(("lead", "lead_low", "lead_high"), pl.Float64),
    "bound": pl.String,
    "grid_limited": pl.Boolean,
    **dict.fromkeys(("onset", "onset_low", "onset_high"), pl.Float64),
    "censored": pl.String,
    "tokens_per_step": pl.Float64,
    **dict.fromkeys(("onset_tokens", "onset_tokens_low", "onset_tokens_high"), pl.Float64),
    "last_step": pl.Int64,
}


def n_parameters(model: str) -> int | None:
    """The size in a model's name: `EleutherAI/pythia-1.4b` -> 1_400_000_000; None without one."""
    match = _SIZE.search(model.rsplit("/", 1)[-1])
    return round(float(match[1]) * (10**6 if match[2].lower() == "m" else 10**9)) if match else None


def scaling(results: Place) -> pl.DataFrame:
    """Leads and onsets of every curve of every model whose name has a size.

    Returns:
        One row per (model, dtype, control, task, n_shots, curve, centred, variant, n_labelled, criterion):
        n_parameters; lead in doublings over Full in the curve's own form, raw or centred, with lead_low, lead_high,
        bound and grid_limited (null for Full itself); onset in steps with onset_low, onset_high and censored (null by
        `area`, which has no onset); tokens_per_step, and the onset in tokens (`onset_tokens`, `_low`, `_high`; null
        where the suite's tokens are not known); last_step. The columns mean what they do in `leads` and `onsets`; leads
        are those of all templates.
        Empty with fewer than two sizes.
    """
    models = sorted({group.model for group in groups(results)})
    sizes = pl.DataFrame(
        {"model": models, "n_parameters": [n_parameters(model) for model in models]},
        schema={"model": pl.String, "n_parameters": pl.Int64},
    ).drop_nulls()
    if sizes["n_parameters"].n_unique() < 2:
        return pl.DataFrame(schema=SCHEMA)
    key = [*GROUP, *CURVE]
    own_full = (pl.col("over") == FULL) & (pl.col("over_centred") == pl.col("centred"))
    leads = curve_table("leads", results).filter(own_full, template="")
    leads = leads.select(*key, "lead", "bound", "grid_limited", lead_low="low", lead_high="high")
    onsets = curve_table("onsets", results).rename({"t": "onset", "low": "onset_low", "high": "onset_high"})
    table = onsets.join(leads, on=key, how="full", coalesce=True).join(sizes, on="model")
    table = table.with_columns(last_step=pl.col("last_step").max().over(GROUP))
    seen = curve_table("emergence", results).select("model", "step", "tokens_seen").drop_nulls().unique().sort("step")
    parts = [_in_tokens(part, seen.filter(model=part["model"][0])) for part in table.partition_by("model")]
    return pl.concat(parts).select(*SCHEMA).sort("n_parameters", *key)


def _in_tokens(table: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """A model's onsets in tokens too, between its checkpoints in proportion to the step; null where none are known."""
    steps, tokens = (seen[name].cast(pl.Float64).to_numpy() for name in ("step", "tokens_seen"))
    per_step = (tokens[-1] - tokens[0]) / (steps[-1] - steps[0]) if len(steps) > 1 else None
    columns = {name: name.replace("onset", "onset_tokens") for name in ("onset", "onset_low", "onset_high")}
    return table.with_columns(
        pl.lit(per_step, pl.Float64).alias("tokens_per_step"),
        *(
            pl.Series(new, np.interp(table[name].cast(pl.Float64).to_numpy(), steps, tokens)).fill_nan(None)
            if len(steps) > 1
            else pl.lit(None, pl.Float64).alias(new)
            for name, new in columns.items()
        ),
    )
