"""Coverage of the 95 % intervals over many simulated sweeps; minutes. `python -m tests.benchmarks.bench_coverage`."""

from dataclasses import replace

import numpy as np

from analysis.statistics.component_choice import CROSS_SEED, FIRST, FULL, HELD_OUT, LAST, T1
from tests.coverage import coverage
from tests.learning import Design

CURVES = (FULL, HELD_OUT, T1, CROSS_SEED, LAST, FIRST)
N_SWEEPS, N_REPLICATES = 300, 200
DIP = {80: (0.5, 0.0)}
"""Half of what components know is forgotten at one step of the rise."""
DECLINE = {160: (0.0, 0.05), 256: (0.0, 0.1), 512: (0.05, 0.2), 1024: (0.1, 0.3)}
"""Curves, the full model's most, fall from their peak to the end."""
BIASED = Design(n_templates=2, n_examples=120, bias=0.8)
DESIGNS = {
    "3 templates x 5 seeds, 200 examples": Design(),
    "the same, components dip at step 80": Design(forgotten=DIP),
    "the same, curves decline after step 128": Design(forgotten=DECLINE),
    "the same, random templates": Design(random_templates=True),
    "8 random templates x 5 seeds": Design(random_templates=True, n_templates=8),
    "3 templates x 15 seeds, 200 examples": Design(n_seeds=15),
    "3 templates x 3 seeds, 1,000 examples, 4 labels": Design(n_seeds=3, n_examples=1000, n_labels=4),
    "3 templates x 5 seeds, seeds hardly differ": Design(of_seed=0.05, of_prompt=0.05),
    "1 template x 5 seeds, nothing in common but seeds and examples": Design(n_templates=1, own=0.0),
    "guesses persist (.98 from step to step)": Design(persistence=0.98),
    "label bias wanders": BIASED,
    "label bias wanders, guesses persist": replace(BIASED, persistence=0.98),
    "label bias wanders, 4 of 5 rows have one label": replace(BIASED, gold_shares=(0.8, 0.2)),
    "label bias wanders, groups of 4 rows are answered alike": replace(BIASED, rows_alike=4),
}


def main(n_sweeps: int = N_SWEEPS, n_replicates: int = N_REPLICATES, *only: int) -> None:
    """Print a table per design.

    Args:
        only: positions in `DESIGNS`; without, all.
    """
    for name, design in [item for i, item in enumerate(DESIGNS.items()) if not only or i in only]:
        shares = coverage(design, CURVES, n_sweeps, n_replicates, templates=design.random_templates)
        curves, quantities = (list(dict.fromkeys(names)) for names in zip(*shares, strict=True))
        print(f"{name} ({n_sweeps} sweeps, standard error {np.sqrt(0.95 * 0.05 / n_sweeps):.3f})")
        print(f"  {'':22}" + "".join(f"{curve:>22}" for curve in curves))
        for quantity in quantities:
            known = [shares.get((curve, quantity)) for curve in curves]
            cells = [" " * 22 if share is None else f"{share:22.3f}" for share in known]
            print(f"  {quantity:22}" + "".join(cells), flush=True)


if __name__ == "__main__":
    import sys

    main(*map(int, sys.argv[1:]))
