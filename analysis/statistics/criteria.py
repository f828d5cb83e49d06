"""Emergence criteria: a level for the mean curve, for its replicates and for single prompts.

- `null`: above the band that permuted curves exceed at any step with probability 1 %.
- `half`: above half way from chance to the curve's own last value (t50); valid only where the last value is above the
  `null` band, and the `swapped` one where there is one, since half way to a value that chance explains is not an onset.
  Single prompts are compared with `null` alone: one prompt's words cannot tell a sign that is known from one that is
  chosen.
- `step0`: above the curve's own value at step 0, by more than the lower end of the 98 % interval of the difference (a
  1 % level at each step): untrained directions already tell words apart, which permuted labels do not show.
- `swapped`: above the band of curves with each seed's label words swapped, where seeds draw their words.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from analysis.statistics.bootstrap import replicate
from analysis.statistics.curves import LEVEL, Curve, GroupCurves
from analysis.statistics.onset import band, interval

NULL, HALF, STEP0, SWAPPED = "null", "half", "step0", "swapped"
COVERED = (NULL, HALF, SWAPPED)
"""Criteria whose onset intervals cover as often as they claim to (docs/analyses.md)."""


@dataclass(frozen=True)
class Criterion:
    """An emergence criterion: a level that a curve is compared with.

    Attributes:
        name: which.
        level: (step,) for the mean.
        margins: curves (step, ...) -> how far each is above the level.
        prompts: (step, prompt) margins, each prompt against its own level; None where single prompts have none.
    """

    name: str
    level: np.ndarray
    margins: Callable[[np.ndarray], np.ndarray]
    prompts: np.ndarray | None = None

    def has_interval(self, curve: Curve) -> bool:
        """Whether intervals of the curve's onset by this criterion are known to cover."""
        return self.name in COVERED and curve.has_interval


def criteria(curves: GroupCurves, curve: Curve) -> Iterator[Criterion]:
    """Every criterion that the curve can be compared with."""
    top, prompt_tops = band(curve.mean_null, LEVEL), band(curve.null, LEVEL)
    mean, chance = curve.mean, curves.design.chance
    yield Criterion(NULL, top, above(top), curve.values - prompt_tops)
    half = np.full(len(mean), (mean[-1] + chance) / 2)
    of_prompts = above_half(curve.values, chance, prompt_tops[-1])
    by_chance = top[-1] if curve.swapped is None else max(top[-1], band(curve.swapped, LEVEL)[-1])
    yield Criterion(HALF, half, lambda values: above_half(values, chance, by_chance), of_prompts)
    if curves.common.steps[0] == 0:
        low, _ = interval(replicate(lambda values: values - values[:1], curve.bootstrap), 1 - 2 * LEVEL)
        required = (mean - mean[0]) - low
        yield Criterion(STEP0, mean[0] + required, lambda values: above(required)(values - values[:1]))
    if curve.swapped is not None:
        top_swapped = band(curve.swapped, LEVEL)
        yield Criterion(SWAPPED, top_swapped, above(top_swapped))


def above(level: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Margins above a level (step,)."""
    return lambda values: values - level.reshape(-1, *[1] * (values.ndim - 1))


def above_half(values: np.ndarray, chance: float, top: np.ndarray | float) -> np.ndarray:
    """Margins (step, ...) above half way from chance to the last value; never above where that is not above `top`."""
    margins = values - (values[-1] + chance) / 2
    margins[-1] = np.where(values[-1] > top, margins[-1], -1)
    return margins
