"""Means of curves over all prompts or those of one template, at all steps or at some: what is compared with levels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics.bootstrap import Bootstrap
from analysis.statistics.curves import Curve
from analysis.statistics.onset import log2_steps


@dataclass(frozen=True)
class MeanCurve:
    """One curve's mean over prompts.

    Attributes:
        steps: ascending.
        values: (step,).
        null: (step, permutation), the same with permuted labels.
        swapped: (step, replicate), the same with label words swapped; None where seeds share their words.
        bootstrap: the same with examples and seeds resampled.
        has_interval: whether its intervals are known to cover.
    """

    steps: tuple[int, ...]
    values: np.ndarray
    null: np.ndarray
    swapped: np.ndarray | None
    bootstrap: Bootstrap
    has_interval: bool

    @property
    def axis(self) -> np.ndarray:
        """(step,) in log2."""
        return log2_steps(self.steps)

    @property
    def floor(self) -> np.ndarray:
        """(step,), what is reached on average where labels have nothing to do with the answers."""
        return self.null.mean(-1)

    def at(self, some: slice) -> "MeanCurve":
        """The same at some of the steps."""
        swapped = None if self.swapped is None else self.swapped[some]
        values, null, bootstrap = self.values[some], self.null[some], self.bootstrap.at(some)
        return MeanCurve(self.steps[some], values, null, swapped, bootstrap, self.has_interval)


def mean_curve(curve: Curve, steps: Sequence[int], prompts: Sequence[int] | None = None) -> MeanCurve:
    """The mean of a curve.

    Args:
        prompts: indices of those that are averaged over; without, all.
    """
    curve = curve if prompts is None else curve.of_prompts(prompts)
    return MeanCurve(tuple(steps), curve.mean, curve.mean_null, curve.mean_swapped, curve.bootstrap, curve.has_interval)
