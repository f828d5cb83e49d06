"""Curves of accuracy, margin and area under the ROC curve from stored contributions: means, nulls and replicates.

Full, COMP RW, Held-out T1 and Cross-seed T1, as they are and less their label bias, and every head and MLP as it is.
Held-out and Cross-seed T1 follow one component under all metrics: the most accurate one on the rows it is chosen on,
as in `statistics.component_choice`. So what differs between metrics is how its answers are counted, not whose they are.

The null permutes the labels of the scored rows within each half; the choice was made on other rows, so it stays. Where
seeds draw their label words, words are swapped too, and the choice is made again: a choice can take a component that
happens to point the right way for the words of a seed. The bootstrap resamples rows and seeds; the choice stays as it
was made, so the variation between choices is in no interval.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.reading.logits import StepLogits
from analysis.statistics.bootstrap import bootstrap
from analysis.statistics.component_choice import COMP_RW, CROSS_SEED, FULL, HELD_OUT, most_accurate
from analysis.statistics.curve_accuracies import PERMUTED, RESAMPLED, SWAPPED, Design, mean_by_seed, mean_over_prompts
from analysis.statistics.mean_curve import MeanCurve
from analysis.statistics.metrics import ACCURACY, METRICS, at_labels, confusion, values_and_influence, values_by_label
from analysis.statistics.replicates import Permuted, Resampled, Swapped
from dynamics.label_bias import centred
from dynamics.scores import mean_gap

N_SWAPPED = 250
"""Swaps of label words, after which components are chosen again."""
N_COMPONENT_NULL = 250
"""Permutations of single components, of which there may be a thousand."""


@dataclass(frozen=True, order=True)
class MetricCurve:
    """Which curve: a name, or that of a component; whether less its label bias; fit; metric."""

    name: str
    centred: bool
    variant: str
    n_labelled: int
    metric: str
    is_component: bool = False


@dataclass(frozen=True)
class Labels:
    """The labels of the test rows, and what they are in replicates.

    Attributes:
        gold: (row,).
        halves: indices of the rows in each half.
        weights: (row, replicate), of the bootstrap.
        permuted: (row x label, permutation), 1 at the label that the row has then.
        word: (prompt, label, replicate), the label whose word a label gets; None where seeds share their words.
    """

    gold: np.ndarray
    halves: tuple[np.ndarray, np.ndarray]
    weights: np.ndarray
    permuted: np.ndarray
    word: np.ndarray | None


def labels_of(design: Design) -> Labels:
    """The labels and replicates of a design."""
    permutations, resampled = design.replicates[PERMUTED], design.replicates[RESAMPLED]
    swapped = design.replicates.get(SWAPPED)
    assert isinstance(permutations, Permuted)
    assert isinstance(resampled, Resampled)
    assert swapped is None or isinstance(swapped, Swapped)
    n = len(resampled.weights)
    permuted = np.empty((len(design.gold), design.n_labels, n))
    for half, one_hot in zip(design.halves, permutations.one_hot, strict=True):
        by_label = one_hot[1 : n + 1].reshape(n, design.n_labels, len(half))
        permuted[half] = by_label.transpose(2, 1, 0)
    word = None if swapped is None else swapped.word[..., :N_SWAPPED]
    weights = resampled.weights.T.astype(np.float64)
    return Labels(design.gold, design.halves, weights, permuted.reshape(-1, n), word)


@dataclass(frozen=True)
class _AtStep:
    """One curve at one step.

    Attributes:
        mean: over prompts.
        by_seed: (seed,), over each seed's prompts; (1,) of a component.
        influence: (seed, row), summed over rows the metric, with weights of rows it resampled; empty of a component.
        null: (permutation,); before `_stacked`, of others than components, (row x label,), to be summed at labels.
        swapped: (replicate,), with label words swapped; None where seeds share their words.
    """

    mean: float
    by_seed: np.ndarray
    influence: np.ndarray
    null: np.ndarray
    swapped: np.ndarray | None = None


def metric_curves(steps: Iterable[StepLogits], design: Design) -> dict[MetricCurve, MeanCurve]:
    """All curves of a group; those of fits that some step lacks are left out.

    Args:
        steps: ascending.
    """
    labels = labels_of(design)
    by_curve: dict[MetricCurve, list[_AtStep]] = defaultdict(list)
    numbers = []
    for step in steps:
        numbers.append(step.step)
        for curve, found in (*_step_curves(step, design, labels), *_component_curves(step, labels)):
            by_curve[curve].append(found)
    return {
        curve: _stacked(numbers, found, labels, is_component=curve.is_component)
        for curve, found in by_curve.items()
        if len(found) == len(numbers)
    }


def _stacked(steps: Sequence[int], at: Sequence[_AtStep], labels: Labels, *, is_component: bool) -> MeanCurve:
    mean = np.array([found.mean for found in at])
    by_seed, influence, null = (
        np.stack([getattr(found, name) for found in at]) for name in ("by_seed", "influence", "null")
    )
    swapped = None if at[0].swapped is None else np.stack([found.swapped for found in at if found.swapped is not None])
    if is_component:
        resampled = np.zeros((*by_seed.shape, 1))
    else:
        resampled, null = influence @ labels.weights, null @ labels.permuted
    return MeanCurve(tuple(steps), mean, null, swapped, bootstrap(mean, by_seed, resampled), not is_component)


def _step_curves(step: StepLogits, design: Design, labels: Labels) -> Iterator[tuple[MetricCurve, _AtStep]]:
    for is_centred in (False, True):
        for (name, variant, n_labelled), logits in _single_classifiers(step).items():
            taken = np.stack([centred(of) if is_centred else of for of in logits], 1)  # (row, prompt, label)
            for metric, found in _score([(np.arange(len(labels.gold)), taken)], labels, design.seed_of).items():
                swapped = _swapped_mean(metric, taken, labels)
                yield MetricCurve(name, is_centred, variant, n_labelled, metric), replace(found, swapped=swapped)
        yield from _chosen_curves(step, design, labels, is_centred=is_centred)


def _single_classifiers(step: StepLogits) -> dict[tuple[str, str, int], np.ndarray]:
    fits = {(COMP_RW, variant, n_labelled): logits for (variant, n_labelled), logits in step.reweighted.items()}
    return {(FULL, "", 0): step.full, **fits}


def _score(parts: Sequence[tuple[np.ndarray, np.ndarray]], labels: Labels, seed_of: np.ndarray) -> dict[str, _AtStep]:
    """Every metric on some parts of the rows, the mean over parts; none where no prompt has a value.

    Args:
        parts: indices of rows, and logits there (row, prompt, label); NaN for a prompt without.
        seed_of: (prompt,) index of the demonstration seed.
    """
    found = {}
    n_labels = parts[0][1].shape[-1]
    for metric in METRICS:
        means, influence = [], np.zeros((int(seed_of.max()) + 1, len(labels.gold)))
        by_label = np.zeros((len(labels.gold), n_labels))
        for index, logits in parts:
            values, added = values_and_influence(metric, logits, labels.gold[index])
            share = 1 / len(index) / len(parts)
            means.append(at_labels(values, labels.gold[index]).mean(0))
            influence[:, index] = mean_by_seed(added.T, seed_of) * share
            by_label[index] = mean_over_prompts(values.swapaxes(0, 1)) * share
        by_prompt = np.mean(means, 0)
        if not np.isnan(by_prompt).all():
            by_seed = mean_by_seed(by_prompt, seed_of)
            found[metric] = _AtStep(float(mean_over_prompts(by_prompt)), by_seed, influence, by_label.reshape(-1))
    return found


def _chosen_curves(
    step: StepLogits, design: Design, labels: Labels, *, is_centred: bool
) -> Iterator[tuple[MetricCurve, _AtStep]]:
    """Held-out and Cross-seed T1: components chosen by accuracy on one half, scored on the other."""
    by_row = step.contributions.swapaxes(0, 1)  # (row, prompt, component, label)
    by_row = centred(by_row) if is_centred else by_row
    gaps = mean_gap(by_row)
    needed = [ACCURACY] if labels.word is None else METRICS
    by_word = {
        metric: np.stack([confusion(metric, by_row[half], labels.gold[half]) for half in labels.halves])
        for metric in needed
    }
    swapped = _swapped_choices(by_word, gaps, design, labels.word)
    true_words = np.trace(by_word[ACCURACY], axis1=-2, axis2=-1)[..., None]
    for name, best in choices(true_words, gaps, design).items():
        chosen = zip(labels.halves[::-1], best[..., 0], strict=True)
        parts = [(half, by_row[half][:, np.arange(len(component)), component]) for half, component in chosen]
        for metric, found in _score(parts, labels, design.seed_of).items():
            yield MetricCurve(name, is_centred, "", 0, metric), replace(found, swapped=swapped.get((name, metric)))


def choices(accuracy: np.ndarray, gaps: np.ndarray, design: Design) -> dict[str, np.ndarray]:
    """The component that each curve follows, by the half it is chosen on.

    Args:
        accuracy: (half, prompt, component, replicate).
        gaps: (prompt, component), by which ties go; of other prompts their sum.

    Returns:
        Curve -> (half, prompt, replicate) index; Cross-seed T1 only where each template has two or more seeds.
    """
    own = most_accurate(accuracy.swapaxes(-1, -2), gaps[:, None])
    if min(map(len, design.templates)) < 2:
        return {HELD_OUT: own}
    across = np.empty_like(own)
    for template in design.templates:
        prompts = list(template)
        total = accuracy[:, prompts].sum(1, keepdims=True) - accuracy[:, prompts]
        of_others = gaps[prompts].sum(0) - gaps[prompts]
        across[:, prompts] = most_accurate(total.swapaxes(-1, -2), of_others[:, None])
    return {HELD_OUT: own, CROSS_SEED: across}


def _swapped_choices(
    by_word: Mapping[str, np.ndarray], gaps: np.ndarray, design: Design, word: np.ndarray | None
) -> dict[tuple[str, str], np.ndarray]:
    """(curve, metric) -> (replicate,), means over prompts with label words swapped before and after the choice."""
    if word is None:
        return {}
    by_metric = {metric: swap(values, word) for metric, values in by_word.items()}
    found = {}
    for name, best in choices(by_metric[ACCURACY], gaps, design).items():
        for metric, values in by_metric.items():
            on_other = np.take_along_axis(values[::-1], best[:, :, None], 2)[:, :, 0]
            found[name, metric] = on_other.mean((0, 1))
    return found


def swap(parts: np.ndarray, word: np.ndarray) -> np.ndarray:
    """Metrics with label words swapped: (..., prompt, [component,] label, word), (prompt, label, replicate).

    Returns:
        (..., prompt, [component,] replicate).
    """
    prompt_axis = 0 if parts.ndim == 3 else 1
    of_prompts = []
    for i, words in enumerate(word):
        of_prompt = parts.take(i, prompt_axis)
        of_prompts.append(sum(of_prompt[..., y, :][..., of_label] for y, of_label in enumerate(words)))
    return np.stack(of_prompts, prompt_axis)


def _swapped_mean(metric: str, logits: np.ndarray, labels: Labels) -> np.ndarray | None:
    """(replicate,) of one classifier per prompt with label words swapped: logits (row, prompt, label)."""
    if labels.word is None:
        return None
    return mean_over_prompts(swap(confusion(metric, logits, labels.gold), labels.word))


def _component_curves(step: StepLogits, labels: Labels) -> Iterator[tuple[MetricCurve, _AtStep]]:
    """Every head and MLP as it is, mean over prompts; without replicates.

    In double precision: of a component with one answer the null is its accuracy, to the last digit.
    """
    by_row, permuted = step.contributions.swapaxes(0, 1), labels.permuted[:, :N_COMPONENT_NULL]
    for metric in METRICS:
        values = values_by_label(metric, by_row, labels.gold).mean(1) / len(labels.gold)  # (row, component, label)
        means = at_labels(values, labels.gold).sum(0)
        null = values.swapaxes(0, 1).reshape(len(means), -1) @ permuted
        swapped = None
        if labels.word is not None:
            by_word = confusion(metric, by_row, labels.gold)[None]
            swapped = swap(by_word, labels.word)[0].mean(0)
        for i, name in enumerate(step.components):
            of_swaps = None if swapped is None else swapped[i]
            found = _AtStep(float(means[i]), means[[i]], np.empty(0), null[i], of_swaps)
            yield MetricCurve(name, False, "", 0, metric, is_component=True), found
