"""Rates of false findings over simulated sweeps; minutes. `python -m tests.benchmarks.bench_error_rates [N [NAME]]`."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from analysis.statistics.component_choice import CROSS_SEED, FULL, HELD_OUT, LAST, T1
from tests.error_rates import above_band, component_errors, differences_above_zero, refits_above_band
from tests.learning import Design

N_SWEEPS, N_PERMUTATIONS, N_REPLICATES, N_SHUFFLES = 300, 199, 200, 99
NEVER = np.inf
GUESSING = Design(learns_at=(NEVER,) * 6, full_at=NEVER, n_templates=1, n_seeds=3, n_examples=120, bias=0.8)
PERSISTENT = replace(GUESSING, persistence=0.98)
NULLS = {
    "label bias wanders": GUESSING,
    "label bias wanders, guesses persist": PERSISTENT,
    "label bias wanders, guesses persist, 4 of 5 rows have one label": replace(PERSISTENT, gold_shares=(0.8, 0.2)),
    "label bias wanders, guesses persist, groups of 4 rows are answered alike": replace(PERSISTENT, rows_alike=4),
}
ONE_KNOWS = Design(learns_at=(6.0, *[NEVER] * 3), full_at=6.0, n_templates=1, n_examples=120, bias=0.8)
CONTROLS = {
    "a component and the full model know alike, the full model has a bias": replace(ONE_KNOWS, components_biased=False),
    "the same, and so has the component": ONE_KNOWS,
    "a component knows, the full model does not": replace(ONE_KNOWS, full_at=NEVER),
}
FEW_LEARN = Design(learns_at=(6.0, 6.3, 6.6, 7.5, *[NEVER] * 20), n_templates=2, n_examples=100)
MANY = {
    "4 of 24 components learn": FEW_LEARN,
    "the same, guesses persist": replace(FEW_LEARN, persistence=0.98),
    "the same, label bias wanders": replace(FEW_LEARN, persistence=0.98, bias=0.8),
    "the same, groups of 4 rows are answered alike": replace(FEW_LEARN, persistence=0.98, bias=0.8, rows_alike=4),
    "none learns, guesses persist, label bias wanders": replace(
        FEW_LEARN, learns_at=(NEVER,) * 24, persistence=0.98, bias=0.8
    ),
}
CURVES = (FULL, HELD_OUT, T1, CROSS_SEED, LAST)


def false_emergence(n: int) -> None:
    """Share of curves that know nothing and are above their band, nominal 1 %."""
    for name, design in NULLS.items():
        _print(f"above band: {name}", n, above_band(design, CURVES, n, N_PERMUTATIONS))


def bias_or_knowledge(n: int) -> None:
    """Share of sweeps whose band of a difference is above 0 at some step, nominal 2.5 % where there is none."""
    for name, design in CONTROLS.items():
        shares = differences_above_zero(design, (HELD_OUT, T1, CROSS_SEED), n, N_REPLICATES)
        _print(f"above 0: {name}", n, {" ".join(key): share for key, share in shares.items()})


def component_onsets(n: int) -> None:
    """Coverage of onsets of components, nominal 95 %, and share of false discoveries, nominal 5 %."""
    for name, design in MANY.items():
        _print(f"components: {name}", n, component_errors(design, n))


def refit_null(n: int) -> None:
    """Share of fits above the band of refits at some step, nominal 1 % where labels say nothing."""
    for full_knows in (False, True):
        shares = refits_above_band(n, N_SHUFFLES, full_knows=full_knows, labels_say=False)
        _print(f"refits: the full model {'knows' if full_knows else 'does not know'}", n, shares)


NAMES: Mapping[str, Callable[[int], None]] = {
    function.__name__: function for function in (component_onsets, refit_null, bias_or_knowledge, false_emergence)
}


def _print(title: str, n: int, shares: Mapping[str, float]) -> None:
    print(f"{title} ({n} sweeps)")
    for name, share in shares.items():
        print(f"  {name:30} {share:.3f} (standard error {np.sqrt(share * (1 - share) / n):.3f})", flush=True)


if __name__ == "__main__":
    import sys

    for chosen in sys.argv[2:] or NAMES:
        NAMES[chosen](int(sys.argv[1]) if len(sys.argv) > 1 else N_SWEEPS)
