"""Polars over the result tables: one file per question, one line each in `ANALYSES`.

The tables that are computed from curves have their line in `analysis.curve_tables`.
"""

from collections.abc import Callable

import polars as pl
from polars import selectors

from analysis import (
    anchors,
    bad_component_overlap,
    bad_components,
    by_tokens,
    churn,
    component_curves,
    component_heatmap,
    component_kinds,
    component_onsets,
    consistency,
    contrast,
    controls,
    curve_tables,
    demonstration_sensitivity,
    diamond,
    direct_total,
    explain,
    label_bias,
    mechanism_before_component,
    mechanisms,
    metric_onsets,
    paper_dynamics,
    paper_tables,
    precision,
    provenance,
    refit_null,
    reweighting_gain,
    scaling,
    seed_matching,
    seed_onsets,
    seed_spread,
    sensitivity,
    survival,
    transfer,
    transfer_weights,
    weights,
)
from analysis.cache.tables import kept_table
from analysis.reading.result_tables import load, with_flags
from analysis.reading.snapshots import snapshot
from dynamics.errors import PlanError, unknown
from dynamics.results.places import Place

__all__ = ["ANALYSES", "load", "rounded", "run"]

ANALYSES: dict[str, Callable[[Place], pl.DataFrame]] = {
    **curve_tables.CURVE_ANALYSES,
    "ablations": direct_total.ablations,
    "anchors": anchors.anchors,
    "bad_component_overlap": bad_component_overlap.bad_component_overlap,
    "bad_component_shares": bad_components.bad_component_shares,
    "bad_components": bad_components.bad_components,
    "bad_components_by_prompt": bad_components.bad_components_by_prompt,
    "by_tokens": by_tokens.by_tokens,
    "churn": churn.churn,
    "component_curves": component_curves.component_curves,
    "component_heatmap": component_heatmap.component_heatmap,
    "component_kinds": component_kinds.component_kinds,
    "component_kinds_by_prompt": component_kinds.component_kinds_by_prompt,
    "component_onsets": component_onsets.component_onsets,
    "component_sensitivity": sensitivity.component_sensitivity,
    "consistency": consistency.consistency,
    "contrast": contrast.contrast,
    "controls": controls.controls,
    "demonstration_sensitivity": demonstration_sensitivity.demonstration_sensitivity,
    "diamond": diamond.diamond,
    "direct_total": direct_total.direct_total,
    "explain": explain.explain,
    "label_bias": label_bias.label_bias,
    "label_bias_by_component": label_bias.label_bias_by_component,
    "mechanism_before_component": mechanism_before_component.mechanism_before_component,
    "mechanism_onsets": mechanisms.mechanism_onsets,
    "mechanisms": mechanisms.mechanisms,
    "metric_onsets": metric_onsets.metric_onsets,
    "paper_dynamics": paper_dynamics.paper_dynamics,
    "paper_tables": paper_tables.paper_tables,
    "precision": precision.precision,
    "provenance": provenance.provenance,
    "refit_null": refit_null.refit_null,
    "reweighting_gain": reweighting_gain.reweighting_gain,
    "scaling": scaling.scaling,
    "seed_matching": seed_matching.seed_matching,
    "seed_onsets": seed_onsets.seed_onsets,
    "seed_spread": seed_spread.seed_spread,
    "sensitivity": sensitivity.sensitivity,
    "survival": survival.survival,
    "transfer": transfer.transfer,
    "transfer_weights": transfer_weights.transfer_weights,
    "weights": weights.weights,
}


def run(name: str, results: Place | str, *, fresh: bool = False) -> pl.DataFrame:
    """The tidy table of one analysis, with the flagged steps of each row's model in the column `flagged`.

    A table is kept (`analysis.cache`), and computed again where what it reads, the code or a library has changed.

    Args:
        name: one of `ANALYSES`.
        results: folder that a sweep wrote, or its `s3://` or `gs://` URI.
        fresh: compute it anew, whatever is kept.

    Raises:
        PlanError: no such analysis; the message lists what there is.
        StoreError: the folder holds no results.
    """
    if name not in ANALYSES:
        raise PlanError(unknown("analysis", name, ANALYSES))
    with snapshot(results, fresh=fresh):
        return kept_table(name, results, lambda root: {name: rounded(with_flags(ANALYSES[name](root), root))})


def rounded(table: pl.DataFrame, digits: int = 12) -> pl.DataFrame:
    """The table with floats rounded for reproducibility: to so many significant digits, smaller numbers to 0.

    Streamed sums add rows in the order of their arrival, so their last digits differ from run to run; tables and
    figures must not. The fewer digits, the rarer a value whose rounding depends on that. Probabilities (`p_...`) are no
    such sums and may be small: they are not rounded.
    """
    floats = selectors.float() - selectors.starts_with("p_")
    is_zero = floats.abs() < 10.0 ** (-digits - 3)
    return table.with_columns(pl.when(is_zero).then(0.0).otherwise(floats.round_sig_figs(digits)).name.keep())
