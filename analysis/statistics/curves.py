"""The curves of one group over training, with everything their uncertainty is read from.

Every curve is an accuracy per (step, prompt): of the full model, of a component chosen in some way
(`analysis.statistics.choosing`), or of what a few labels buy (`analysis.statistics.fitted`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.reading.answers import Asked, StepAnswers, answers, asked, groups, readable_again
from analysis.statistics import choosing
from analysis.statistics.fitted import Fitted, fitted
from analysis.statistics.onset import band, log2_steps, onset_of
from analysis.statistics.resampling import Drawn, drawn
from analysis.statistics.tally import (
    SWAPPED,
    Design,
    Tally,
    design_of,
    mean_by_seed,
    mean_over_prompts,
    seeds_draw_words,
    tally_choices,
    tally_traced,
)
from dynamics.errors import StoreError
from dynamics.results.places import Place

Read = Callable[[Sequence[int]], Iterable[StepAnswers]]
LEVEL = 0.01
"""Probability that a curve of permuted labels exceeds its band at any step."""


@dataclass(frozen=True)
class Curve:
    """One curve of one group.

    Attributes:
        name, variant, n_labelled: what it is; variant and n_labelled of a fit, else empty and 0.
        values: (step, prompt) accuracies; NaN for a prompt that has none.
        null: (step, prompt, permutation), the same with permuted labels; None where the answers are not stored.
        shuffled: (step, permutation), mean over prompts of further permutations, as curves to be tested.
        swapped: (step, replicate), mean over prompts with label words swapped; None where seeds share their words.
        by_seed: (step, seed), means over the prompts of each seed; NaN for a seed that has none.
        moves: (step, seed, replicate), the same with examples drawn again; None where the answers are not stored.
    """

    name: str
    variant: str
    n_labelled: int
    values: np.ndarray
    null: np.ndarray | None = None
    shuffled: np.ndarray | None = None
    swapped: np.ndarray | None = None
    by_seed: np.ndarray | None = None
    moves: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """(step,) mean over the prompts that have a value."""
        return mean_over_prompts(self.values.T)

    @property
    def mean_null(self) -> np.ndarray | None:
        """(step, permutation), the null of the mean."""
        return None if self.null is None else mean_over_prompts(self.null.transpose(1, 0, 2))

    @property
    def drawn(self) -> Drawn:
        """The mean with examples and seeds drawn again.

        Raises:
            ValueError: the answers are not stored; ask for `moves` first.
        """
        if self.by_seed is None or self.moves is None:
            raise ValueError(f"{self.name} has accuracies only; `python -m jobs.derive` stores its answers")
        return drawn(self.mean, self.by_seed, self.moves)


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
    design = read_design(results, common)
    curves = curves_of(readable_again(results, common), common, design)
    fits = tuple(_fit_curve(fit, common, design) for fit in fitted(results, common, design.n_labels))
    return replace(curves, curves=curves.curves + fits)


def read_design(results: Place, common: Asked) -> Design:
    """The design of a group, from its first step."""
    at = next(answers(results, common.group, common, common.steps[:1]))
    return design_of(at, seeds_draw_words=seeds_draw_words(results, common.group))


def curves_of(read: Read, common: Asked, design: Design) -> GroupCurves:
    """The curves of Full and of chosen components; one that no prompt has (one seed, no onset) is left out.

    Args:
        read: steps -> their answers in that order, for the prompts and examples of `common`.
    """
    tally = tally_choices(read(common.steps[::-1]), design)
    tally_traced(read(common.steps), design, tally, _first_above(tally, common))
    curves = [_curve(name, tally, common, design) for name in sorted(tally.observed)]
    return GroupCurves(
        asked=common,
        tokens_seen=tuple(tally.tokens_seen[step] for step in common.steps),
        design=design,
        curves=tuple(curve for curve in curves if not np.isnan(curve.values).all()),
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
        shuffled=stacked(tally.shuffled[name]),
        swapped=stacked(tally.swapped[name]) if SWAPPED in design.replicates else None,
        by_seed=mean_by_seed(values.T, design.seed_of).T,
        moves=stacked(tally.moves[name]),
    )


def _fit_curve(fit: Fitted, common: Asked, design: Design) -> Curve:
    """A fit's curve; its weights stay as they were fitted, only the test rows are relabelled or drawn again."""
    if fit.earned is None:
        return Curve(fit.name, fit.variant, fit.n_labelled, fit.accuracy)
    tally = Tally()
    none = np.isnan(fit.accuracy[0])
    for step, (rows, unit) in zip(common.steps, fit.earned, strict=True):
        for kind, ways in design.replicates.items():
            accuracy = ways.alone(rows) / (len(design.gold) * unit)
            tally.add(kind, fit.name, step, np.where(none[:, None], np.nan, accuracy), design.seed_of)
    return replace(_curve(fit.name, tally, common, design), variant=fit.variant, n_labelled=fit.n_labelled)
