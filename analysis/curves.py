"""The curves of one group over training, with everything their uncertainty is read from.

Every curve is an accuracy per (step, prompt): of the full model, of a component chosen in some way
(`analysis.choosing`), or of what a few labels buy (`analysis.fitted`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis import choosing
from analysis.answers import Asked, asked, groups
from analysis.fitted import Fitted, fitted
from analysis.onset import band, log2_steps, onset_of
from analysis.relabelling import seed_weights
from analysis.tally import (
    RESAMPLED,
    SWAPPED,
    Design,
    Tally,
    design_of,
    mean_over_prompts,
    read_choices,
    read_traced,
)
from dynamics.errors import StoreError
from dynamics.storage import Place

LEVEL = 0.01
"""Probability that a curve of permuted labels exceeds its band at any step."""


@dataclass(frozen=True)
class Curve:
    """One curve of one group.

    Attributes:
        name, variant, n_labelled: what it is; variant and n_labelled of a fit, else empty and 0.
        values: (step, prompt) accuracies; NaN for a prompt that has none.
        null: (step, prompt, permutation), the same with permuted labels; None where the answers are not stored.
        swapped: (step, replicate), mean over prompts with label words swapped; None where seeds share their words.
        resampled: (step, replicate), mean over prompts with examples and seeds drawn again, centred on the mean; None
            where the answers are not stored.
    """

    name: str
    variant: str
    n_labelled: int
    values: np.ndarray
    null: np.ndarray | None = None
    swapped: np.ndarray | None = None
    resampled: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """(step,) mean over the prompts that have a value."""
        return mean_over_prompts(self.values.T)

    @property
    def mean_null(self) -> np.ndarray | None:
        """(step, permutation), the null of the mean."""
        return None if self.null is None else mean_over_prompts(self.null.transpose(1, 0, 2))


@dataclass(frozen=True)
class GroupCurves:
    """All curves of one group.

    Attributes:
        asked: steps, prompts and examples.
        tokens_seen: (step,).
        design: halves, seeds and replicates.
        curves: the curves.
    """

    asked: Asked
    tokens_seen: tuple[int | None, ...]
    design: Design
    curves: tuple[Curve, ...]

    @property
    def axis(self) -> np.ndarray:
        """(step,) in log2."""
        return log2_steps(self.asked.steps)

    @property
    def resampled(self) -> str:
        """What is drawn again in the replicates: one seed cannot be drawn again."""
        return "seeds and examples" if self.design.seed_of.max() > 0 else "examples"


def all_curves(results: Place) -> Iterator[GroupCurves]:
    """The curves of every group that has any.

    Raises:
        StoreError: none has.
    """
    found = False
    for group in groups(results):
        common = asked(results, group)
        if common is not None:
            found = True
            yield group_curves(results, common)
    if not found:
        raise StoreError(f"{results} holds no predictions of heads and MLPs that every step has; resume the sweep")


def group_curves(results: Place, common: Asked) -> GroupCurves:
    """The curves of a group over the prompts and examples that every step has."""
    design = design_of(results, common)
    tally = read_choices(results, common, design)
    read_traced(results, common, design, tally, _first_above(tally, common))
    fits = [_fit_curve(fit, common, design) for fit in fitted(results, common, design.n_labels)]
    return GroupCurves(
        asked=common,
        tokens_seen=tuple(tally.tokens_seen[step] for step in common.steps),
        design=design,
        curves=(*(_curve(name, tally, common, design) for name in sorted(tally.observed)), *fits),
    )


def _first_above(tally: Tally, common: Asked) -> np.ndarray:
    """(prompt,) the step at which each prompt's T1 first exceeds its own null and stays above; -1 where it never does.

    The band holds for the whole curve of one prompt at `LEVEL`.
    """
    t1 = tally.observed[choosing.T1], tally.null[choosing.T1]
    values, null = (np.stack([table[step] for step in common.steps]) for table in t1)
    index = onset_of(log2_steps(common.steps), values - band(null, LEVEL)).step
    return np.where(index >= 0, np.array(common.steps)[index], -1)


def _curve(name: str, tally: Tally, common: Asked, design: Design) -> Curve:
    def stacked(by_step: dict[int, np.ndarray]) -> np.ndarray:
        return np.stack([by_step[step] for step in common.steps])

    values = stacked(tally.observed[name])
    return Curve(
        name=name,
        variant="",
        n_labelled=0,
        values=values,
        null=stacked(tally.null[name]),
        swapped=stacked(tally.means[SWAPPED][name]) if SWAPPED in design.replicates else None,
        resampled=with_seeds(values, stacked(tally.means[RESAMPLED][name]), design.seed_of),
    )


def _fit_curve(fit: Fitted, common: Asked, design: Design) -> Curve:
    """A fit's curve; its weights stay as they were fitted, only the test rows are relabelled or drawn again."""
    if fit.earned is None:
        return Curve(fit.name, fit.variant, fit.n_labelled, fit.accuracy)
    tally = Tally()
    none = np.isnan(fit.accuracy[0])
    for step, (rows, unit) in zip(common.steps, fit.earned, strict=True):
        for kind, replicates in design.replicates.items():
            accuracy = replicates.alone(rows) / (len(design.gold) * unit)
            tally.add(kind, fit.name, step, np.where(none[:, None], np.nan, accuracy))
    curve = _curve(fit.name, tally, common, design)
    return Curve(fit.name, fit.variant, fit.n_labelled, curve.values, curve.null, curve.swapped, curve.resampled)


def with_seeds(values: np.ndarray, examples: np.ndarray, seed_of: np.ndarray) -> np.ndarray:
    """Replicates of the mean over prompts in which examples and seeds are both drawn again.

        mean + (mean with examples drawn again - its average) + sum_p weight_p (value_p - mean) / P

    Adding the two keeps the noise of single answers from counting three times. Centring takes out what drawing again
    adds to the best of many: the maximum of replicates is above the maximum of the data.

    Args:
        values: (step, prompt), NaN for a prompt without values.
        examples: (step, replicate), the mean over prompts with examples drawn again.
        seed_of: (prompt,) index of the seed.
    """
    there = ~np.isnan(values[0])
    kept = values[:, there]
    mean = mean_over_prompts(values.T)[:, None]
    weights = seed_weights(np.unique(seed_of[there], return_inverse=True)[1], examples.shape[1]) if there.any() else 0
    of_seeds = (kept - mean) @ weights / kept.shape[1] if there.any() else 0
    return mean + examples - examples.mean(1, keepdims=True) + of_seeds
