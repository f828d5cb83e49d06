"""Coverage of the intervals of `metric_onsets`; minutes. `python -m tests.benchmarks.bench_metric_coverage`."""

import numpy as np
import polars as pl

from tests.benchmarks.bench_coverage import DESIGNS
from tests.metric_coverage import CURVE, coverage

BIASED = [name for name in DESIGNS if name.startswith("label bias wanders")]
N_SWEEPS, N_REPLICATES = 300, 200


def main(n_sweeps: int = N_SWEEPS, n_replicates: int = N_REPLICATES, *names: str) -> None:
    """Print a table per design.

    Args:
        names: of designs in `bench_coverage.DESIGNS`; without, those with a label bias.
    """
    for name in names or BIASED:
        shares = coverage(DESIGNS[name], n_sweeps, n_replicates)
        print(f"{name} ({n_sweeps} sweeps, standard error {np.sqrt(0.95 * 0.05 / n_sweeps):.3f})")
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=3):
            print(shares.sort("quantity", *CURVE), flush=True)


if __name__ == "__main__":
    import sys

    sweeps_and_replicates, names = sys.argv[1:3], sys.argv[3:]
    main(*map(int, sweeps_and_replicates), *names)
