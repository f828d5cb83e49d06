"""Coverage of the 95 % intervals over many simulated sweeps; minutes. `python -m tests.benchmarks.bench_coverage`."""

from dataclasses import replace

import numpy as np

from analysis.statistics.component_choice import CROSS_SEED, FULL, HELD_OUT, LAST, T1
from tests.coverage import coverage
from tests.learning import Design

CURVES = (FULL, HELD_OUT, T1, CROSS_SEED, LAST)
N_SWEEPS, N_REPLICATES = 500, 500
DIP = {80: (0.5, 0.0)}
"""Half of what components know is forgotten at one step of the rise."""
DECLINE = {160: (0.0, 0.05), 256: (0.0, 0.1), 512: (0.05, 0.2), 1024: (0.1, 0.3)}
"""Curves, the full model's most, fall from their peak to the end."""
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
}


def main(n_sweeps: int = N_SWEEPS, n_replicates: int = N_REPLICATES, *only: int) -> None:
    """Print a table per design; the standard error of a share is about 1 % at 500 sweeps.

    Args:
        only: positions in `DESIGNS`; without, all.
    """
    for name, design in [item for i, item in enumerate(DESIGNS.items()) if not only or i in only]:
        random = design.random_templates
        shares = coverage(replace(design), CURVES, n_sweeps, n_replicates, templates=random)
        quantities = list(dict.fromkeys(quantity for _, quantity in shares))
        print(f"{name} ({n_sweeps} sweeps, standard error {np.sqrt(0.95 * 0.05 / n_sweeps):.3f})")
        print(f"  {'':14}" + "".join(f"{quantity:>18}" for quantity in quantities))
        for curve in CURVES:
            cells = [f"{shares[curve, name]:18.3f}" if (curve, name) in shares else " " * 18 for name in quantities]
            print(f"  {curve:14}" + "".join(cells), flush=True)


if __name__ == "__main__":
    import sys

    main(*map(int, sys.argv[1:]))
