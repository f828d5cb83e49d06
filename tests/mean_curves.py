"""Mean curves with values that are given: their null and their replicates are normal noise of known size."""

from collections.abc import Sequence

import numpy as np

from analysis.statistics.bootstrap import Bootstrap
from analysis.statistics.mean_curve import MeanCurve

N = 400


def curve(
    steps: Sequence[int],
    values: Sequence[float] | np.ndarray,
    *,
    floor: float | np.ndarray = 0.5,
    null_sd: float = 0.02,
    sd: float = 0.0,
    has_interval: bool = True,
    seed: int = 0,
) -> MeanCurve:
    """A curve whose permuted curves are around `floor`, and whose replicates around its values, SD `sd`, one seed."""
    rng = np.random.default_rng(seed)
    values, floors = np.asarray(values, float), np.broadcast_to(floor, len(steps))
    noise = rng.normal(0, null_sd, (len(steps), N))
    by_examples = rng.normal(0, sd, (len(steps), N)) if sd else np.zeros((len(steps), N))
    bootstrap = Bootstrap(values, by_examples, by_examples[:, None], np.zeros((len(steps), N)))
    null = floors[:, None] + noise - noise.mean(1, keepdims=True)
    return MeanCurve(tuple(steps), values, null, None, bootstrap, has_interval)
