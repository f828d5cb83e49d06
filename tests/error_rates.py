"""How often simulated sweeps, whose truth is known, give a finding: above bands, by discoveries, above refits."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from analysis.component_onsets import SCHEMA, Observed, component_rows, observe, with_discoveries
from analysis.refit_null import beside_null
from analysis.statistics.criteria import HALF, NULL, above, above_share
from analysis.statistics.curve_accuracies import RESAMPLED, design_of
from analysis.statistics.curves import LEVEL, component_curves
from analysis.statistics.onset import TOLERANCE, band, isotonic_onset, log2_steps
from analysis.statistics.plateau import n_plateau, with_plateau
from analysis.statistics.replicates import resampled
from dynamics.components import parse_component
from dynamics.methods.fits import Fit
from dynamics.methods.refits import refit_accuracies
from dynamics.methods.variants import VARIANTS
from dynamics.unit_arrays import UnitArrays
from tests.coverage import CENTRED, Key, differences, simulated_curves
from tests.learning import STEPS, Design, reader, simulate, simulate_both

N_LABELLED, N_TEST = 12, 80
KNOWN = np.array([1.0, 0.7, 0.4, 0.0, 0.0, 0.0])
"""What the gold label's logit is higher by, by component."""


def above_band(design: Design, curves: Sequence[str], n_sweeps: int, n_permutations: int) -> dict[str, float]:
    """Curve, raw and centred -> share of sweeps in which it is above its band at any step or with its plateau."""
    n_above: dict[str, int] = defaultdict(int)
    for seed in range(n_sweeps):
        raw, less_bias = simulate_both(design, seed)
        of_sweep = design_of(raw[STEPS[0]], n=n_permutations)
        few = resampled(of_sweep.gold, of_sweep.halves, 2, raw[STEPS[0]].row_groups)
        of_sweep = replace(of_sweep, replicates={**of_sweep.replicates, RESAMPLED: few})
        for before, answers in (("", raw), (CENTRED, less_bias)) if design.bias else (("", raw),):
            for curve in component_curves(reader(answers), design.common, of_sweep).curves:
                if curve.name in curves:
                    margins = with_plateau(curve.mean) - band(with_plateau(curve.mean_null), LEVEL)
                    n_above[before + curve.name] += bool((margins > TOLERANCE).any())
    return {name: n / n_sweeps for name, n in n_above.items()}


def differences_above_zero(design: Design, curves: Sequence[str], n_sweeps: int, n_replicates: int) -> dict[Key, float]:
    """(curve, part of `analysis.bias_or_knowledge`) -> share of sweeps whose band is above 0 at some step."""
    n_above: dict[Key, int] = defaultdict(int)
    for seed in range(n_sweeps):
        for key, values in differences(*simulated_curves(design, seed, n_replicates), curves).items():
            n_above[key] += bool((values[3] > TOLERANCE).any())
    return {key: n / n_sweeps for key, n in n_above.items()}


def component_errors(design: Design, n_sweeps: int) -> dict[str, float]:
    """Coverage of the onsets of components that learn, and the share of false ones among discoveries.

    Returns:
        `false discoveries`, the mean over sweeps of the share of discoveries that never learn; `p at most .01`, the
        share of p-values of those that never learn; and where any learn `found`, the share of them among the
        discoveries, and `onset` and a criterion, the share of their 95 % intervals that contain the truth.
    """
    learn = np.isfinite(design.learns_at)
    tables, observed = [], []
    for seed in range(n_sweeps):
        answers = simulate(design, seed)
        of_sweep = design_of(answers[STEPS[0]])
        rows = list(component_rows(reader(answers), design.common, of_sweep))
        tables.append(with_discoveries(pl.DataFrame(rows, schema=SCHEMA)).sort("head"))
        observed.append(observe((answers[step] for step in STEPS), of_sweep, n_plateau(len(STEPS))))
    of_null = [table.filter(criterion=NULL) for table in tables]
    found = np.array([table["discovery"].to_numpy() for table in of_null])
    p = np.array([table["p_null"].to_numpy() for table in of_null])
    rates = {
        "false discoveries": float((found[:, ~learn].sum(1) / np.maximum(1, found.sum(1))).mean()),
        "p at most .01": float((p[:, ~learn] <= 0.01).mean()),
    }
    if learn.any():
        rates["found"] = float(found[:, learn].mean())
        for name, onsets in _true_onsets(observed).items():
            rates[f"onset {name}"] = float(_coverage(tables, name, onsets)[learn].mean())
    return rates


def _true_onsets(observed: Sequence[Observed]) -> dict[str, np.ndarray]:
    """Criterion -> (component,) onset of the mean accuracy over sweeps, by the mean level, as a step."""
    accuracy, null, floor = (
        np.mean([getattr(one, name) for one in observed], 0) for name in ("accuracy", "null", "floor")
    )
    margins = {NULL: above(null)(accuracy), HALF: above_share(0.5, floor, null[-1])(accuracy)}
    return {name: 2 ** isotonic_onset(log2_steps(STEPS), values).log2 for name, values in margins.items()}


def _coverage(tables: Sequence[pl.DataFrame], criterion: str, onsets: np.ndarray) -> np.ndarray:
    """(component,) share of intervals that contain the onset; one that is null at an end is open there."""
    ends = np.array([table.filter(criterion=criterion).select("low", "high").fill_null(np.nan) for table in tables])
    above_low, below_high = ~(ends[..., 0] > onsets * (1 + TOLERANCE)), ~(ends[..., 1] < onsets * (1 - TOLERANCE))
    return (above_low & below_high).mean(0)


def refits_above_band(n_sweeps: int, n_shuffles: int, *, full_knows: bool, labels_say: bool) -> dict[str, float]:
    """Method -> share of sweeps in which a fit is above the band of `analysis.refit_null` at any step.

    Three demonstration seeds, four steps, 12 labelled rows, 80 test rows, six components, of which three know the
    labels, a fourth as much the other way round, so that the full model knows them only where it is `full_knows`.

    Args:
        labels_say: whether the labelled rows have their true labels; otherwise labels unrelated to anything.
    """
    fit = Fit("default", "default", VARIANTS["default"].reweighting, N_LABELLED)
    n_above: dict[str, int] = defaultdict(int)
    for sweep in range(n_sweeps):
        refits = defaultdict(lambda: defaultdict(dict))
        for demo_seed in range(3):
            rng = np.random.default_rng([sweep, demo_seed])
            for step, unit in _units(rng, demo_seed, full_knows=full_knows, labels_say=labels_say):
                for method, accuracy in refit_accuracies(unit, fit, n_shuffles).items():
                    refits[method][step]["t", demo_seed] = np.concatenate([accuracy[:1], accuracy])
        for method, by_step in refits.items():
            n_above[method] += any(row["above"] for row in beside_null(by_step, n_shuffles))
    return {method: n / n_sweeps for method, n in n_above.items()}


def _units(
    rng: np.random.Generator, demo_seed: int, *, full_knows: bool, labels_say: bool
) -> Iterator[tuple[int, UnitArrays]]:
    """(step, unit) at four steps, whose noise is half of it the same at all of them."""
    n = N_LABELLED + N_TEST
    gold = np.concatenate([rng.permuted(np.arange(k) % 2) for k in (N_LABELLED, N_TEST)])
    told = gold.copy()
    if not labels_say:
        told[:N_LABELLED] = rng.permuted(told[:N_LABELLED])
    kept, bias = rng.normal(size=(n, len(KNOWN), 2)), rng.normal(size=(len(KNOWN), 2))
    for step in (1, 2, 4, 8):
        contributions = (kept + rng.normal(size=kept.shape)) / np.sqrt(2) + bias
        contributions[np.arange(n), :, gold] += KNOWN
        if not full_knows:
            contributions[np.arange(n), 3, gold] -= KNOWN.sum()
        yield (
            step,
            UnitArrays(
                keys={"demo_seed": demo_seed},
                components=tuple(parse_component(f"L0H{i}") for i in range(len(KNOWN))),
                split=["train"] * N_LABELLED + ["test"] * N_TEST,
                example_id=[f"{i:03d}" for i in range(n)],
                gold=told,
                contributions=contributions.astype(np.float32),
                constant=np.zeros(2, np.float32),
                full=contributions.sum(1).astype(np.float32),
                n_shots_used=0,
            ),
        )
