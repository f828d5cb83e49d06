"""Does each component have a counterpart in a training run with another seed, and is it at the same place?

Component indices mean nothing across seeds. So components of two trainings are matched by their answers: Cohen's kappa
between component i of one and j of the other over all prompts and half of the test rows,

    kappa_ij = (agree_ij - chance_ij) / (1 - chance_ij),    chance_ij = sum over labels of share_i(label) share_j(label)

(0 where both always give the same answer), and the one-to-one matching with the largest sum. Everything reported is
from the other half, so that a match by chance is not reported as similarity.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from analysis.reading.accuracies import mean_sd_columns
from analysis.reading.answers import StepAnswers, read_together
from analysis.reading.groups import GROUP, GROUP_SCHEMA, groups
from analysis.reading.seeds import families
from dynamics.results.places import Place

SETTING = [name for name in GROUP if name != "model"]
MEASURES = ("kappa_matched", "kappa_same_place", "kappa_any", "best", "counterpart", "same_place", "own_best")
_SCHEMA = {
    "model": pl.String,
    "varies": pl.String,
    **{name: GROUP_SCHEMA[name] for name in SETTING},
    "step": pl.Int64,
    **{name: pl.Float64 for measure in MEASURES for name in (measure, f"{measure}_sd")},
    **dict.fromkeys(("n_pairs", "n_seeds", "n_prompts", "n_examples", "n_components"), pl.Int64),
    "chance": pl.Float64,
}


def seed_matching(results: Place) -> pl.DataFrame:
    """Agreement of matched components, and the accuracy of the best component's counterpart.

    Returns:
        One row per (model, varies, dtype, control, task, n_shots, step), means over ordered pairs (A, B) of seeds, each
        with its _sd: kappa_matched, kappa_same_place (components of the same name), kappa_any (all pairs of components:
        what a random matching gives); and of A's best component, chosen on the half that matches: best (its accuracy),
        counterpart (of the component of B that it is matched with), same_place (of the component of B with its name),
        own_best (of B's own best). n_pairs, n_seeds, n_prompts, n_examples (of the scoring half), n_components, chance.
        Empty where no model has a second seed.
    """
    present = groups(results)
    rows: list[dict[str, object]] = []
    for (base, varies), models in families(group.model for group in present).items():
        for setting in sorted({group._replace(model=base) for group in present if group.model in models}):
            trainings = [group for model in models if (group := setting._replace(model=model)) in present]
            for answers in read_together(results, trainings):
                rows += [{**setting.keys, "varies": varies, **row} for row in _compare(answers)]
    return pl.DataFrame(rows, schema=_SCHEMA)


@dataclass(frozen=True)
class Half:
    """The answers of one training's components on half of the test rows, all prompts concatenated.

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
    chance = one.share @ other.share.T
    constant = 1 - chance < 1e-9
    return np.where(constant, 0, (agree - chance) / np.where(constant, 1, 1 - chance))


def match(one: Half, other: Half) -> np.ndarray:
    """The one-to-one matching with the largest sum of kappas: (component of one,) -> component of the other."""
    from scipy.optimize import linear_sum_assignment  # a quarter of what `import analysis` would take

    return linear_sum_assignment(kappas(one, other), maximize=True)[1]


def alternating_halves(gold: np.ndarray) -> np.ndarray:
    """Which half each row is in, 0 or 1: rows of a label take turns, so that both halves stay balanced."""
    return np.array([np.count_nonzero(gold[:i] == label) % 2 for i, label in enumerate(gold)])


def _compare(trainings: Sequence[StepAnswers]) -> Iterator[dict[str, object]]:
    """One row over all ordered pairs of seeds; none where they share no prompt or have other test rows."""
    first = trainings[0]
    prompts = sorted(set.intersection(*(set(answers.prompts) for answers in trainings)))
    same_rows = all(np.array_equal(answers.gold, first.gold) for answers in trainings)
    if not prompts or not same_rows or any(answers.components != first.components for answers in trainings):
        return
    half_of = alternating_halves(first.gold)
    halves = []
    for answers in trainings:
        credit = answers.of_prompts(prompts).credit
        halves.append([half(credit[:, half_of == h], answers.gold[half_of == h]) for h in (0, 1)])
    pairs = [row for one, other in combinations(halves, 2) for row in _compare_pair(one, other)]
    yield {
        "step": first.step,
        **mean_sd_columns(**{measure: [pair[measure] for pair in pairs] for measure in MEASURES}),
        "n_pairs": len(pairs),
        "n_seeds": len(trainings),
        "n_prompts": len(prompts),
        "n_examples": int(half_of.sum()),
        "n_components": len(first.components),
        "chance": 1 / first.n_labels,
    }


def _compare_pair(one: Sequence[Half], other: Sequence[Half]) -> Iterator[dict[str, float]]:
    """Matched on the first halves, scored on the second: from one's components, and from the other's."""
    matched = match(one[0], other[0])
    kappa = kappas(one[1], other[1])
    yield _measures(one, other, matched, kappa)
    yield _measures(other, one, matched.argsort(), kappa.T)


def _measures(one: Sequence[Half], other: Sequence[Half], matched: np.ndarray, kappa: np.ndarray) -> dict[str, float]:
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
