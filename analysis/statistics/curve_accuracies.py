"""A group's answers as accuracies by curve and step: as they are, and in every replicate (`statistics.replicates`).

Most of it needs one step's answers only (`score_step`), and is kept from run to run (`analysis.cache.steps`). A
component that is chosen at one step and followed through all others is known only when that step has been scored: for
these curves the answers are kept as bits (`statistics.answer_bits`), which take a bit per answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from analysis.reading.answers import RowGroups, StepAnswers, split_prompt
from analysis.reading.credit import credit_counts, credit_unit
from analysis.statistics.answer_bits import AnswerBits, pack_credit, unpack_credit
from analysis.statistics.component_choice import FIRST, FULL, LAST, choose
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
_BEST, _BITS, _UNIT, _TOKENS = "best", "bits", "unit", "tokens_seen"
Arrays = dict[str, np.ndarray]
"""One step's accuracies: an attribute of `CurveAccuracies`, `/` and the curve -> array; its answers as bits."""
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


@dataclass(frozen=True)
class DesignFacts:
    """All that decides the design of a group, as plain values, from which any process can make it.

    Attributes:
        prompts, example_id: names.
        gold: (example,).
        n_labels: number of label words.
        row_groups: of rows that belong together, as in `StepAnswers`.
        seeds_draw_words: whether demonstration seeds have label words of their own.
        n: replicates of each kind.
    """

    prompts: tuple[str, ...]
    example_id: tuple[str, ...]
    gold: tuple[int, ...]
    n_labels: int
    row_groups: RowGroups
    seeds_draw_words: bool
    n: int


def design_facts(answers: StepAnswers, *, seeds_draw_words: bool = False, n: int = N_REPLICATES) -> DesignFacts:
    """What decides the design of a group, from any step's answers.

    Args:
        answers: of a step.
        seeds_draw_words: whether demonstration seeds have label words of their own.
        n: replicates of each kind.
    """
    gold = tuple(answers.gold.tolist())
    names = answers.prompts, answers.example_id
    return DesignFacts(*names, gold, answers.n_labels, answers.row_groups, seeds_draw_words, n)


def design_of(answers: StepAnswers, *, seeds_draw_words: bool = False, n: int = N_REPLICATES) -> Design:
    """The design of a group, from any step's answers: arguments as in `design_facts`."""
    return make_design(design_facts(answers, seeds_draw_words=seeds_draw_words, n=n))


@lru_cache(maxsize=2)
def make_design(facts: DesignFacts) -> Design:
    """The design of a group, with n replicates of each kind."""
    gold, n_labels, groups = np.array(facts.gold, np.uint8), facts.n_labels, facts.row_groups
    halves = halves_of(gold, facts.example_id, groups)
    names, seeds = zip(*map(split_prompt, facts.prompts), strict=True)
    templates = tuple(tuple(i for i, name in enumerate(names) if name == template) for template in sorted(set(names)))
    seed_of = np.unique(seeds, return_inverse=True)[1]
    replicates: dict[str, Replicates] = {
        PERMUTED: permuted(gold, halves, n_labels, facts.n + N_SHUFFLED, groups),
        RESAMPLED: resampled(gold, halves, facts.n, groups),
    }
    if facts.seeds_draw_words:
        replicates[SWAPPED] = swapped(gold, halves, n_labels, seed_of, facts.n)
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

    def add(self, step: int, arrays: Arrays) -> None:
        """Add one step's arrays, all but the bits."""
        for name, values in arrays.items():
            attribute, _, curve = name.partition("/")
            if curve:
                getattr(self, attribute)[curve][step] = values
        if _TOKENS in arrays:
            tokens = int(arrays[_TOKENS])
            self.tokens_seen[step] = tokens if tokens >= 0 else None


def by_replicates(kind: str, curve: str, accuracy: np.ndarray) -> Arrays:
    """One curve's (prompt, replicate) at one step, as `CurveAccuracies` has it; of permuted labels, 0 is the truth."""
    if kind != PERMUTED:
        return {f"{kind}/{curve}": accuracy.astype(np.float32)}
    return {
        f"observed/{curve}": accuracy[:, 0].astype(np.float64),
        f"null/{curve}": accuracy[:, 1:-N_SHUFFLED].astype(np.float32),
        f"shuffled/{curve}": mean_over_prompts(accuracy[:, -N_SHUFFLED:]),
    }


def mean_over_prompts(values: np.ndarray) -> np.ndarray:
    """Mean of (prompt, ...) over the prompts that have a value; NaN where none has."""
    has_value = ~np.isnan(values)
    return np.where(has_value, values, 0).sum(0) / np.where(has_value.any(0), has_value.sum(0), np.nan)


def mean_by_seed(values: np.ndarray, seed_of: np.ndarray) -> np.ndarray:
    """Means over each seed's prompts that have a value: (prompt, ...) -> (seed, ...); NaN for a seed without."""
    return np.stack([mean_over_prompts(values[seed_of == seed]) for seed in range(int(seed_of.max()) + 1)])


def score_step(answers: StepAnswers, design: Design) -> Arrays:
    """What one step's answers give by themselves: Full, the components chosen there, and the answers as bits."""
    unit = credit_unit(answers.tied, answers.full_tied)
    tokens = -1 if answers.tokens_seen is None else answers.tokens_seen
    arrays = {_TOKENS: np.array(tokens), _UNIT: np.array(unit)}
    full = credit_counts(answers.full_labels, answers.full_tied, answers.n_labels, unit)
    for kind, replicates in design.replicates.items():
        arrays |= by_replicates(kind, FULL, replicates.of_single_answers(full) / (len(design.gold) * unit))
    return arrays | _score_components(answers, design, unit)


def trace(
    accuracies: CurveAccuracies, steps: Iterable[tuple[int, Arrays]], design: Design, last: int, first_above: np.ndarray
) -> None:
    """Add the curves of components that are chosen on the other half at one step, and followed through all others.

    Last-T1 is chosen at the last step, First-T1 at a prompt's own.

    Args:
        accuracies: of all steps.
        steps: every step with its arrays.
        design: of the group.
        last: the last step.
        first_above: (prompt,) step of First-T1; -1 for a prompt that has none.
    """
    chosen_at = {LAST: np.full(len(first_above), last), FIRST: first_above}
    for step, arrays in steps:
        bits = unpack_credit(arrays[_BITS], design.halves, int(arrays[_UNIT]))
        for kind, replicates in design.replicates.items():
            for curve, at in chosen_at.items():
                if (at >= 0).any():
                    traced = _trace(replicates, bits, accuracies.best[kind], design, at)
                    accuracies.add(step, by_replicates(kind, curve, traced))


def _trace(
    replicates: Replicates, bits: AnswerBits, best: Mapping[int, np.ndarray], design: Design, at: np.ndarray
) -> np.ndarray:
    """Accuracy (prompt, replicate) at one step of what is best on the other half at each prompt's own step."""
    any_step = int(at.max())
    steps = np.where(at >= 0, at, any_step).tolist()
    chosen = np.stack([best[step][::-1, prompt] for prompt, step in enumerate(steps)], 1)
    credit = zip(replicates.traced(bits, chosen), design.halves, strict=True)
    accuracy = np.mean([of_half / (len(half) * bits.unit) for of_half, half in credit], 0)
    return np.where(at[:, None] >= 0, accuracy, np.nan)


def _score_components(answers: StepAnswers, design: Design, unit: int) -> Arrays:
    """All curves of components at one step, one template after another."""
    max_counts = [len(half) * unit for half in design.halves]
    prompt_order = np.argsort(np.concatenate(design.templates))
    by_template: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    bits = []
    for prompts in design.templates:
        credit = [answers.credit_counts(i, unit) for i in prompts]
        bits += [pack_credit(of_prompt, design.halves, unit) for of_prompt in credit]
        gaps = None if answers.gaps is None else answers.gaps[list(prompts)]
        for kind, replicates in design.replicates.items():
            of_template = _score_template(replicates.blocks(prompts, credit), max_counts, gaps)
            for curve, values in of_template.items():
                by_template[kind, curve].append(values)
    arrays = {_BITS: np.stack([bits[i] for i in prompt_order], 1)}
    for (kind, curve), parts in by_template.items():
        values = np.concatenate(parts, -2)[..., prompt_order, :]
        arrays |= (
            {f"{_BEST}/{kind}": values.astype(np.uint16)} if curve == _BEST else by_replicates(kind, curve, values)
        )
    return arrays


def _score_template(
    blocks: Iterable[np.ndarray], max_counts: Sequence[int], gaps: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Curve -> (prompt, replicate) of one template's prompts, and `_BEST`, the component that is best on each half.

    Args:
        blocks: counts, from `Replicates.blocks`.
        max_counts: the credit of a component that is always right, on each half.
        gaps: (prompt, component), by which ties go.
    """
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for counts in blocks:
        choice = choose(counts, max_counts, gaps)
        for curve, values in ((_BEST, choice.best_of_half), *choice.accuracy.items()):
            parts[curve].append(values)
    return {curve: np.concatenate(values, -1) for curve, values in parts.items()}
