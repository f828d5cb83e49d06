"""The analyses that are computed from curves: one pass over the answers makes all their tables.

Curves cost a matrix product per step, prompt and kind of replicates; the tables computed from them cost little. So the
pass that makes one of them makes and keeps all (`analysis.cache`).
"""

from collections.abc import Callable
from functools import partial

import polars as pl

from analysis.bias_or_knowledge import BIAS_OR_KNOWLEDGE
from analysis.cache.folders import folder_for_many
from analysis.cache.parallel import mapped
from analysis.cache.tables import kept_table
from analysis.emergence import EMERGENCE
from analysis.false_emergence import FALSE_EMERGENCE
from analysis.grid_thinning import GRID_THINNING
from analysis.leads import LEADS
from analysis.onsets import ONSETS
from analysis.statistics.curve_table import CurveTable, Row
from analysis.statistics.curves import GroupWork, group_curves, scored_groups
from dynamics.results.places import Place

TABLES: dict[str, CurveTable] = {
    "bias_or_knowledge": BIAS_OR_KNOWLEDGE,
    "emergence": EMERGENCE,
    "false_emergence": FALSE_EMERGENCE,
    "grid_thinning": GRID_THINNING,
    "leads": LEADS,
    "onsets": ONSETS,
}


def curve_table(name: str, results: Place) -> pl.DataFrame:
    """One of `TABLES`, as it was computed: all digits, no column `flagged`.

    Raises:
        StoreError: no group has predictions of components at every step.
    """
    return kept_table(_unrounded(name), results, _all_tables)


CURVE_ANALYSES: dict[str, Callable[[Place], pl.DataFrame]] = {name: partial(curve_table, name) for name in TABLES}


def _all_tables(results: Place) -> dict[str, pl.DataFrame]:
    with folder_for_many(results, "steps") as folder:
        works = scored_groups(results, folder)
        by_group = list(mapped(_group_rows, works, "groups of curves", only_here=True))
    rows = {name: [row for of_group in by_group for row in of_group[name]] for name in TABLES}
    return {_unrounded(name): of_curves.table(rows[name]) for name, of_curves in TABLES.items()}


def _group_rows(work: GroupWork) -> dict[str, list[Row]]:
    """A group's rows of every table."""
    curves = group_curves(work)
    return {name: list(of_curves.rows(curves)) for name, of_curves in TABLES.items()}


def _unrounded(name: str) -> str:
    return f"{name}-unrounded"
