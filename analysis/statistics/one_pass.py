"""Tables that are read off curves: one pass over the answers makes them all, and the last few results are kept.

Curves cost a matrix product per step, prompt and kind of replicate; the tables read off them cost next to nothing. So
`python -m figures`, which asks for several, pays once.
"""

from functools import lru_cache
from pkgutil import resolve_name

import polars as pl

from analysis.reading.loading import counted
from analysis.statistics.curves import all_curves
from dynamics.results.places import Place, place

TABLES = {
    "emergence": "analysis.emergence:rows",
    "false_emergence": "analysis.false_emergence:rows",
    "leads": "analysis.leads:rows",
    "onsets": "analysis.onsets:rows",
}
"""Table -> function of one group's curves that yields its rows."""


def rows_of(name: str, results: Place) -> list[dict[str, object]]:
    """The rows of one of `TABLES`, of every group."""
    return _all_rows(str(place(results)), _state(results))[name]


@lru_cache(maxsize=2)
def _all_rows(results: str, state: int) -> dict[str, list[dict[str, object]]]:
    del state
    found: dict[str, list[dict[str, object]]] = {name: [] for name in TABLES}
    makers = {name: resolve_name(target) for name, target in TABLES.items()}
    for curves in all_curves(place(results)):
        for name, rows in makers.items():
            found[name].extend(rows(curves))
    return found


def _state(results: Place) -> int:
    """A hash of which units and scores count: where it is the same, so are their predictions."""
    scores = counted(results, "prompt_scores").select(
        "unit_id", "fit_id", "method", "variant", "accuracy", pl.col("predictions").is_not_null()
    )
    units = counted(results, "units").select("unit_id", "forward_id", "part", "label_words")
    return hash(tuple(int(rows.collect().hash_rows().sum() or 0) for rows in (scores, units)))
