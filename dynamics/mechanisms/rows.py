"""Rows of the tables `mechanisms` and `ablations` from what was measured on a unit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import pyarrow as pa
from transformers import PreTrainedModel

from dynamics import scores
from dynamics.components import Component
from dynamics.decomposition import Decomposition
from dynamics.label_bias import centred
from dynamics.mechanisms.ablation import Ablated, ablate, effect, mean_outputs
from dynamics.mechanisms.copying import copying_scores
from dynamics.mechanisms.function_vectors import function_vector_scores
from dynamics.mechanisms.head_scores import HeadScores
from dynamics.mechanisms.label_attention import label_attention_scores
from dynamics.mechanisms.sequences import sequence_scores
from dynamics.mechanisms.settings import (
    ABLATION,
    COPYING,
    FUNCTION_VECTORS,
    N_FUNCTION_VECTOR_PROMPTS,
    N_RANDOM,
    SEQUENCES,
    Mechanism,
)
from dynamics.methods import selection
from dynamics.prompts import PromptSet
from dynamics.results.tables import table

SINGLE, TOP, BOTTOM, RANDOM, NOTHING = "single", "top", "bottom", "random", "none"
RANDOM_SEED = 0


@dataclass(frozen=True)
class Measured:
    """What mechanisms are measured on.

    Attributes:
        model: in eval mode.
        vocabulary: ids of the tokenizer's tokens, without special ones.
        prompts, split: of one unit, and their decomposition.
        shuffled: makes prompts of the unit's first test rows whose demonstrations have shuffled labels.
        token_budget: padded tokens per batch, None to fit free memory.
    """

    model: PreTrainedModel
    vocabulary: Sequence[int]
    prompts: PromptSet
    split: Decomposition
    shuffled: Callable[[int], PromptSet]
    token_budget: int | None


def mechanism_table(measured: Measured, mechanism: Mechanism, keys: Mapping[str, object]) -> pa.Table:
    """The rows of one mechanism of a unit."""
    if mechanism.name == ABLATION:
        rows = list(_ablations(measured, mechanism))
    else:
        rows = [row for scored in _head_scores(measured, mechanism) for row in _rows_of(scored)]
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    return table(mechanism.table, keys, {**columns, "fit_id": [mechanism.fit_id] * len(rows)})


def _head_scores(measured: Measured, mechanism: Mechanism) -> list[HeadScores]:
    if mechanism.name == SEQUENCES:
        return sequence_scores(measured.model, measured.vocabulary, token_budget=measured.token_budget)
    if mechanism.name == COPYING:
        return copying_scores(measured.model, measured.vocabulary)
    if mechanism.name == FUNCTION_VECTORS:
        written = mean_outputs(measured.model, measured.prompts, token_budget=measured.token_budget).written
        shuffled = measured.shuffled(N_FUNCTION_VECTOR_PROMPTS)
        return function_vector_scores(measured.model, shuffled, written, token_budget=measured.token_budget)
    predicted = measured.split.full.argmax(-1)
    return label_attention_scores(measured.model, measured.prompts, predicted, token_budget=measured.token_budget)


def _rows_of(scored: HeadScores) -> Iterator[dict[str, object]]:
    for (layer, head), value in np.ndenumerate(scored.values):
        yield {
            "measure": scored.measure,
            "component": Component("head", layer, head).name,
            "layer": layer,
            "head": head,
            "value": None if np.isnan(value) else float(value),
            "sd": None if scored.sd is None else float(scored.sd[layer, head]),
            "n": scored.n,
            "chance": scored.chance,
        }


def _ablations(measured: Measured, mechanism: Mechanism) -> Iterator[dict[str, object]]:
    """The full model as it is, then without each set, then without each component of them alone."""
    prompts, split = measured.prompts, measured.split
    test = np.array([name == "test" for name in prompts.split])
    gold, ids = np.array(prompts.gold)[test], [name for name, own in zip(prompts.example_id, test, strict=True) if own]
    full = split.full[test]

    def row(selected: str, ablated: Ablated | None, reason: str | None = None) -> dict[str, object]:
        logits = full if ablated is None else ablated.full[test]
        direct, total = (
            (None, None) if ablated is None else (effect(gold, full, ablated.direct[test]), effect(gold, full, logits))
        )
        names = () if ablated is None else ablated.components
        return {
            "selection": selected,
            "components": " ".join(component.name for component in names),
            "n_components": len(names),
            "k": mechanism.k,
            "replacement": mechanism.replacement,
            "accuracy": float(scores.accuracy(scores.credit(logits), gold)),
            "centred_accuracy": float(scores.accuracy(scores.credit(centred(logits)), gold)),
            "mean_margin": float(scores.margin(logits.astype(np.float64), gold).mean()),
            "direct_effect": None if direct is None else float(direct.mean()),
            "total_effect": None if total is None else float(total.mean()),
            "self_repair_sd": None if direct is None or total is None else _sd(direct - total),
            **scores.prediction_columns(logits, ids),
            "n_examples": len(gold),
            "reason": reason,
        }

    chosen = choose_sets(measured, mechanism.k)
    yield row(NOTHING, None, None if chosen else _why_none(measured))
    if not chosen:
        return
    means = mean_outputs(measured.model, prompts, token_budget=measured.token_budget)

    def run(components: Sequence[Component]) -> Ablated:
        return ablate(
            measured.model,
            prompts,
            split,
            components,
            means,
            replacement=mechanism.replacement,
            token_budget=measured.token_budget,
        )

    for name, components in chosen:
        yield row(name, run(components))
    first_random = next(i for i, (name, _) in enumerate(chosen) if name.startswith(RANDOM))
    singles = dict.fromkeys(c for _, components in chosen[: first_random + 1] for c in components)
    for component in sorted(singles):
        yield row(SINGLE, run([component]))


def choose_sets(measured: Measured, k: int) -> list[tuple[str, tuple[Component, ...]]]:
    """The best and the worst k components on the training rows, and `N_RANDOM` sets drawn from the others.

    Ties go by the rule of `dynamics.methods.selection`. k is at most a third of the heads and MLPs. The drawn sets
    differ from each other; there are fewer of them where the others are too few for as many. Empty where there are no
    training rows to choose on, or fewer than three heads and MLPs.
    """
    split = measured.split
    train = np.array([name == "train" for name in measured.prompts.split])
    candidates = [i for i, component in enumerate(split.components) if component.is_candidate]
    k = min(k, len(candidates) // 3)
    if not train.any() or k == 0:
        return []
    answers = selection.answers_of(split.contributions[train][:, candidates], np.array(measured.prompts.gold)[train])
    assert answers.gaps is not None
    accuracy, order = answers.correct.mean(0), np.arange(len(candidates))
    best_first = np.lexsort((order, -answers.gaps, -accuracy))
    worst_first = np.lexsort((order, -answers.gaps, accuracy))
    best = best_first[:k]
    worst = np.array([i for i in worst_first if i not in best])[:k]
    others = np.array([i for i in order if i not in {*best, *worst}])
    drawn = _distinct_sets(others, k)

    def components(index: np.ndarray) -> tuple[Component, ...]:
        return tuple(split.components[candidates[i]] for i in sorted(index.tolist()))

    sets = [(TOP, components(best)), (BOTTOM, components(worst))]
    return sets + [(f"{RANDOM}-{i}", components(index)) for i, index in enumerate(drawn)]


def _distinct_sets(others: np.ndarray, k: int) -> list[np.ndarray]:
    """`N_RANDOM` different sets of k of these, or as many as there are."""
    rng, drawn = np.random.default_rng(RANDOM_SEED), dict[tuple[int, ...], None]()
    while len(drawn) < min(N_RANDOM, comb(len(others), k)):
        drawn[tuple(sorted(rng.choice(others, k, replace=False).tolist()))] = None
    return [np.array(index) for index in drawn]


def _why_none(measured: Measured) -> str:
    """Why no components could be chosen."""
    if "train" not in measured.prompts.split:
        return "no training rows to choose components on; give the task n_train in the plan"
    return "fewer than three heads and MLPs"


def _sd(values: np.ndarray) -> float | None:
    """Standard deviation over rows; None of a single one."""
    return float(values.std(ddof=1)) if len(values) > 1 else None
