"""A group's answers as accuracies per step: as they are, and in every replicate of `analysis.statistics.relabelling`.

One step is held at a time. Answers are read twice: a component chosen at one step and followed through all others
is known only when that step has been read. The last step is read first, so that Last-T1 needs no second reading;
First-T1 does.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from analysis.reading.accuracies import of_group
from analysis.reading.answers import StepAnswers, earned, unit_of
from analysis.reading.loading import counted
from analysis.statistics import choosing
from analysis.statistics.choosing import choose, pick
from analysis.statistics.relabelling import (
    N_REPLICATES,
    N_SHUFFLED,
    Replicates,
    halves_of,
    permuted,
    resampled,
    swapped,
)
from dynamics.results.places import Place

PERMUTED, RESAMPLED, SWAPPED = "permuted", "resampled", "swapped"
BEST = "best"


@dataclass(frozen=True)
class Design:
    """What is the same at all steps.

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
    def resampled(self) -> str:
        """What is drawn again in the replicates: one seed cannot be drawn again."""
        return "seeds and examples" if self.seed_of.max() > 0 else "examples"


@dataclass(frozen=True)
class Tally:
    """Accuracies by curve and step.

    Attributes:
        observed: curve -> step -> (prompt,).
        null: curve -> step -> (prompt, permutation), those of the null.
        shuffled: curve -> step -> (permutation,), mean over prompts of `N_SHUFFLED` further ones.
        moves: curve -> step -> (seed, replicate), means over each seed's prompts with examples drawn again.
        swapped: curve -> step -> (replicate,), mean over prompts with label words swapped.
        best: kind -> step -> (prompt, replicate), index of the component that is T1.
        tokens_seen: step -> tokens.
    """

    observed: dict[str, dict[int, np.ndarray]] = field(default_factory=lambda: defaultdict(dict))
    null: dict[str, dict[int, np.ndarray]] = field(default_factory=lambda: defaultdict(dict))
    shuffled: dict[str, dict[int, np.ndarray]] = field(default_factory=lambda: defaultdict(dict))
    moves: dict[str, dict[int, np.ndarray]] = field(default_factory=lambda: defaultdict(dict))
    swapped: dict[str, dict[int, np.ndarray]] = field(default_factory=lambda: defaultdict(dict))
    best: dict[str, dict[int, np.ndarray]] = field(default_factory=lambda: defaultdict(dict))
    tokens_seen: dict[int, int | None] = field(default_factory=dict)

    def add(self, kind: str, curve: str, step: int, accuracy: np.ndarray, seed_of: np.ndarray) -> None:
        """One curve's (prompt, replicate) at one step; of permuted labels, replicate 0 is the truth."""
        if kind == PERMUTED:
            self.observed[curve][step] = accuracy[:, 0].astype(np.float64)
            self.null[curve][step] = accuracy[:, 1:-N_SHUFFLED].astype(np.float32)
            self.shuffled[curve][step] = mean_over_prompts(accuracy[:, -N_SHUFFLED:])
        elif kind == RESAMPLED:
            self.moves[curve][step] = mean_by_seed(accuracy, seed_of).astype(np.float32)
        else:
            self.swapped[curve][step] = mean_over_prompts(accuracy)


def mean_over_prompts(values: np.ndarray) -> np.ndarray:
    """Mean of (prompt, ...) over the prompts that have a value; NaN where none has."""
    there = ~np.isnan(values)
    return np.where(there, values, 0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)


def mean_by_seed(values: np.ndarray, seed_of: np.ndarray) -> np.ndarray:
    """Means over each seed's prompts that have a value: (prompt, ...) -> (seed, ...); NaN for a seed without."""
    return np.stack([mean_over_prompts(values[seed_of == seed]) for seed in range(int(seed_of.max()) + 1)])


def design_of(at: StepAnswers, *, seeds_draw_words: bool = False, n: int = N_REPLICATES) -> Design:
    """The design of a group, from any step's answers, with n replicates of each kind.

    Args:
        seeds_draw_words: whether demonstration seeds have label words of their own.
    """
    halves = halves_of(at.gold, at.example_id)
    names = [prompt.rsplit("/", 1) for prompt in at.prompts]
    templates = [tuple(i for i, (mine, _) in enumerate(names) if mine == one) for one in sorted({n for n, _ in names})]
    seed_of = np.unique([int(seed) for _, seed in names], return_inverse=True)[1]
    replicates: dict[str, Replicates] = {
        PERMUTED: permuted(at.gold, halves, at.n_labels, n + N_SHUFFLED),
        RESAMPLED: resampled(at.gold, halves, n),
    }
    if seeds_draw_words:
        replicates[SWAPPED] = swapped(at.gold, halves, at.n_labels, seed_of, n)
    return Design(at.gold, at.n_labels, halves, tuple(templates), seed_of, replicates)


def tally_choices(last_first: Iterable[StepAnswers], design: Design) -> Tally:
    """First reading: Full, and every component that is chosen at the step it is scored at, or at the last.

    Args:
        last_first: every step's answers, the last step first.
    """
    tally, last = Tally(), None
    for at in last_first:
        last = at.step if last is None else last
        tally.tokens_seen[at.step] = at.tokens_seen
        unit = unit_of(at.tied, at.full_tied)
        full = earned(at.full_labels, at.full_tied, at.n_labels, unit)
        for kind, ways in design.replicates.items():
            tally.add(kind, choosing.FULL, at.step, ways.alone(full) / (len(at.gold) * unit), design.seed_of)
        _choose(tally, at, design, unit, last)
    return tally


def tally_traced(steps: Iterable[StepAnswers], design: Design, tally: Tally, since: np.ndarray) -> None:
    """Second reading: First-T1, the component that is T1 at a prompt's own step, at all steps.

    Args:
        since: (prompt,) step; -1 for a prompt that has none.
    """
    for at in steps:
        unit = unit_of(at.tied)
        for kind, ways in design.replicates.items():
            traced = np.full((len(at.prompts), tally.best[kind][at.step].shape[1]), np.nan)
            for i in np.flatnonzero(since >= 0).tolist():
                mine = earned(at.labels[i], None if at.tied is None else at.tied[i], at.n_labels, unit)
                traced[i] = ways.traced(i, mine, tally.best[kind][int(since[i])][i])
            tally.add(kind, choosing.FIRST, at.step, traced / (len(at.gold) * unit), design.seed_of)


def _choose(tally: Tally, at: StepAnswers, design: Design, unit: int, last: int) -> None:
    """All curves of components at one step, one template after another."""
    most = [len(half) * unit for half in design.halves]
    order = np.argsort(np.concatenate(design.templates))
    found: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for prompts in design.templates:
        mine = [earned(at.labels[i], None if at.tied is None else at.tied[i], at.n_labels, unit) for i in prompts]
        for kind, ways in design.replicates.items():
            followed = None if at.step == last else tally.best[kind][last][list(prompts)]
            for name, values in _of_template(ways.blocks(prompts, mine), most, followed).items():
                found[kind, name].append(values)
    for (kind, name), parts in found.items():
        together = np.concatenate(parts)[order]
        if name == BEST:
            tally.best[kind][at.step] = together.astype(np.uint16)
        else:
            tally.add(kind, name, at.step, together, design.seed_of)


def _of_template(
    blocks: Iterable[np.ndarray], most: Sequence[int], followed: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Curve -> (prompt, replicate) of one template's prompts, and `BEST`, the component that is T1.

    Args:
        blocks: counts, from `Replicates.blocks`.
        followed: (prompt, replicate) the component of Last-T1; None at the last step, where it is T1.
    """
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    first = 0
    for counts in blocks:
        chosen = choose(counts, most)
        block = slice(first, first := first + counts.shape[2])
        last = chosen.best if followed is None else followed[:, block]
        traced = pick(counts[0], last) + pick(counts[1], last)
        for name, values in ((BEST, chosen.best), *chosen.accuracy.items(), (choosing.LAST, traced / sum(most))):
            found[name].append(values)
    return {name: np.concatenate(parts, 1) for name, parts in found.items()}


def seeds_draw_words(results: Place, group: tuple) -> bool:
    """Whether demonstration seeds have label words of their own."""
    units = counted(results, "units").filter(*of_group(group)).select("template", "demo_seed", "label_words").collect()
    by_template = units.group_by("template").agg(pl.col("label_words").n_unique(), pl.col("demo_seed").n_unique())
    return bool(((by_template["label_words"] > 1) & (by_template["demo_seed"] > 1)).any())
