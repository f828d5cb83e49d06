"""Polars over the result tables: one file per question, one line each in `ANALYSES`."""

from pathlib import Path
from pkgutil import resolve_name

import polars as pl

from dynamics.errors import PlanError, unknown
from dynamics.store import open_store, scan

ANALYSES = {
    "churn": "analysis.churn:churn",
    "component_heatmap": "analysis.component_heatmap:component_heatmap",
    "component_kinds": "analysis.component_kinds:component_kinds",
    "component_kinds_by_prompt": "analysis.component_kinds:component_kinds_by_prompt",
    "component_sensitivity": "analysis.sensitivity:component_sensitivity",
    "consistency": "analysis.consistency:consistency",
    "contrast": "analysis.contrast:contrast",
    "controls": "analysis.controls:controls",
    "diamond": "analysis.diamond:diamond",
    "emergence": "analysis.emergence:emergence",
    "paper_tables": "analysis.paper_tables:paper_tables",
    "reweighting_gain": "analysis.reweighting_gain:reweighting_gain",
    "sensitivity": "analysis.sensitivity:sensitivity",
    "survival": "analysis.survival:survival",
    "transfer": "analysis.transfer:transfer",
    "weights": "analysis.weights:weights",
}


def load(results: Path | str, table: str) -> pl.LazyFrame:
    """A result table, lazily: the rows of all finished units, one row each.

    Args:
        results: folder that a sweep wrote.
        table: `contributions`, `predictions`, `component_scores`, `prompt_scores`, `units`.

    Raises:
        StoreError: the folder holds no results, or there is no such table.
    """
    return scan(open_store(Path(results)), table)


def run(name: str, results: Path | str) -> pl.DataFrame:
    """The tidy table of one analysis.

    Raises:
        PlanError: no such analysis; the message lists what there is.
        StoreError: the folder holds no results.
    """
    if name not in ANALYSES:
        raise PlanError(unknown("analysis", name, ANALYSES))
    return resolve_name(ANALYSES[name])(Path(results))
