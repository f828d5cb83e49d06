"""Is there a counterpart of each component in a training with another seed, and is it at the same place?

Component indices mean nothing across seeds. So components of two trainings are matched by what they do: Cohen's kappa
between the answers of component i of one and j of the other over all prompts and half of the test rows,

    kappa_ij = (agree_ij - luck_ij) / (1 - luck_ij),    luck_ij = sum over labels of share_i(label) * share_j(label)

(0 where both always give the same answer), and the one-to-one matching with the largest sum. Everything reported is
from the other half, so that what is matched by luck is not reported as likeness.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from scipy.optimize import linear_sum_assignment

from analysis.reading.accuracies import mean_sd
from analysis.reading.answers import GROUP, StepAnswers, answers, groups
from analysis.reading.seeds import families
from dynamics.results.places import Place

SETTING = [name for name in GROUP if name != "model"]
MEASURES = ("kappa_matched", "kappa_same_place", "kappa_any", "best", "counterpart", "same_place", "own_best")
_SCHEMA = {
    "model": pl.String,
    "varies": pl.String,
    **dict.fromkeys(SETTING, pl.String),
    "n_shots": pl.Int64,
    "step": pl.Int64,
    **{name: pl.Float64 for measure in MEASURES for name in (measure, f"{measure}_sd")},
    **dict.fromkeys(("n_pairs", "n_seeds", "n_prompts", "n_examples", "n_components"), pl.Int64),
    "chance": pl.Float64,
}


def seed_matching(results: Place) -> pl.DataFrame:
    """Likeness of matched components, and the accuracy of the best component's counterpart.

    Returns:
        One row per (model, varies, dtype, control, task, n_shots, step), means over ordered pairs (A, B) of seeds, each
        with its _sd: kappa_matched, kappa_same_place (components of the same name), kappa_any (all pairs of components:
        what a random matching gives); and of A's best component, chosen on the half that matches: best (its accuracy),
        counterpart (of the component of B that it is matched with), same_place (of the component of B with its name),
        own_best (of B's own best). n_pairs, n_seeds, n_prompts, n_examples (of the scoring half), n_components, chance.
        Empty where no model has a second seed.
    """
    there = groups(results)
    rows: list[dict[str, object]] = []
    for (base, varies), models in families(group[0] for group in there).items():
        for setting in sorted({group[1:] for group in there if group[0] in models}):
            mine = [(model, *setting) for model in models if (model, *setting) in there]
            for at in _together([answers(results, group) for group in mine]):
                keys = {"model": base, "varies": varies, **dict(zip(SETTING, setting, strict=True))}
                rows += [{**keys, **row} for row in _compared(at)]
    return pl.DataFrame(rows, schema=_SCHEMA)


@dataclass(frozen=True)
class Half:
    """What one training's components answer on half of the test rows, all prompts one below the other.

    Attributes:
        credit: (component, row x label) float32, 1/n_tied at every label a component predicts.
        share: (component, label), how often each label is predicted.
        accuracy: (component,).
    """

    credit: np.ndarray
    share: np.ndarray
    accuracy: np.ndarray


def half(credit: np.ndarray, gold: np.ndarray) -> Half:
    """From credit (prompt, example, component, label) and gold (example,)."""
    _, n_examples, n_components, _ = credit.shape
    flat = np.ascontiguousarray(credit.transpose(2, 0, 1, 3), np.float32).reshape(n_components, -1)
    accuracy = credit[:, np.arange(n_examples), :, gold].mean((0, 1), dtype=np.float64)
    return Half(flat, credit.mean((0, 1), dtype=np.float64), accuracy)


def kappas(one: Half, other: Half) -> np.ndarray:
    """Cohen's kappa between all components of two trainings on the same rows: (component, component)."""
    n_rows = one.credit.shape[1] // one.share.shape[1]
    agree = (one.credit @ other.credit.T).astype(np.float64) / n_rows
    luck = one.share @ other.share.T
    certain = 1 - luck < 1e-9
    return np.where(certain, 0, (agree - luck) / np.where(certain, 1, 1 - luck))


def match(one: Half, other: Half) -> np.ndarray:
    """The one-to-one matching with the largest sum of kappas: (component of the one,) -> component of the other."""
    return linear_sum_assignment(kappas(one, other), maximize=True)[1]


def alternating(gold: np.ndarray) -> np.ndarray:
    """Which half each row is in, 0 or 1: rows of a label take turns, so that both halves stay balanced."""
    return np.array([np.count_nonzero(gold[:i] == label) % 2 for i, label in enumerate(gold)])


def _together(streams: Sequence[Iterator[StepAnswers]]) -> Iterator[list[StepAnswers]]:
    """The steps that two or more trainings have, one step of all of them at a time."""
    heads = [next(stream, None) for stream in streams]
    while any(heads):
        step = min(head.step for head in heads if head)
        at = [head for head in heads if head and head.step == step]
        if len(at) > 1:
            yield at
        heads = [
            next(stream, None) if head and head.step == step else head
            for head, stream in zip(heads, streams, strict=True)
        ]


def _compared(at: Sequence[StepAnswers]) -> Iterator[dict[str, object]]:
    """One row over all ordered pairs of seeds; none where they share no prompt or have other test rows."""
    prompts = sorted(set.intersection(*(set(each.prompts) for each in at)))
    alike = all(np.array_equal(each.gold, at[0].gold) and each.components == at[0].components for each in at)
    if not prompts or not alike:
        return
    which = alternating(at[0].gold)
    halves = []
    for each in at:
        credit = each.credit[[each.prompts.index(prompt) for prompt in prompts]]
        halves.append([half(credit[:, which == h], each.gold[which == h]) for h in (0, 1)])
    pairs = [row for one, other in combinations(halves, 2) for row in _both_ways(one, other)]
    row: dict[str, object] = {}
    for measure in MEASURES:
        row[measure], row[f"{measure}_sd"] = mean_sd([pair[measure] for pair in pairs])
    sizes = {"n_pairs": len(pairs), "n_seeds": len(at), "n_prompts": len(prompts), "n_examples": int(which.sum())}
    n_components, n_labels = at[0].credit.shape[2:]
    yield {"step": at[0].step, **row, **sizes, "n_components": n_components, "chance": 1 / n_labels}


def _both_ways(one: Sequence[Half], other: Sequence[Half]) -> Iterator[Mapping[str, float]]:
    """Matched on the first halves, scored on the second: from the one's components, and from the other's."""
    matched = match(one[0], other[0])
    kappa = kappas(one[1], other[1])
    yield _measured(one, other, matched, kappa)
    yield _measured(other, one, matched.argsort(), kappa.T)


def _measured(
    one: Sequence[Half], other: Sequence[Half], matched: np.ndarray, kappa: np.ndarray
) -> Mapping[str, float]:
    best, own_best = int(one[0].accuracy.argmax()), int(other[0].accuracy.argmax())
    places = np.arange(len(kappa))
    return {
        "kappa_matched": float(kappa[places, matched].mean()),
        "kappa_same_place": float(kappa[places, places].mean()),
        "kappa_any": float(kappa.mean()),
        "best": float(one[1].accuracy[best]),
        "counterpart": float(other[1].accuracy[matched[best]]),
        "same_place": float(other[1].accuracy[best]),
        "own_best": float(other[1].accuracy[own_best]),
    }
