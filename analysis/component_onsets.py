"""When does each head and MLP emerge, on average over prompts: above luck, and half way to its final accuracy?

Two levels of luck. `null` is each component's own: a component whose answers have nothing to do with the labels is said
to emerge with probability 1 %, so among a thousand of them ten are. `null of any component` holds for all of a group
together: with probability 99 % none is. `half` is half way from chance to the component's last value, for components
that are above their own `null` at the last step.

Predictions are read twice and summed over prompts, whose labels are permuted and drawn again alike, so that one step
costs one matrix product whatever the number of prompts; replicates are walked back from the last step.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.reading.answers import GROUP, Asked, StepAnswers, asked, earned, groups, readable_again, unit_of
from analysis.statistics.criteria import HALF, NULL, above_half
from analysis.statistics.curves import LEVEL, read_design
from analysis.statistics.onset import NEVER, highest, interval, log2_steps, onset, onset_of, to_step, widest
from analysis.statistics.relabelling import N_SHUFFLED, all_counts
from analysis.statistics.resampling import alone, seed_weights
from analysis.statistics.tally import PERMUTED, RESAMPLED, Design
from dynamics.components import parse_component
from dynamics.errors import StoreError
from dynamics.results.places import Place

NULL_OF_ANY = "null of any component"
SCHEMA = {
    "model": pl.String,
    "dtype": pl.String,
    "control": pl.String,
    "task": pl.String,
    "n_shots": pl.Int64,
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
        `analysis.onsets` that say when (emerges, step, t, low, high, censored, never, before, level); first, final:
        accuracy at the first and last checkpoint; chance, resampled, n_prompts, n_seeds, n_examples, n_components,
        last_step.

    Raises:
        StoreError: no finished unit has predictions of components at every step.
    """
    there = [common for group in groups(results) if (common := asked(results, group)) is not None]
    if not there:
        raise StoreError(f"{results} holds no predictions of heads and MLPs that every step has; resume the sweep")
    rows = [row for common in there for row in _rows(results, common)]
    return pl.DataFrame(rows, schema=SCHEMA).sort(*GROUP, "criterion", "layer", "kind", "head", maintain_order=True)


@dataclass(frozen=True)
class _Luck:
    """What was read first.

    Attributes:
        components: names.
        accuracy: (step, component), mean over prompts.
        levels: criterion -> (step, component).
    """

    components: tuple[str, ...]
    accuracy: np.ndarray
    levels: dict[str, np.ndarray]


def _rows(results: Place, common: Asked) -> Iterator[dict[str, object]]:
    design = read_design(results, common)
    read = readable_again(results, common)
    luck = _luck(read(common.steps), design)
    axis, chance = log2_steps(common.steps), 1 / design.n_labels
    found = onset_of(axis, _margins(luck, luck.accuracy, chance))
    again = onset(axis, _margins_again(read(common.steps[::-1]), common, design, luck))
    low, high = interval(again.log2.transpose(0, 2, 1))
    for i, criterion in enumerate(luck.levels):
        for j, name in enumerate(luck.components):
            index = int(found.step[i, j])
            component = parse_component(name)
            yield {
                **dict(zip(GROUP, common.group, strict=True)),
                "component": name,
                "kind": component.kind,
                "layer": component.layer,
                "head": component.head,
                "criterion": criterion,
                "emerges": index >= 0,
                "step": common.steps[index] if index >= 0 else None,
                "t": to_step(float(found.log2[i, j]), common.steps),
                "low": to_step(float(low[i, j]), common.steps),
                "high": to_step(float(high[i, j]), common.steps),
                "censored": "never" if index < 0 else "before" if index == 0 else "",
                "never": float((again.log2[i, :, j] == NEVER).mean()),
                "before": float((again.log2[i, :, j] == -np.inf).mean()),
                "level": float(luck.levels[criterion][index, j]),
                "first": luck.accuracy[0, j],
                "final": luck.accuracy[-1, j],
                "chance": chance,
                "resampled": design.resampled,
                "n_prompts": len(common.prompts),
                "n_seeds": int(design.seed_of.max()) + 1,
                "n_examples": len(common.example_id),
                "n_components": len(luck.components),
                "last_step": common.steps[-1],
            }


def _luck(steps: Iterable[StepAnswers], design: Design) -> _Luck:
    """First reading: accuracies, and the levels they are held against."""
    accuracy, means, sds, components = [], [], [], ()
    maxima = np.array(-np.inf)
    for at in steps:
        summed, unit = _summed(at, range(len(at.prompts)))
        permuted = all_counts(design.replicates[PERMUTED], 0, summed).sum(0) / (unit * len(at.gold) * len(at.prompts))
        null = permuted[1:-N_SHUFFLED].T
        mean, sd = null.mean(-1), null.std(-1)
        maxima = np.maximum(maxima, highest(null, mean, sd))
        accuracy.append(permuted[0])
        means.append(mean)
        sds.append(sd)
        components = at.components
    values, mean, sd = np.stack(accuracy), np.stack(means), np.stack(sds)
    half = np.broadcast_to((values[-1] + 1 / design.n_labels) / 2, values.shape)
    levels = {
        NULL: mean + sd * widest(maxima, LEVEL),
        NULL_OF_ANY: mean + sd * widest(maxima.max(0), LEVEL),
        HALF: half,
    }
    return _Luck(components, values, levels)


def _margins(luck: _Luck, values: np.ndarray, chance: float) -> np.ndarray:
    """(step, criterion, component) of the accuracies themselves."""
    own, any_of = (values - luck.levels[name] for name in (NULL, NULL_OF_ANY))
    return np.stack([own, any_of, above_half(values, chance, luck.levels[NULL][-1])], 1)


def _margins_again(
    last_first: Iterable[StepAnswers], common: Asked, design: Design, luck: _Luck
) -> Iterator[np.ndarray]:
    """Second reading, the last step first: (criterion, replicate, component) with examples and seeds drawn again."""
    weights = seed_weights(int(design.seed_of.max()) + 1)
    final = None
    for i, at in zip(range(len(common.steps) - 1, -1, -1), last_first, strict=True):
        values = _drawn_again(at, design, weights, luck.accuracy[i])
        margins = [values - luck.levels[name][i] for name in (NULL, NULL_OF_ANY)]
        if final is None:
            final = values
            margins.append(np.where(margins[0] > 0, values - (final + 1 / design.n_labels) / 2, -1))
        else:
            margins.append(values - (final + 1 / design.n_labels) / 2)
        yield np.stack(margins)


def _drawn_again(at: StepAnswers, design: Design, weights: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Mean accuracies (replicate, component), examples and seeds drawn anew (`analysis.statistics.resampling`)."""
    moves, by_seed = [], []
    for seed in range(len(weights)):
        prompts = np.flatnonzero(design.seed_of == seed).tolist()
        summed, unit = _summed(at, prompts)
        most = unit * len(at.gold) * len(prompts)
        moves.append(all_counts(design.replicates[RESAMPLED], 0, summed).sum(0) / most)
        by_seed.append(summed[np.arange(len(at.gold)), :, at.gold].sum(0) / most)
    moved = np.stack(moves)
    examples = moved.mean(0) - moved.mean((0, 1))
    share = alone(examples.var(0), moved.var(1).mean(0), len(moves)) if len(moves) > 1 else 1
    of_seeds = weights.T @ (np.stack(by_seed) - np.mean(by_seed, 0))
    return accuracy + examples * share + of_seeds


def _summed(at: StepAnswers, prompts: Sequence[int]) -> tuple[np.ndarray, int]:
    """What each component earns, summed over prompts: (example, component, label) whole numbers, and their unit."""
    unit = unit_of(at.tied)
    total = np.zeros((*at.labels.shape[1:], at.n_labels), np.int32)
    for i in prompts:
        total += earned(at.labels[i], None if at.tied is None else at.tied[i], at.n_labels, unit)
    return total, unit
