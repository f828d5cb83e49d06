"""Does the same emerge at the same number of training tokens in models of several suites?

The curves of `analysis.emergence` of the models that are asked the same, at the checkpoints whose training tokens are
known: suites have other batches, so their steps mean different things.
"""

import polars as pl

from analysis.curve_tables import curve_table
from dynamics.results.places import Place

ASKED = ["dtype", "control", "task", "n_shots"]


def by_tokens(results: Place) -> pl.DataFrame:
    """Curves of models that are asked the same, over training tokens.

    Returns:
        Rows and columns of `emergence` whose tokens_seen is known and above 0, of every (dtype, control, task, n_shots)
        that two or more models have, each curve in the order of its tokens. Empty where there is none.
    """
    curves = curve_table("emergence", results).filter(pl.col("tokens_seen") > 0)
    shared = curves.filter(pl.col("model").n_unique().over(ASKED) > 1)
    return shared.sort(*ASKED, "model", "curve", "centred", "variant", "n_labelled", "tokens_seen")
