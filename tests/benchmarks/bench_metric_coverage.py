"""Coverage of the intervals of `metric_onsets`; minutes. `python -m tests.benchmarks.bench_metric_coverage`."""

from dataclasses import replace

import numpy as np
import polars as pl

from tests.benchmarks.bench_coverage import BIASED
from tests.benchmarks.bench_coverage import DESIGNS as ALL
from tests.metric_coverage import CURVE, coverage

DESIGNS = {
    **{name: design for name, design in ALL.items() if design.bias},
    "label bias wanders, 2 of 3 rows have one label": replace(BIASED, gold_shares=(2 / 3, 1 / 3)),
    "label bias wanders, Full knows first, 18 components, logits grow to 4 times their size": replace(
        BIASED, full_at=5.0, learns_at=tuple(np.linspace(6, 7.8, 10)) + (np.inf,) * 8, logits_grow=3
    ),
}
N_SWEEPS, N_REPLICATES = 300, 200


def main(n_sweeps: int = N_SWEEPS, n_replicates: int = N_REPLICATES, *only: int) -> None:
    """Print a table per design.

    Args:
        only: positions in `DESIGNS`; without, all.
    """
    for name, design in [item for i, item in enumerate(DESIGNS.items()) if not only or i in only]:
        shares = coverage(design, n_sweeps, n_replicates)
        print(f"{name} ({n_sweeps} sweeps, standard error {np.sqrt(0.95 * 0.05 / n_sweeps):.3f})")
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=3):
            print(shares.sort("quantity", *CURVE), flush=True)


if __name__ == "__main__":
    import sys

    main(*map(int, sys.argv[1:]))
