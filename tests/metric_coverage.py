"""Coverage of the 95 % intervals of `metric_onsets`: simulated label logits, analysed by the table's own code.

The truth of a curve, by every metric, is its mean over all simulated sweeps, as is that of its null; the true t50 and
leads are those of these means. So what a table's interval leaves out, the choice of a component, counts as a miss.
Intervals are those of the table, made in the same way for curves whose t50 has none there (`NO_T50_INTERVAL`).
"""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import polars as pl

from analysis.metric_onsets import SCHEMA, rows
from analysis.statistics.component_choice import FULL
from analysis.statistics.criteria import above_share
from analysis.statistics.curve_accuracies import design_of
from analysis.statistics.lead import area_between
from analysis.statistics.metric_curves import MetricCurve, metric_curves
from analysis.statistics.onset import TOLERANCE, isotonic_onset, log2_steps
from tests.learning import STEPS, Design, simulate, simulate_logits

CURVE = ("curve", "centred", "metric")
QUANTITIES = ("t50", "lead_area", "lead_t50")


def coverage(design: Design, n_sweeps: int, n_replicates: int) -> pl.DataFrame:
    """Share of simulated sweeps whose interval in the table contains the truth.

    Returns:
        One row per (curve, centred, metric, quantity): truth, in steps or doublings; n, the sweeps that have a number;
        covered, the share of these whose interval contains the truth; null where none has one.
    """
    of_sweeps = design_of(simulate(design, 0)[STEPS[0]], n=n_replicates)
    tables = []
    means: dict[MetricCurve, list[np.ndarray]] = defaultdict(list)
    floors: dict[MetricCurve, list[np.ndarray]] = defaultdict(list)
    for seed in range(n_sweeps):
        found = metric_curves(simulate_logits(design, seed), of_sweeps)
        curves = {key: curve for key, curve in found.items() if not key.is_component}
        tables.append(pl.DataFrame(list(rows(design.common, of_sweeps, curves, no_t50_interval=())), schema=SCHEMA))
        for key, curve in curves.items():
            means[key].append(curve.values)
            floors[key].append(curve.floor)
    truth = _truth(*({key: np.mean(of, 0) for key, of in by_curve.items()} for by_curve in (means, floors)))
    return _shares(pl.concat(tables), truth)


def _truth(means: Mapping[MetricCurve, np.ndarray], floors: Mapping[MetricCurve, np.ndarray]) -> pl.DataFrame:
    axis = log2_steps(STEPS)
    t50 = {
        key: float(isotonic_onset(axis, above_share(0.5, floors[key], np.zeros(()))(mean)).log2)
        for key, mean in means.items()
    }
    found = []
    for key, mean in means.items():
        full = MetricCurve(FULL, key.centred, "", 0, key.metric)
        leads = (float(area_between(axis, mean, means[full])), t50[full] - t50[key])
        values = (2 ** t50[key], *(leads if key != full else (None, None)))
        of_curve = dict(zip(CURVE, (key.name, key.centred, key.metric), strict=True))
        found += [of_curve | {"quantity": q, "truth": v} for q, v in zip(QUANTITIES, values, strict=True)]
    return pl.DataFrame(found, schema_overrides={"truth": pl.Float64})


def _shares(table: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Ends that are null are open."""
    low, high = pl.col("low").fill_null(-np.inf) - TOLERANCE, pl.col("high").fill_null(np.inf) + TOLERANCE
    long = pl.concat(
        table.filter(pl.col(name).is_not_null()).select(
            *CURVE, quantity=pl.lit(name), low=pl.col(f"{name}_low"), high=pl.col(f"{name}_high")
        )
        for name in QUANTITIES
    )
    contains = pl.col("truth").is_between(low, high)
    shares = long.join(truth, on=[*CURVE, "quantity"]).group_by(*CURVE, "quantity").agg(
        n=pl.len(), covered=contains.mean()
    )  # fmt: skip
    known = truth.filter(pl.col("truth").is_not_null())
    return known.join(shares, on=[*CURVE, "quantity"], how="left").with_columns(pl.col("n").fill_null(0))
