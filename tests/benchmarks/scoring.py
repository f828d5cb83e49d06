"""Processor seconds of what follows a unit's forward passes, by Pythia's size: scores, predictions and fits."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from dynamics.components import component_grid
from dynamics.methods.fits import Fit, heldout_fits
from dynamics.methods.variants import VARIANTS
from dynamics.results.tables import fit_tables, unit_tables
from dynamics.unit_arrays import UnitArrays
from jobs.price_list import SHAPES
from tests.benchmarks.rates import HEADS
from tests.benchmarks.timing import Row

N_TEST, N_TRAIN, N_LABELS, N_UNITS = 2000, 24, 2, 15
KEYS = {
    "unit_id": "drawn", "model": "drawn", "revision": "step0", "step": 0, "tokens_seen": 0, "commit_sha": "0" * 40,
    "dtype": "float32", "control": "none", "task": "drawn", "template": "drawn", "demo_seed": 0, "n_shots": 4,
}  # fmt: skip


def scores_and_fits() -> Iterator[Row]:
    """Of one unit of 2,000 test rows and 24 training rows with two labels, fifteen of which are a part; drawn."""
    asked = [Fit(name, name, VARIANTS[name].reweighting, N_TRAIN) for name in VARIANTS]
    for size in SHAPES:
        units, on = [_drawn_unit(size, seed) for seed in range(N_UNITS)], f"{size}, {N_TEST:,} rows"
        yield Row("seconds of scores", on, _seconds(lambda units=units: [unit_tables(unit) for unit in units]))
        for fit in asked:
            fits = [fit, *heldout_fits([fit])]
            seconds = _seconds(lambda units=units, fits=fits: fit_tables(units, fits))
            yield Row(f"seconds of the fit {fit.name}", on, seconds)


def _drawn_unit(size: str, seed: int) -> UnitArrays:
    """A unit whose components know a little of the labels."""
    rng = np.random.default_rng(seed)
    components = component_grid(SHAPES[size][0], HEADS[size], attention_bias=True)
    n_rows = N_TRAIN + N_TEST
    gold = np.arange(n_rows) % N_LABELS
    signal = rng.normal(0, 0.02, (len(components), 1)) * np.eye(N_LABELS)[gold][:, None]
    contributions = (signal + rng.normal(0, 0.05, (n_rows, len(components), N_LABELS))).astype(np.float32)
    return UnitArrays(
        keys=KEYS,
        components=components,
        split=("train",) * N_TRAIN + ("test",) * N_TEST,
        example_id=tuple(map(str, range(n_rows))),
        gold=gold,
        contributions=contributions,
        constant=np.zeros(N_LABELS, np.float32),
        full=contributions.sum(1),
        n_shots_used=4,
    )


def _seconds(run: Callable[[], object]) -> float:
    """Processor seconds of one unit."""
    run()
    started = time.process_time()
    run()
    return (time.process_time() - started) / N_UNITS
