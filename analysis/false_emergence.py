"""How often does a curve emerge whose labels mean nothing? The level of onsets, checked on the results themselves.

250 further shuffles of the test labels stand for 250 curves of somebody whose labels have nothing to do with the texts;
each is held against the band of the null as the curve itself is. Beside them, what permuted labels do not imitate: the
first checkpoint (step 0: an untrained network, whose random directions may tell words apart), and in rows of their own
the controls `random_init-<seed>` and `shuffled_labels-<seed>` where the results hold them.
"""

from collections.abc import Iterator

import polars as pl
from scipy.special import bdtrc

from analysis.reading.answers import CURVE_SCHEMA, GROUP
from analysis.statistics.choosing import B1, FIRST
from analysis.statistics.curves import LEVEL, GroupCurves
from analysis.statistics.one_pass import rows_of
from analysis.statistics.onset import SAME, band, onset_of
from dynamics.results.places import Place

SCHEMA = {
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


def false_emergence(results: Place) -> pl.DataFrame:
    """Shuffled curves that emerge, of every curve but B1 and First-T1 (whose step is found with the true labels).

    Returns:
        One row per (model, dtype, control, task, n_shots, curve, variant, n_labelled): n_shuffled curves; n_emerged of
        them, above the band at the last step and so from some step on; n_ever_above, above it at any step; level, the
        nominal probability of `n_ever_above`; p, of that many or more at the level; first and last checkpoint with the
        mean accuracy of the true labels, the band, and whether it is above.
    """
    return pl.DataFrame(rows_of("false_emergence", results), schema=SCHEMA).sort(
        *GROUP, "curve", "variant", "n_labelled"
    )


def as_many_or_more(n: int, of: int, level: float) -> float:
    """Binomial probability of n or more out of `of`."""
    return float(bdtrc(n - 1, of, level))


def rows(curves: GroupCurves) -> Iterator[dict[str, object]]:
    """One group's rows."""
    for curve in curves.curves:
        if curve.name in (B1, FIRST) or curve.mean_null is None or curve.shuffled is None:
            continue
        top = band(curve.mean_null, LEVEL)
        above = curve.shuffled - top[:, None]
        emerged = int((onset_of(curves.axis, above).step >= 0).sum())
        ever = int((above > SAME).any(0).sum())
        ends = {
            name: {
                "_step": curves.asked.steps[i],
                "": curve.mean[i],
                "_band": top[i],
                "_above": curve.mean[i] > top[i] + SAME,
            }
            for name, i in (("first", 0), ("last", -1))
        }
        yield {
            **dict(zip(GROUP, curves.asked.group, strict=True)),
            "curve": curve.name,
            "variant": curve.variant,
            "n_labelled": curve.n_labelled,
            "n_shuffled": above.shape[1],
            "n_emerged": emerged,
            "n_ever_above": ever,
            "level": LEVEL,
            "p": as_many_or_more(ever, above.shape[1], LEVEL),
            **{f"{name}{key}": value for name, values in ends.items() for key, value in values.items()},
        }
