"""The curves of one group over training, with everything their uncertainty is computed from.

Every curve is an accuracy per (step, prompt): of the full model, of a component chosen in some way
(`analysis.statistics.component_choice`), or of a fit on a few labels (`analysis.statistics.stored_fits`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from analysis.cache.steps import Arrays, StepWork, read_step, step_files
from analysis.reading.answers import (
    AnswerReader,
    CommonPrompts,
    all_common_prompts,
    has_centred_answers,
    read_answers,
    split_prompt,
)
from analysis.reading.groups import GROUP_SCHEMA, Group, Schema
from analysis.reading.task_facts import seeds_draw_words
from analysis.statistics.bootstrap import Bootstrap, bootstrap
from analysis.statistics.component_choice import NO_INTERVAL, SELECTED_ON, T1
from analysis.statistics.curve_accuracies import (
    SWAPPED,
    CurveAccuracies,
    Design,
    DesignFacts,
    by_replicates,
    design_facts,
    make_design,
    mean_by_seed,
    mean_over_prompts,
    score_step,
    trace,
)
from analysis.statistics.onset import band, isotonic_onset, log2_steps
from analysis.statistics.plateau import with_plateau
from analysis.statistics.stored_fits import StoredFit, stored_fits
from dynamics.results.places import Place

CURVE_SCHEMA: Schema = {
    **GROUP_SCHEMA,
    "curve": pl.String,
    "centred": pl.Boolean,
    "variant": pl.String,
    "n_labelled": pl.Int64,
}
"""Columns that identify a curve."""
CURVE = [name for name in CURVE_SCHEMA if name not in GROUP_SCHEMA]
RAW, CENTRED = "raw", "centred"
"""Forms of a group's answers: as they are, and less each label's mean logit over the test rows."""
POOLED = ""
"""In place of a template: all prompts."""
LEVEL = 0.01
"""Probability that a curve of permuted labels exceeds its band at any step."""


@dataclass(frozen=True)
class Curve:
    """One curve of one group.

    Attributes:
        name, variant, n_labelled: which; variant and n_labelled of a fit, else empty and 0.
        centred: whether each label's mean logit over the test rows is taken off before the answer.
        values: (step, prompt) accuracies; NaN for a prompt that has none.
        null: (step, prompt, permutation), the same with permuted labels.
        shuffled: (step, permutation), mean over prompts of further permutations, as curves to be tested.
        swapped: (step, prompt, replicate), with label words swapped; None where seeds share their words.
        resampled: (step, prompt, replicate), with examples resampled.
        seed_of: (prompt,) index of the demonstration seed.
    """

    name: str
    centred: bool
    variant: str
    n_labelled: int
    values: np.ndarray
    null: np.ndarray
    shuffled: np.ndarray
    swapped: np.ndarray | None
    resampled: np.ndarray
    seed_of: np.ndarray

    @property
    def keys(self) -> dict[str, object]:
        """The curve's columns of a row."""
        own = (self.name, self.centred, self.variant, self.n_labelled)
        return dict(zip(CURVE, own, strict=True))

    @property
    def selected_on(self) -> str | None:
        """The rows its component was chosen, or its weights were fitted, on."""
        return SELECTED_ON[self.name]

    @property
    def has_interval(self) -> bool:
        """Whether its intervals are known to cover."""
        return self.name not in NO_INTERVAL

    @property
    def mean(self) -> np.ndarray:
        """(step,) mean over the prompts that have a value."""
        return mean_over_prompts(self.values.T)

    @property
    def mean_null(self) -> np.ndarray:
        """(step, permutation), the null of the mean."""
        return mean_over_prompts(self.null.transpose(1, 0, 2))

    @property
    def mean_swapped(self) -> np.ndarray | None:
        """(step, replicate), the mean with label words swapped."""
        return None if self.swapped is None else mean_over_prompts(self.swapped.transpose(1, 0, 2))

    @property
    def bootstrap(self) -> Bootstrap:
        """The mean with examples and seeds resampled."""
        by_seed = mean_by_seed(self.values.T, self.seed_of).T
        resampled = mean_by_seed(self.resampled.transpose(1, 0, 2), self.seed_of).transpose(1, 0, 2)
        return bootstrap(self.mean, by_seed, resampled)

    def of_prompts(self, prompts: Sequence[int]) -> "Curve":
        """The same of some prompts, itself of all; `shuffled`, kept as a mean over all of them, is empty of some."""
        index = list(prompts)
        if index == list(range(len(self.seed_of))):
            return self
        return replace(
            self,
            values=self.values[:, index],
            null=self.null[:, index],
            shuffled=self.shuffled[:, :0],
            swapped=None if self.swapped is None else self.swapped[:, index],
            resampled=self.resampled[:, index],
            seed_of=np.unique(self.seed_of[index], return_inverse=True)[1],
        )


@dataclass(frozen=True)
class GroupCurves:
    """All curves of one group.

    Attributes:
        common: steps, prompts and examples.
        tokens_seen: (step,).
        design: halves, seeds and replicates.
        curves: the curves.
    """

    common: CommonPrompts
    tokens_seen: tuple[int | None, ...]
    design: Design
    curves: tuple[Curve, ...]

    @property
    def axis(self) -> np.ndarray:
        """(step,) in log2."""
        return log2_steps(self.common.steps)

    @property
    def templates(self) -> dict[str, tuple[int, ...]]:
        """Template -> indices of its prompts; all of them first, as `POOLED`."""
        prompts = self.common.prompts
        by_name = {split_prompt(prompts[of_template[0]])[0]: of_template for of_template in self.design.templates}
        return {POOLED: tuple(range(len(prompts))), **by_name}

    def keys(self, curve: Curve) -> dict[str, object]:
        """The columns of `CURVE_SCHEMA`."""
        return {**self.common.group.keys, **curve.keys}


@dataclass(frozen=True)
class CurveSettings:
    """What decides the arrays of a step of a group, beside its files.

    Attributes:
        design: of the group.
        centred: whether the label bias is taken off the answers.
    """

    design: DesignFacts
    centred: bool


@dataclass(frozen=True)
class GroupWork:
    """A group whose steps have been scored.

    Attributes:
        results: the folder.
        common: steps, prompts and examples.
        design: of the group.
        steps: form (`raw` and, where there are centred answers, `centred`) -> every step's work and file.
    """

    results: Place
    common: CommonPrompts
    design: DesignFacts
    steps: Mapping[str, Sequence[tuple[StepWork, Path]]]


def scored_groups(results: Place, folder: Path) -> list[GroupWork]:
    """Every group that has curves, its steps scored; those that were scored before are not again.

    Args:
        results: the folder.
        folder: of what is kept of steps.

    Raises:
        StoreError: no group has curves.
    """
    groups = [(common, _design_facts(results, common)) for common in all_common_prompts(results)]
    works = [work for common, facts in groups for work in _step_works(results, common, facts)]
    files = dict(zip(works, step_files(works, folder, "steps of curves"), strict=True))
    return [_group_work(results, common, facts, files) for common, facts in groups]


def group_curves(work: GroupWork) -> GroupCurves:
    """The curves of a group over the prompts and examples that every step has."""
    design = make_design(work.design)
    by_form = {form: _read_steps(steps) for form, steps in work.steps.items()}
    curves = [curves_of_steps(read, work.common, design, centred=form == CENTRED) for form, read in by_form.items()]
    fits = stored_fits(work.results, work.common, design.n_labels)
    components = tuple(curve for of_form in curves for curve in of_form.curves)
    return replace(curves[0], curves=components + tuple(_fit_curve(fit, work.common, design) for fit in fits))


def curve_step(results: Place, group: Group, step: int, settings: CurveSettings) -> Arrays:
    """One step of a group scored: the arrays of `score_step`."""
    facts = settings.design
    common = CommonPrompts(group, (step,), facts.prompts, facts.example_id, {})
    (answers,) = read_answers(results, group, common, centred=settings.centred)
    return score_step(answers, make_design(facts))


def read_design(results: Place, common: CommonPrompts) -> Design:
    """The design of a group, from its first step."""
    return make_design(_design_facts(results, common))


def component_curves(
    read: AnswerReader, common: CommonPrompts, design: Design, *, centred: bool = False
) -> GroupCurves:
    """The curves of Full and of chosen components, from answers; arguments as in `curves_of_steps`.

    Args:
        read: reads the prompts and examples of `common`.
    """
    scored = [(answers.step, score_step(answers, design)) for answers in read(common.steps)]
    return curves_of_steps(lambda: scored, common, design, centred=centred)


def curves_of_steps(
    read: Callable[[], Iterable[tuple[int, Arrays]]], common: CommonPrompts, design: Design, *, centred: bool
) -> GroupCurves:
    """The curves of Full and of chosen components; one that no prompt has (one seed, no onset) is left out.

    Args:
        read: reads every step of `common` with the arrays of `score_step`; called twice, to hold one step at a time.
        common: steps, prompts and examples.
        design: of the group.
        centred: whether the label bias is taken off the answers.
    """
    accuracies = CurveAccuracies()
    for step, arrays in read():
        accuracies.add(step, arrays)
    trace(accuracies, read(), design, common.steps[-1], _first_above_null(accuracies, common))
    curves = [_curve(name, accuracies, common, design, centred=centred) for name in sorted(accuracies.observed)]
    return GroupCurves(
        common=common,
        tokens_seen=tuple(accuracies.tokens_seen[step] for step in common.steps),
        design=design,
        curves=tuple(curve for curve in curves if not np.isnan(curve.values).all()),
    )


def _design_facts(results: Place, common: CommonPrompts) -> DesignFacts:
    answers = next(read_answers(results, common.group, common, common.steps[:1]))
    return design_facts(answers, seeds_draw_words=seeds_draw_words(results, common.group))


def _step_works(results: Place, common: CommonPrompts, facts: DesignFacts) -> list[StepWork]:
    forms = [RAW, CENTRED] if has_centred_answers(results, common.group) else [RAW]
    by_form = {form: CurveSettings(facts, form == CENTRED) for form in forms}
    return [
        StepWork("curves", curve_step, results, common.group, step, form, settings)
        for form, settings in by_form.items()
        for step in common.steps
    ]


def _group_work(results: Place, common: CommonPrompts, facts: DesignFacts, files: Mapping[StepWork, Path]) -> GroupWork:
    steps: dict[str, list[tuple[StepWork, Path]]] = {}
    for work, file in files.items():
        if work.group == common.group:
            steps.setdefault(work.form, []).append((work, file))
    return GroupWork(results, common, facts, steps)


def _read_steps(steps: Sequence[tuple[StepWork, Path]]) -> Callable[[], Iterator[tuple[int, Arrays]]]:
    return lambda: ((work.step, read_step(work, file)) for work, file in steps)


def _first_above_null(accuracies: CurveAccuracies, common: CommonPrompts) -> np.ndarray:
    """(prompt,) the step from which on each prompt's T1 exceeds its own null; -1 where it never does.

    By the isotonic fit of its curve; the band holds for the whole curve of one prompt at `LEVEL`.
    """
    values, null = (
        np.stack([by_step[step] for step in common.steps]) for by_step in (accuracies.observed[T1], accuracies.null[T1])
    )
    margins = with_plateau(values) - band(with_plateau(null), LEVEL)
    index = isotonic_onset(log2_steps(common.steps), margins).step
    return np.where(index >= 0, np.array(common.steps)[index], -1)


def _curve(
    name: str,
    accuracies: CurveAccuracies,
    common: CommonPrompts,
    design: Design,
    *,
    centred: bool,
    variant: str = "",
    n_labelled: int = 0,
) -> Curve:
    def stacked(by_step: dict[int, np.ndarray]) -> np.ndarray:
        return np.stack([by_step[step] for step in common.steps])

    values = stacked(accuracies.observed[name])
    return Curve(
        name=name,
        centred=centred,
        variant=variant,
        n_labelled=n_labelled,
        values=values,
        null=stacked(accuracies.null[name]),
        shuffled=stacked(accuracies.shuffled[name]),
        swapped=stacked(accuracies.swapped[name]) if SWAPPED in design.replicates else None,
        resampled=stacked(accuracies.resampled[name]),
        seed_of=design.seed_of,
    )


def _fit_curve(fit: StoredFit, common: CommonPrompts, design: Design) -> Curve:
    """A fit's curve; its weights stay as they were fitted, only the test rows are relabelled or resampled."""
    accuracies = CurveAccuracies()
    for step, (credit, unit) in zip(common.steps, fit.credit, strict=True):
        for kind, replicates in design.replicates.items():
            accuracy = replicates.of_single_answers(credit) / (len(design.gold) * unit)
            accuracy = np.where(fit.has_answers[:, None], accuracy, np.nan)
            accuracies.add(step, by_replicates(kind, fit.name, accuracy))
    own = {"centred": fit.centred, "variant": fit.variant, "n_labelled": fit.n_labelled}
    return _curve(fit.name, accuracies, common, design, **own)
