"""When does each head and MLP emerge, on average over prompts: above chance, and half way to its final accuracy?

Two criteria compare with chance. `null` is each component's own: a component whose answers have nothing to do with the
labels emerges with probability 1 %, so among a thousand of them ten do. `null of any component` holds for all of a
group together: with probability 99 % none does. `half` is half way from chance to the component's last value, for
components that are above their own `null` at the last step.

Predictions are read twice and summed over prompts, whose labels are permuted and resampled alike, so that one step
costs one matrix product whatever the number of prompts; replicates are followed back from the last step.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.reading.answers import CommonPrompts, StepAnswers, all_common_prompts, cached_reader
from analysis.reading.groups import GROUP, GROUP_SCHEMA, Schema
from analysis.statistics.bootstrap import examples_only, seed_weights
from analysis.statistics.criteria import HALF, NULL, above_half
from analysis.statistics.curve_accuracies import PERMUTED, RESAMPLED, Design
from analysis.statistics.curves import LEVEL, read_design
from analysis.statistics.onset import (
    NEVER,
    censoring,
    interval,
    log2_steps,
    onset,
    onset_of,
    standardised,
    to_step,
    upper_quantile,
)
from analysis.statistics.replicates import N_SHUFFLED, all_counts
from dynamics.components import parse_component
from dynamics.results.places import Place

NULL_OF_ANY = "null of any component"
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
    "censored": pl.String,
    "never": pl.Float64,
    "before": pl.Float64,
    "level": pl.Float64,
    "first": pl.Float64,
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
        `analysis.onsets` that describe the onset (emerges, step, t, low, high, censored, never, before, level); first,
        final: accuracy at the first and last checkpoint; chance, resampled, n_prompts, n_seeds, n_examples,
        n_components, last_step.

    Raises:
        StoreError: no finished unit has predictions of components at every step.
    """
    rows = [row for common in all_common_prompts(results) for row in _rows(results, common)]
    return pl.DataFrame(rows, schema=SCHEMA).sort(*GROUP, "criterion", "layer", "kind", "head", maintain_order=True)


@dataclass(frozen=True)
class _Observed:
    """Accuracies and levels, from the first reading.

    Attributes:
        components: names.
        accuracy: (step, component), mean over prompts.
        levels: criterion -> (step, component).
    """

    components: tuple[str, ...]
    accuracy: np.ndarray
    levels: dict[str, np.ndarray]


def _rows(results: Place, common: CommonPrompts) -> Iterator[dict[str, object]]:
    design = read_design(results, common)
    read = cached_reader(results, common)
    observed = _observe(read(common.steps), design)
    axis = log2_steps(common.steps)
    onsets = onset_of(axis, _margins(observed, design.chance))
    replicates = onset(axis, _replicate_margins(read(common.steps[::-1]), common, design, observed)).log2
    low, high = interval(replicates.transpose(0, 2, 1))
    for i, criterion in enumerate(observed.levels):
        for j, name in enumerate(observed.components):
            index = int(onsets.step[i, j])
            component = parse_component(name)
            yield {
                **common.group.keys,
                "component": name,
                "kind": component.kind,
                "layer": component.layer,
                "head": component.head,
                "criterion": criterion,
                "emerges": index >= 0,
                "step": common.steps[index] if index >= 0 else None,
                "t": to_step(float(onsets.log2[i, j]), common.steps),
                "low": to_step(float(low[i, j]), common.steps),
                "high": to_step(float(high[i, j]), common.steps),
                "censored": censoring(index),
                "never": float((replicates[i, :, j] == NEVER).mean()),
                "before": float((replicates[i, :, j] == -np.inf).mean()),
                "level": float(observed.levels[criterion][index, j]),
                "first": observed.accuracy[0, j],
                "final": observed.accuracy[-1, j],
                "chance": design.chance,
                "resampled": design.resampled,
                "n_prompts": len(common.prompts),
                "n_seeds": design.n_seeds,
                "n_examples": len(common.example_id),
                "n_components": len(observed.components),
                "last_step": common.steps[-1],
            }


def _observe(steps: Iterable[StepAnswers], design: Design) -> _Observed:
    """First reading: accuracies, and the levels they are compared with."""
    accuracy, means, sds, components = [], [], [], ()
    maxima = np.array(-np.inf)
    for answers in steps:
        credit, unit = _sum_over_prompts(answers, range(len(answers.prompts)))
        n_answers = unit * len(answers.gold) * len(answers.prompts)
        permuted = all_counts(design.replicates[PERMUTED], 0, credit).sum(0) / n_answers
        null = permuted[1:-N_SHUFFLED].T
        mean, sd = null.mean(-1), null.std(-1)
        maxima = np.maximum(maxima, standardised(null, mean, sd))
        accuracy.append(permuted[0])
        means.append(mean)
        sds.append(sd)
        components = answers.components
    values, mean, sd = np.stack(accuracy), np.stack(means), np.stack(sds)
    levels = {
        NULL: mean + sd * upper_quantile(maxima, LEVEL),
        NULL_OF_ANY: mean + sd * upper_quantile(maxima.max(0), LEVEL),
        HALF: np.broadcast_to((values[-1] + design.chance) / 2, values.shape),
    }
    return _Observed(components, values, levels)


def _margins(observed: _Observed, chance: float) -> np.ndarray:
    """(step, criterion, component) of the accuracies themselves."""
    values, levels = observed.accuracy, observed.levels
    half = above_half(values, chance, levels[NULL][-1])
    return np.stack([values - levels[NULL], values - levels[NULL_OF_ANY], half], 1)


def _replicate_margins(
    last_first: Iterable[StepAnswers], common: CommonPrompts, design: Design, observed: _Observed
) -> Iterator[np.ndarray]:
    """Second reading, the last step first: (criterion, replicate, component) with examples and seeds resampled."""
    weights = seed_weights(design.n_seeds)
    final = None
    for i, answers in zip(range(len(common.steps) - 1, -1, -1), last_first, strict=True):
        values = _resample(answers, design, weights, observed.accuracy[i])
        margins = [values - observed.levels[name][i] for name in (NULL, NULL_OF_ANY)]
        if final is None:
            final = values
            margins.append(np.where(margins[0] > 0, values - (final + design.chance) / 2, -1))
        else:
            margins.append(values - (final + design.chance) / 2)
        yield np.stack(margins)


def _resample(answers: StepAnswers, design: Design, weights: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Mean accuracies (replicate, component), examples and seeds resampled (`analysis.statistics.bootstrap`)."""
    resampled, by_seed = [], []
    for seed in range(len(weights)):
        prompts = np.flatnonzero(design.seed_of == seed).tolist()
        credit, unit = _sum_over_prompts(answers, prompts)
        n_answers = unit * len(answers.gold) * len(prompts)
        resampled.append(all_counts(design.replicates[RESAMPLED], 0, credit).sum(0) / n_answers)
        by_seed.append(credit[np.arange(len(answers.gold)), :, answers.gold].sum(0) / n_answers)
    per_seed = np.stack(resampled)
    by_examples = per_seed.mean(0) - per_seed.mean((0, 1))
    scale = examples_only(by_examples.var(0), per_seed.var(1).mean(0), len(per_seed)) if len(per_seed) > 1 else 1
    by_seeds = weights.T @ (np.stack(by_seed) - np.mean(by_seed, 0))
    return accuracy + by_examples * scale + by_seeds


def _sum_over_prompts(answers: StepAnswers, prompts: Sequence[int]) -> tuple[np.ndarray, int]:
    """Credit of each component, summed over prompts: (example, component, label) whole numbers, and their unit."""
    unit = answers.credit_unit
    total = np.zeros((*answers.labels.shape[1:], answers.n_labels), np.int32)
    for prompt in prompts:
        total += answers.credit_counts(prompt, unit)
    return total, unit
