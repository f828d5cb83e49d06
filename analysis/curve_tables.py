"""The analyses that are computed from curves: one pass over the answers makes all their tables.

Curves cost a matrix product per step, prompt and kind of replicates; the tables computed from them cost next to
nothing. So the tables of the last results are kept, and `python -m figures`, which asks for several, pays once.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import polars as pl

from analysis.bias_or_knowledge import BIAS_OR_KNOWLEDGE
from analysis.emergence import EMERGENCE
from analysis.false_emergence import FALSE_EMERGENCE
from analysis.grid_thinning import GRID_THINNING
from analysis.leads import LEADS
from analysis.onsets import ONSETS
from analysis.reading.result_tables import valid_rows
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import all_curves
from dynamics.results.places import Place, place

TABLES: dict[str, CurveTable] = {
    "bias_or_knowledge": BIAS_OR_KNOWLEDGE,
    "emergence": EMERGENCE,
    "false_emergence": FALSE_EMERGENCE,
    "grid_thinning": GRID_THINNING,
    "leads": LEADS,
    "onsets": ONSETS,
}


def curve_table(name: str, results: Place) -> pl.DataFrame:
    """One of `TABLES`.

    Raises:
        StoreError: no group has predictions of components at every step.
    """
    return TABLES[name].table(_all_rows(str(place(results)), _fingerprint(results))[name])


CURVE_ANALYSES: dict[str, Callable[[Place], pl.DataFrame]] = {name: partial(curve_table, name) for name in TABLES}


@lru_cache(maxsize=2)
def _all_rows(results: str, fingerprint: int) -> dict[str, list[Row]]:
    del fingerprint  # only tells the results of one folder apart from later ones
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    for curves in all_curves(place(results)):
        for name, table in TABLES.items():
            rows[name].extend(table.rows(curves))
    return rows


def _fingerprint(results: Place) -> int:
    """A hash of the valid units and scores: where it is the same, so are their predictions."""
    scores = valid_rows(results, "prompt_scores").select(
        "unit_id", "fit_id", "method", "variant", "accuracy", pl.col("predictions").is_not_null()
    )
    units = valid_rows(results, "units").select("unit_id", "forward_id", "part", "label_words")
    return hash(tuple(int(rows.collect().hash_rows().sum() or 0) for rows in (scores, units)))
