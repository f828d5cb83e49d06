"""When does each head and MLP emerge, on average over prompts: above chance, and half way to its plateau?

Onsets are those of `analysis.onsets`: crossings of a level by the isotonic fit, where the plateau is above it. Two
criteria compare with chance. `null` is each component's own: a component whose answers have nothing to do with the
labels emerges with probability 1 %, so among a thousand of them ten do. `null of any component` holds for all of a
group together: with probability 99 % none does. `half` is half way from the mean of a component's null to its plateau,
for components that are above their own `null` there.

A `discovery` is a component whose answers are related to the labels at some step: its largest accuracy over steps, in
SDs above the permuted ones, has a p-value (`p_null`) that stays at most 5 % when adjusted (`q`, Benjamini-Hochberg) for
all components, tasks, shots and models in the results; each control is a family of its own. So among discoveries at
most 5 % are false on average, where components are independent or depend on each other positively; `null of any
component` instead leaves no false one in a group. With `emerges`, it says that the relation has lasted.

Predictions are summed over prompts, whose labels are permuted and resampled alike, so that one step costs one matrix
product whatever the number of prompts. They are read once for the levels and once for the replicates, of as many
components at a time as memory allows.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.cache.parallel import mapped
from analysis.reading.answers import AnswerReader, CommonPrompts, StepAnswers, all_common_prompts, cached_reader
from analysis.reading.groups import GROUP, GROUP_SCHEMA, Schema
from analysis.statistics.bootstrap import examples_only, seed_weights
from analysis.statistics.criteria import HALF, NULL, Margins, above, above_share
from analysis.statistics.curve_accuracies import PERMUTED, RESAMPLED, Design
from analysis.statistics.curves import LEVEL, read_design
from analysis.statistics.discoveries import FDR, benjamini_hochberg, tail_p
from analysis.statistics.onset import (
    NEVER,
    Onset,
    bracket,
    isotonic_onset,
    log2_steps,
    onset_interval,
    standardised,
    to_step,
    upper_quantile,
    why_no_number,
)
from analysis.statistics.plateau import n_plateau, plateau
from analysis.statistics.replicates import N_SHUFFLED, all_counts
from dynamics.components import parse_component
from dynamics.results.places import Place

NULL_OF_ANY = "null of any component"
REPLICATE_BYTES = 250e6
"""Replicates that are held at once."""
SCHEMA: Schema = {
    **GROUP_SCHEMA,
    "component": pl.String,
    "kind": pl.String,
    "layer": pl.Int64,
    "head": pl.Int64,
    "criterion": pl.String,
    "emerges": pl.Boolean,
    "step": pl.Int64,
    "t": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "step_before": pl.Int64,
    "step_after": pl.Int64,
    "censored": pl.String,
    "never": pl.Float64,
    "before": pl.Float64,
    "level": pl.Float64,
    "p_null": pl.Float64,
    "first": pl.Float64,
    "plateau": pl.Float64,
    "final": pl.Float64,
    "chance": pl.Float64,
    "resampled": pl.String,
    "n_prompts": pl.Int64,
    "n_seeds": pl.Int64,
    "n_examples": pl.Int64,
    "n_components": pl.Int64,
    "last_step": pl.Int64,
}


def component_onsets(results: Place) -> pl.DataFrame:
    """Onset of every head and MLP, of its mean accuracy over prompts.

    Returns:
        One row per (model, dtype, control, task, n_shots, component, criterion): kind, layer, head; the columns of
        `analysis.onsets` that describe the onset (emerges, step, t, low, high, step_before, step_after, censored,
        never, before, level); p_null (`statistics.discoveries`), q, discovery, equal in all rows of a component; first,
        final: accuracy at the first and last checkpoint, and the plateau; chance, resampled, n_prompts, n_seeds,
        n_examples, n_components, last_step.

    Raises:
        StoreError: no finished unit has predictions of components at every step.
    """
    groups = [(results, common) for common in all_common_prompts(results)]
    rows = [row for of_group in mapped(_group_rows, groups, "groups of component onsets") for row in of_group]
    table = with_discoveries(pl.DataFrame(rows, schema=SCHEMA))
    return table.sort(*GROUP, "criterion", "layer", "kind", "head", maintain_order=True)


def _group_rows(of_group: tuple[Place, CommonPrompts]) -> list[dict[str, object]]:
    results, common = of_group
    return list(component_rows(cached_reader(results, common), common, read_design(results, common)))


def with_discoveries(table: pl.DataFrame) -> pl.DataFrame:
    """The table with q and discovery beside p_null, adjusted over all rows of a criterion and control."""
    family = ["control", "criterion"]
    adjusted = pl.col("p_null").map_batches(_adjusted, return_dtype=pl.Float64).over(family)
    table = table.with_columns(q=adjusted).with_columns(discovery=pl.col("q") <= FDR)
    names = [name for name in table.columns if name not in ("q", "discovery")]
    after = names.index("p_null") + 1
    return table.select(*names[:after], "q", "discovery", *names[after:])


def _adjusted(p: pl.Series) -> pl.Series:
    return pl.Series(benjamini_hochberg(p.to_numpy()))


@dataclass(frozen=True)
class Observed:
    """Accuracies and levels, from the first reading.

    Attributes:
        components: names.
        accuracy: (step, component), mean over prompts.
        floor: (step, component), mean of the null.
        null, null_of_any: (step + 1, component), bands; the last row is the plateau's.
        p: (component,) of the largest accuracy over steps and of the plateau, in SDs above the permuted ones.
    """

    components: tuple[str, ...]
    accuracy: np.ndarray
    floor: np.ndarray
    null: np.ndarray
    null_of_any: np.ndarray
    p: np.ndarray

    def margins(self, some: slice) -> dict[str, Margins]:
        """Criterion -> margins of some components: (step, component, ...) -> (step + 1, component, ...)."""
        null = self.null[:, some]
        return {
            NULL: above(null),
            NULL_OF_ANY: above(self.null_of_any[:, some]),
            HALF: above_share(0.5, self.floor[:, some], null[-1]),
        }


def component_rows(read: AnswerReader, common: CommonPrompts, design: Design) -> Iterator[dict[str, object]]:
    """One group's rows, without q and discovery.

    Args:
        read: reads the prompts and examples of `common`.
        design: with `N_REPLICATES` replicates of each kind.
    """
    observed = observe(read(common.steps), design, n_plateau(len(common.steps)))
    shared = {
        "chance": design.chance,
        "resampled": design.resampled,
        "n_prompts": len(common.prompts),
        "n_seeds": design.n_seeds,
        "n_examples": len(common.example_id),
        "n_components": len(observed.components),
        "last_step": common.steps[-1],
    }
    weights = seed_weights(design.n_seeds)
    n_at_once = max(1, int(REPLICATE_BYTES / (4 * weights.shape[1] * len(common.steps))))
    for first in range(0, len(observed.components), n_at_once):
        some = slice(first, first + n_at_once)
        accuracy = observed.accuracy[:, some]
        steps = zip(read(common.steps), accuracy, strict=True)
        replicates = np.stack([_resample(answers, design, weights, mean, some) for answers, mean in steps])
        for i, name in enumerate(observed.components[some]):
            one = slice(first + i, first + i + 1)
            for criterion, margins in observed.margins(one).items():
                yield {
                    **common.group.keys,
                    **_component_columns(name),
                    "criterion": criterion,
                    **_onset_columns(
                        common.steps,
                        margins,
                        accuracy[:, [i]],
                        replicates[:, [i]],
                        has_fixed_level=criterion != HALF,
                    ),
                    "p_null": float(observed.p[first + i]),
                    "first": accuracy[0, i],
                    "plateau": plateau(accuracy[:, i]),
                    "final": accuracy[-1, i],
                    **shared,
                }


def _component_columns(name: str) -> dict[str, object]:
    component = parse_component(name)
    return {"component": name, "kind": component.kind, "layer": component.layer, "head": component.head}


def _onset_columns(
    steps: tuple[int, ...],
    margins: Margins,
    accuracy: np.ndarray,
    replicates: np.ndarray,
    *,
    has_fixed_level: bool,
) -> dict[str, object]:
    """The onset of one component's accuracy (step, 1) with the interval of its replicates (step, 1, replicate).

    Args:
        has_fixed_level: whether there is a level where the component does not emerge: half way to chance is none.
    """
    axis = log2_steps(steps)
    above_level = margins(accuracy)
    found = isotonic_onset(axis, above_level)
    onset = Onset(found.step[0], found.log2[0])
    log2 = isotonic_onset(axis, margins(replicates)).log2[0]
    index, around = int(onset.step), bracket(axis, onset)
    low, high = onset_interval(log2, around)
    crosses = index > 0
    return {
        "emerges": index >= 0,
        "step": steps[index] if crosses else None,
        "t": to_step(float(onset.log2), steps),
        "low": to_step(low, steps),
        "high": to_step(high, steps),
        "step_before": steps[index - 1] if crosses else None,
        "step_after": steps[index] if crosses else None,
        "censored": why_no_number(index, above_level[:, 0]),
        "never": float((log2 == NEVER).mean()),
        "before": float((log2 == -np.inf).mean()),
        "level": float(accuracy[index, 0] - above_level[:-1][index, 0]) if index >= 0 or has_fixed_level else None,
    }


def observe(steps: Iterable[StepAnswers], design: Design, n_late: int) -> Observed:
    """First reading: accuracies, and the levels they are compared with."""
    accuracy, means, sds, components = [], [], [], ()
    maxima = largest = np.array(-np.inf)
    late: deque[np.ndarray] = deque(maxlen=n_late)
    for answers in steps:
        credit, unit = _sum_over_prompts(answers, range(len(answers.prompts)))
        n_answers = unit * len(answers.gold) * len(answers.prompts)
        permuted = all_counts(design.replicates[PERMUTED], 0, credit).sum(0) / n_answers
        late.append(permuted[1:-N_SHUFFLED].T)
        accuracy.append(permuted[0])
        mean, sd, maxima = _moments(late[-1], maxima)
        largest = np.maximum(largest, standardised(permuted[:1].T, mean, sd)[:, 0])
        means.append(mean)
        sds.append(sd)
        components = answers.components
    mean, sd, maxima = _moments(np.median(np.stack(late), 0), maxima)
    largest = np.maximum(largest, standardised(np.median(accuracy[-n_late:], 0)[:, None], mean, sd)[:, 0])
    means, sds = np.stack([*means, mean]), np.stack([*sds, sd])
    return Observed(
        components,
        np.stack(accuracy),
        means[:-1],
        means + sds * upper_quantile(maxima, LEVEL),
        means + sds * upper_quantile(maxima.max(0), LEVEL),
        tail_p(largest, maxima),
    )


def _moments(null: np.ndarray, maxima: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and SD of permuted accuracies (component, permutation), and the largest in SDs above the mean so far."""
    mean, sd = null.mean(-1), null.std(-1)
    return mean, sd, np.maximum(maxima, standardised(null, mean, sd))


def _resample(
    answers: StepAnswers, design: Design, weights: np.ndarray, accuracy: np.ndarray, some: slice
) -> np.ndarray:
    """Mean accuracies (component, replicate), examples and seeds resampled (`analysis.statistics.bootstrap`)."""
    resampled, by_seed = [], []
    for seed in range(len(weights)):
        prompts = np.flatnonzero(design.seed_of == seed).tolist()
        credit, unit = _sum_over_prompts(answers, prompts, some)
        n_answers = unit * len(answers.gold) * len(prompts)
        resampled.append(all_counts(design.replicates[RESAMPLED], 0, credit).sum(0) / n_answers)
        by_seed.append(credit[np.arange(len(answers.gold)), :, answers.gold].sum(0) / n_answers)
    per_seed = np.stack(resampled)
    by_examples = per_seed.mean(0) - per_seed.mean((0, 1))
    scale = examples_only(by_examples.var(0), per_seed.var(1).mean(0), len(per_seed)) if len(per_seed) > 1 else 1
    by_seeds = weights.T @ (np.stack(by_seed) - np.mean(by_seed, 0))
    return (accuracy + by_examples * scale + by_seeds).T.astype(np.float32)


def _sum_over_prompts(
    answers: StepAnswers, prompts: Sequence[int], some: slice = slice(None)
) -> tuple[np.ndarray, int]:
    """Credit of some components, summed over prompts: (example, component, label) whole numbers, and their unit."""
    unit = answers.credit_unit
    total = np.zeros((*answers.labels[0, :, some].shape, answers.n_labels), np.int32)
    for prompt in prompts:
        total += answers.credit_counts(prompt, unit)[:, some]
    return total, unit
