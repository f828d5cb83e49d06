"""Emergence criteria: a level for the mean curve, for its replicates and for single prompts.

By every criterion a curve emerges where its plateau (`analysis.statistics.plateau`) is above a level of its own.

- `null`: above the band that permuted curves exceed with probability 1 %, at any step or with their plateau.
- `half` (t50): half way from the floor to the plateau, `F_s + E / 2` at step s, where F_s is the mean of the permuted
  curves there and E the plateau of the curve less F_s. Valid only where the plateau is above the `null` band, and the
  `swapped` one where there is one, since half way to a value that chance explains is not an onset. Single prompts are
  compared with `null` alone: one prompt's words cannot tell a sign that is known from one that is chosen.
- `step0`: above the curve's own value at step 0, by more than the lower end of the 98 % interval of the difference (a
  1 % level at each step): untrained directions already tell words apart, which permuted labels do not show.
- `swapped`: above the band of curves with each seed's label words swapped, where seeds draw their words.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from analysis.statistics.bootstrap import replicate
from analysis.statistics.curves import LEVEL, Curve
from analysis.statistics.mean_curve import MeanCurve
from analysis.statistics.onset import TOLERANCE, band, interval
from analysis.statistics.plateau import plateau, with_plateau

NULL, HALF, STEP0, SWAPPED = "null", "half", "step0", "swapped"
COVERED = (NULL, HALF, SWAPPED)
"""Criteria whose onset intervals cover as often as they claim to (docs/analyses.md)."""
Margins = Callable[[np.ndarray], np.ndarray]
"""Curves (step, ...) -> how far each is above the level, the plateau's margin last: (step + 1, ...)."""


@dataclass(frozen=True)
class Criterion:
    """An emergence criterion: a level that a curve is compared with.

    Attributes:
        name: which.
        level: (step,) for the mean; NaN where it has none.
        margins: of the mean, or of its replicates.
    """

    name: str
    level: np.ndarray
    margins: Margins

    def has_interval(self, curve: MeanCurve) -> bool:
        """Whether intervals of the curve's onset by this criterion are known to cover."""
        return self.name in COVERED and curve.has_interval


def criteria(curve: MeanCurve) -> Iterator[Criterion]:
    """Every criterion that the curve can be compared with."""
    top = _band(curve.null)
    yield Criterion(NULL, top[:-1], above(top))
    yield share_of_plateau(curve, 0.5)
    if curve.steps[0] == 0:
        by_step = replicate(lambda values: values - values[:1], curve.bootstrap)
        of_plateau = replicate(lambda values: plateau(values) - values[0], curve.bootstrap)
        low, _ = interval(np.concatenate([by_step, of_plateau[None]]), 1 - 2 * LEVEL)
        required = with_plateau(curve.values) - curve.values[0] - low
        yield Criterion(STEP0, curve.values[0] + required[:-1], lambda values: above(required)(values - values[:1]))
    if curve.swapped is not None:
        top_swapped = _band(curve.swapped)
        yield Criterion(SWAPPED, top_swapped[:-1], above(top_swapped))


def share_of_plateau(curve: MeanCurve, share: float) -> Criterion:
    """`half`, or another share of the way from the floor to the plateau."""
    least = _band(curve.null)[-1]
    if curve.swapped is not None:
        least = np.maximum(least, _band(curve.swapped)[-1])
    margins = above_share(share, curve.floor, least)
    of_mean = margins(curve.values)
    level = np.where(of_mean[-1] > TOLERANCE, curve.values - of_mean[:-1], np.nan)
    return Criterion(HALF, level, margins)


def prompt_margins(curve: Curve) -> dict[str, np.ndarray]:
    """Criterion -> (step + 1, prompt), each prompt against its own level; -1 for a prompt without values."""
    top = _band(curve.null)
    margins = {NULL: above(top), HALF: above_share(0.5, curve.null.mean(-1), top[-1])}
    return {name: np.nan_to_num(above_level(curve.values), nan=-1) for name, above_level in margins.items()}


def above(level: np.ndarray) -> Margins:
    """Margins above a level (step + 1, ...), the plateau's last."""
    return lambda values: with_plateau(values) - _of_rank(level, values.ndim)


def above_share(share: float, floor: np.ndarray, least: np.ndarray) -> Margins:
    """Margins above a share of the way from the floor (step, ...) to the plateau, which itself must exceed `least`."""

    def margins(values: np.ndarray) -> np.ndarray:
        excess = values - _of_rank(floor, values.ndim)
        result = with_plateau(excess)
        result = result - share * result[-1]
        last = plateau(values)
        result[-1] = np.minimum(result[-1], last - _of_rank(least, last.ndim))
        return result

    return margins


def _of_rank(level: np.ndarray, rank: int) -> np.ndarray:
    """A level with axes of length 1 added at the end, as for replicates."""
    return level.reshape(level.shape + (1,) * (rank - level.ndim))


def _band(null: np.ndarray) -> np.ndarray:
    """The band of curves (step, ..., permutation) and of their plateau: (step + 1, ...)."""
    return band(with_plateau(null), LEVEL)
