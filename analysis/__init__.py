"""Polars over the result tables: one file per question, one line each in `ANALYSES`."""

from pkgutil import resolve_name

import polars as pl
from polars import selectors

from analysis.reading.loading import load, with_flags
from dynamics.errors import PlanError, unknown
from dynamics.results.places import Place, place

__all__ = ["ANALYSES", "load", "run", "settled"]

ANALYSES = {
    "churn": "analysis.churn:churn",
    "component_heatmap": "analysis.component_heatmap:component_heatmap",
    "component_kinds": "analysis.component_kinds:component_kinds",
    "component_kinds_by_prompt": "analysis.component_kinds:component_kinds_by_prompt",
    "component_onsets": "analysis.component_onsets:component_onsets",
    "component_sensitivity": "analysis.sensitivity:component_sensitivity",
    "consistency": "analysis.consistency:consistency",
    "contrast": "analysis.contrast:contrast",
    "controls": "analysis.controls:controls",
    "diamond": "analysis.diamond:diamond",
    "emergence": "analysis.emergence:emergence",
    "false_emergence": "analysis.false_emergence:false_emergence",
    "leads": "analysis.leads:leads",
    "onsets": "analysis.onsets:onsets",
    "paper_dynamics": "analysis.paper_dynamics:paper_dynamics",
    "paper_tables": "analysis.paper_tables:paper_tables",
    "precision": "analysis.precision:precision",
    "provenance": "analysis.provenance:provenance",
    "reweighting_gain": "analysis.reweighting_gain:reweighting_gain",
    "scaling": "analysis.scaling:scaling",
    "seed_matching": "analysis.seed_matching:seed_matching",
    "seed_spread": "analysis.seed_spread:seed_spread",
    "sensitivity": "analysis.sensitivity:sensitivity",
    "survival": "analysis.survival:survival",
    "transfer": "analysis.transfer:transfer",
    "transfer_weights": "analysis.transfer_weights:transfer_weights",
    "weights": "analysis.weights:weights",
}


def run(name: str, results: Place | str) -> pl.DataFrame:
    """The tidy table of one analysis, with the flagged steps of each row's model in the column `flagged`.

    Raises:
        PlanError: no such analysis; the message lists what there is.
        StoreError: the folder holds no results.
    """
    if name not in ANALYSES:
        raise PlanError(unknown("analysis", name, ANALYSES))
    return settled(with_flags(resolve_name(ANALYSES[name])(place(results)), results))


def settled(table: pl.DataFrame, digits: int = 12) -> pl.DataFrame:
    """The table with floats to so many significant digits, and 0 for what is too small for them.

    Streamed sums add in whatever order rows arrive, so their last digits differ from run to run; tables and what is
    drawn from them must not. The fewer digits, the rarer a value whose rounding turns on that. Probabilities (`p_...`)
    are no such sums and may be small: they stay.
    """
    floats = selectors.float() - selectors.starts_with("p_")
    rounded = floats.round_sig_figs(digits)
    return table.with_columns(pl.when(floats.abs() < 10.0 ** (-digits - 3)).then(0.0).otherwise(rounded).name.keep())
