"""A group's answers as accuracies by curve and step: as they are, and in every replicate (`statistics.replicates`).

One step is held at a time. Answers are read twice: a component chosen at one step and followed through all others
is known only when that step has been read. The last step is read first, so that Last-T1 needs no second reading;
First-T1 does.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.reading.answers import StepAnswers, split_prompt
from analysis.reading.credit import credit_counts, credit_unit
from analysis.statistics.component_choice import FIRST, FULL, LAST, choose, on_the_other_half
from analysis.statistics.replicates import (
    N_REPLICATES,
    N_SHUFFLED,
    Replicates,
    halves_of,
    permuted,
    resampled,
    swapped,
)

PERMUTED, RESAMPLED, SWAPPED = "permuted", "resampled", "swapped"
_BEST = "best"
ByStep = dict[str, dict[int, np.ndarray]]
"""Curve, or kind of replicates -> step -> array."""


@dataclass(frozen=True)
class Design:
    """The design of a group, the same at all steps: halves, demonstration seeds and replicates.

    Attributes:
        gold: (example,).
        n_labels: number of label words.
        halves: indices of the examples in each half.
        templates: per template, indices of its prompts.
        seed_of: (prompt,) index of the demonstration seed.
        replicates: kind -> replicates; `SWAPPED` only where seeds draw their label words.
    """

    gold: np.ndarray
    n_labels: int
    halves: tuple[np.ndarray, np.ndarray]
    templates: tuple[tuple[int, ...], ...]
    seed_of: np.ndarray
    replicates: Mapping[str, Replicates]

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / self.n_labels

    @property
    def n_seeds(self) -> int:
        """Number of demonstration seeds."""
        return int(self.seed_of.max()) + 1

    @property
    def resampled(self) -> str:
        """What the bootstrap resamples: a single seed cannot be."""
        return "seeds and examples" if self.n_seeds > 1 else "examples"


def design_of(answers: StepAnswers, *, seeds_draw_words: bool = False, n: int = N_REPLICATES) -> Design:
    """The design of a group, from any step's answers, with n replicates of each kind.

    Args:
        seeds_draw_words: whether demonstration seeds have label words of their own.
    """
    gold, n_labels, groups = answers.gold, answers.n_labels, answers.row_groups
    halves = halves_of(gold, answers.example_id, groups)
    names, seeds = zip(*map(split_prompt, answers.prompts), strict=True)
    templates = tuple(tuple(i for i, name in enumerate(names) if name == template) for template in sorted(set(names)))
    seed_of = np.unique(seeds, return_inverse=True)[1]
    replicates: dict[str, Replicates] = {
        PERMUTED: permuted(gold, halves, n_labels, n + N_SHUFFLED, groups),
        RESAMPLED: resampled(gold, halves, n, groups),
    }
    if seeds_draw_words:
        replicates[SWAPPED] = swapped(gold, halves, n_labels, seed_of, n)
    return Design(gold, n_labels, halves, templates, seed_of, replicates)


@dataclass(frozen=True)
class CurveAccuracies:
    """Accuracies by curve and step.

    Attributes:
        observed: curve -> step -> (prompt,).
        null: curve -> step -> (prompt, permutation), those of the null.
        shuffled: curve -> step -> (permutation,), mean over prompts of `N_SHUFFLED` further ones.
        resampled: curve -> step -> (prompt, replicate), with examples resampled.
        swapped: curve -> step -> (prompt, replicate), with label words swapped.
        best: kind -> step -> (half, prompt, replicate), index of the component that is best on each half.
        tokens_seen: step -> tokens.
    """

    observed: ByStep = field(default_factory=lambda: defaultdict(dict))
    null: ByStep = field(default_factory=lambda: defaultdict(dict))
    shuffled: ByStep = field(default_factory=lambda: defaultdict(dict))
    resampled: ByStep = field(default_factory=lambda: defaultdict(dict))
    swapped: ByStep = field(default_factory=lambda: defaultdict(dict))
    best: ByStep = field(default_factory=lambda: defaultdict(dict))
    tokens_seen: dict[int, int | None] = field(default_factory=dict)

    def add(self, kind: str, curve: str, step: int, accuracy: np.ndarray) -> None:
        """Add one curve's (prompt, replicate) at one step; of permuted labels, replicate 0 is the truth."""
        if kind == PERMUTED:
            self.observed[curve][step] = accuracy[:, 0].astype(np.float64)
            self.null[curve][step] = accuracy[:, 1:-N_SHUFFLED].astype(np.float32)
            self.shuffled[curve][step] = mean_over_prompts(accuracy[:, -N_SHUFFLED:])
        else:
            by_curve = self.resampled if kind == RESAMPLED else self.swapped
            by_curve[curve][step] = accuracy.astype(np.float32)


def mean_over_prompts(values: np.ndarray) -> np.ndarray:
    """Mean of (prompt, ...) over the prompts that have a value; NaN where none has."""
    has_value = ~np.isnan(values)
    return np.where(has_value, values, 0).sum(0) / np.where(has_value.any(0), has_value.sum(0), np.nan)


def mean_by_seed(values: np.ndarray, seed_of: np.ndarray) -> np.ndarray:
    """Means over each seed's prompts that have a value: (prompt, ...) -> (seed, ...); NaN for a seed without."""
    return np.stack([mean_over_prompts(values[seed_of == seed]) for seed in range(int(seed_of.max()) + 1)])


def score_choices(last_first: Iterable[StepAnswers], design: Design) -> CurveAccuracies:
    """First reading: Full, and every component that is chosen at the step it is scored at, or at the last.

    Args:
        last_first: every step's answers, the last step first.
    """
    accuracies, last = CurveAccuracies(), None
    for answers in last_first:
        step = answers.step
        last = step if last is None else last
        accuracies.tokens_seen[step] = answers.tokens_seen
        unit = credit_unit(answers.tied, answers.full_tied)
        full = credit_counts(answers.full_labels, answers.full_tied, answers.n_labels, unit)
        for kind, replicates in design.replicates.items():
            accuracy = replicates.of_single_answers(full) / (len(design.gold) * unit)
            accuracies.add(kind, FULL, step, accuracy)
        _score_components(accuracies, answers, design, unit, last)
    return accuracies


def score_traced(
    steps: Iterable[StepAnswers], design: Design, accuracies: CurveAccuracies, first_above: np.ndarray
) -> None:
    """Second reading: First-T1, the component that is best on the other half at a prompt's own step, at all steps.

    Args:
        first_above: (prompt,) step; -1 for a prompt that has none.
    """
    for answers in steps:
        unit = answers.credit_unit
        for kind, replicates in design.replicates.items():
            best = accuracies.best[kind]
            accuracy = np.full(best[answers.step].shape[1:], np.nan)
            for i in np.flatnonzero(first_above >= 0).tolist():
                of_other_half = best[int(first_above[i])][::-1, i]
                traced = replicates.traced(i, answers.credit_counts(i, unit), of_other_half)
                accuracy[i] = np.mean([traced[h] / (len(half) * unit) for h, half in enumerate(design.halves)], 0)
            accuracies.add(kind, FIRST, answers.step, accuracy)


def _score_components(accuracies: CurveAccuracies, answers: StepAnswers, design: Design, unit: int, last: int) -> None:
    """All curves of components at one step, one template after another."""
    max_counts = [len(half) * unit for half in design.halves]
    prompt_order = np.argsort(np.concatenate(design.templates))
    by_template: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for prompts in design.templates:
        credit = [answers.credit_counts(i, unit) for i in prompts]
        gaps = None if answers.gaps is None else answers.gaps[list(prompts)]
        for kind, replicates in design.replicates.items():
            final_best = None if answers.step == last else accuracies.best[kind][last][:, list(prompts)]
            of_template = _score_template(replicates.blocks(prompts, credit), max_counts, final_best, gaps)
            for curve, values in of_template.items():
                by_template[kind, curve].append(values)
    for (kind, curve), parts in by_template.items():
        values = np.concatenate(parts, -2)[..., prompt_order, :]
        if curve == _BEST:
            accuracies.best[kind][answers.step] = values.astype(np.uint16)
        else:
            accuracies.add(kind, curve, answers.step, values)


def _score_template(
    blocks: Iterable[np.ndarray], max_counts: Sequence[int], final_best: np.ndarray | None, gaps: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Curve -> (prompt, replicate) of one template's prompts, and `_BEST`, the component that is best on each half.

    Args:
        blocks: counts, from `Replicates.blocks`.
        final_best: (half, prompt, replicate) the components of Last-T1; None at the last step, where they are chosen.
        gaps: (prompt, component), by which ties go.
    """
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    first = 0
    for counts in blocks:
        choice = choose(counts, max_counts, gaps)
        block = slice(first, first := first + counts.shape[2])
        chosen = choice.best_of_half if final_best is None else final_best[..., block]
        traced = on_the_other_half(counts, chosen, max_counts)
        for curve, values in ((_BEST, choice.best_of_half), *choice.accuracy.items(), (LAST, traced)):
            parts[curve].append(values)
    return {curve: np.concatenate(values, -1) for curve, values in parts.items()}
