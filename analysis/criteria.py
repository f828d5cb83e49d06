"""What it takes to have emerged: margins above a level, for the mean curve, its replicates and single prompts.

- `null`: above the band that permuted curves exceed at any step with probability 1 %.
- `half`: above half way from chance to the curve's own last value (t50); counts only where the last value is above the
  `null` band, since half way to chance is not an onset.
- `step0`: above the curve's own value at step 0, by more than the lower end of the 98 % interval of the difference (a
  1 % level at each step): untrained directions already tell words apart, which permuted labels do not show.
- `swapped`: above the band of curves with each seed's label words swapped, where seeds draw their words.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.curves import LEVEL, Curve, GroupCurves
from analysis.onset import band, interval

NULL, HALF, STEP0, SWAPPED = "null", "half", "step0", "swapped"


@dataclass(frozen=True)
class Margins:
    """How far a curve is above a level.

    Attributes:
        criterion: which.
        level: (step,) what the mean is compared with.
        mean: (step,).
        resampled: (step, replicate).
        prompts: (step, prompt), each prompt against its own level; None where the criterion has none for one prompt.
    """

    criterion: str
    level: np.ndarray
    mean: np.ndarray
    resampled: np.ndarray
    prompts: np.ndarray | None


def all_margins(curves: GroupCurves, curve: Curve) -> Iterator[Margins]:
    """Every criterion that the curve can be held against; none where its answers are not stored."""
    if curve.null is None or curve.resampled is None or curve.mean_null is None:
        return
    top, tops = band(curve.mean_null, LEVEL), band(curve.null, LEVEL)
    mean, chance = curve.mean, 1 / curves.design.n_labels
    yield Margins(NULL, top, mean - top, curve.resampled - top[:, None], curve.values - tops)
    level = (mean[-1] + chance) / 2
    yield Margins(
        HALF,
        np.full(len(mean), level),
        above_half(mean, chance, top[-1]),
        above_half(curve.resampled, chance, top[-1]),
        above_half(curve.values, chance, tops[-1]),
    )
    if curves.asked.steps[0] == 0:
        gain, gains = mean - mean[0], curve.resampled - curve.resampled[0]
        low, _ = interval(gains, 1 - 2 * LEVEL)
        yield Margins(STEP0, mean - low, low, gains - (gain - low)[:, None], None)
    if curve.swapped is not None:
        top = band(curve.swapped, LEVEL)
        yield Margins(SWAPPED, top, mean - top, curve.resampled - top[:, None], None)


def above_half(values: np.ndarray, chance: float, top: np.ndarray | float) -> np.ndarray:
    """Margins (step, ...) above half way from chance to the last value; never above where that is not above `top`."""
    margins = values - (values[-1] + chance) / 2
    margins[-1] = np.where(values[-1] > top, margins[-1], -1)
    return margins
