"""How often does a curve with permuted labels emerge? The level of onsets, checked on the results themselves.

250 further shuffles of the test labels serve as 250 curves whose labels have nothing to do with the texts; each is
compared with the band of the null as the curve itself is. Beside them, what permuted labels do not imitate: the first
checkpoint (step 0: an untrained network, whose random directions may tell words apart), and in rows of their own the
controls `random_init-<seed>` and `shuffled_labels-<seed>` where the results hold them.
"""

from collections.abc import Iterator

import polars as pl
from scipy.special import bdtrc

from analysis.reading.groups import GROUP, Schema
from analysis.statistics.component_choice import B1, FIRST
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import CURVE, CURVE_SCHEMA, LEVEL, GroupCurves
from analysis.statistics.onset import TOLERANCE, band
from analysis.statistics.plateau import with_plateau

SCHEMA: Schema = {
    **CURVE_SCHEMA,
    "n_shuffled": pl.Int64,
    "n_emerged": pl.Int64,
    "n_ever_above": pl.Int64,
    "level": pl.Float64,
    "p": pl.Float64,
    "first_step": pl.Int64,
    "first": pl.Float64,
    "first_band": pl.Float64,
    "first_above": pl.Boolean,
    "last_step": pl.Int64,
    "last": pl.Float64,
    "last_band": pl.Float64,
    "last_above": pl.Boolean,
}


def rows(curves: GroupCurves) -> Iterator[Row]:
    """Shuffled curves that emerge, of every curve but B1 and First-T1 (whose step is found with the true labels).

    Yields:
        One row per (model, dtype, control, task, n_shots, curve, centred, variant, n_labelled): n_shuffled curves;
        n_emerged of them, whose plateau is above the band and that so have an onset; n_ever_above, above it with the
        plateau or at any step; level, the nominal probability of `n_ever_above`; p, of that many or more at the level;
        first and last checkpoint with the mean accuracy of the true labels, the band, and whether it is above.
    """
    for curve in curves.curves:
        if curve.name in (B1, FIRST):
            continue
        top = band(with_plateau(curve.mean_null), LEVEL)
        margins = with_plateau(curve.shuffled) - top[:, None]
        n_ever_above = int((margins > TOLERANCE).any(0).sum())
        yield {
            **curves.keys(curve),
            "n_shuffled": margins.shape[1],
            "n_emerged": int((margins[-1] > TOLERANCE).sum()),
            "n_ever_above": n_ever_above,
            "level": LEVEL,
            "p": as_many_or_more(n_ever_above, margins.shape[1], LEVEL),
            **{
                f"{end}{column}": value
                for end, i in (("first", 0), ("last", len(curves.common.steps) - 1))
                for column, value in (
                    ("_step", curves.common.steps[i]),
                    ("", curve.mean[i]),
                    ("_band", top[i]),
                    ("_above", curve.mean[i] > top[i] + TOLERANCE),
                )
            },
        }


FALSE_EMERGENCE = CurveTable(rows, SCHEMA, [*GROUP, *CURVE])


def as_many_or_more(n: int, n_trials: int, probability: float) -> float:
    """Binomial probability of n or more successes."""
    return float(bdtrc(n - 1, n_trials, probability))
