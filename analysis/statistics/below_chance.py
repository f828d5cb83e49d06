"""Why components are below chance: from accuracies, AUCs, attention and agreement to one class a component.

`analysis.bad_components` explains the classes. Arrays of results begin with an axis `scope`: all prompts together, of
length 1, or each prompt by itself, as the intervals have it (`statistics.shared_rows`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.reading.answers import StepAnswers
from analysis.reading.head_measures import PromptMeasure
from analysis.statistics.shared_rows import LEVEL, Intervals, by_prompt, excess_agreement

BIASED, ANTI, WRONG, OPPOSED = "label-biased", "anti-copying", "wrong-label attention", "opposed"
UNEXPLAINED, UNTOLD = "unexplained", "cannot be told"
CLASSES = (BIASED, ANTI, WRONG, OPPOSED, UNEXPLAINED, UNTOLD)
COPYING, LABELS, TEXTS, GOLD = "label_copying", "label_attention", "demo_text_attention", "gold_attention"
ATTENTION = (COPYING, GOLD, LABELS, TEXTS)
ENDS = ("", "_low", "_high")
NO_ATTENTION = 'no attention measured: sweep with mechanisms = ["label_attention"]'
NO_CENTRED = "no centred answers: `pythia-emergence derive` adds them"
NO_AUC = "no AUC: `pythia-emergence derive` adds it"
ONE_SEED = "one demonstration seed: no interval"
ALIKE = "answers all rows of a label alike: whether it is opposed cannot be told"


@dataclass(frozen=True)
class Agreement:
    """Excess agreement of components that may be below chance with components that may be good.

    Attributes:
        bad, good: positions of the components.
        excess, sd: (prompt, bad, good), from `excess_agreement`.
    """

    bad: np.ndarray
    good: np.ndarray
    excess: np.ndarray
    sd: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """What the components of one step are classified by.

    Attributes:
        accuracy, auc: (prompt, component); their standard deviations for guesses by sampling rows, likewise.
        chance: 1 / number of labels.
        attention: measure -> values, NaN for MLPs; None where it was not measured under every prompt.
        may_copy: (component,) bool, heads of prompts with demonstrations.
        agreement: None where the results lack centred answers.
    """

    accuracy: np.ndarray
    accuracy_sd: np.ndarray
    auc: np.ndarray
    auc_sd: np.ndarray
    chance: float
    attention: Mapping[str, PromptMeasure] | None
    may_copy: np.ndarray
    agreement: Agreement | None


@dataclass(frozen=True)
class Classified:
    """The components of one step, classified.

    Attributes:
        numbers: column of `bad_components` -> (scope, component), NaN where there is no number.
        below: (scope, component) bool, AUC below .5.
        classes: (scope, component) position in `CLASSES`, -1 where none applies or none can be told.
        opposed: (scope, component), 1 or 0; NaN where AUC is not below .5, or it cannot be told.
        opposed_to: (scope, component) the good component with the least agreement, -1 where there is none.
        reasons: reason -> (scope, component) bool, where it applies.
    """

    numbers: dict[str, np.ndarray]
    below: np.ndarray
    classes: np.ndarray
    opposed: np.ndarray
    opposed_to: np.ndarray
    reasons: dict[str, np.ndarray]

    def reason(self, scope: int, component: int) -> str | None:
        """Why something cannot be told of a component."""
        return "; ".join(text for text, where in self.reasons.items() if where[scope, component]) or None


def agreement(centred: StepAnswers, auc: np.ndarray, auc_sd: np.ndarray) -> Agreement:
    """Of the components that are below .5, or above it, under some prompt or in the mean."""
    _, low, high = by_prompt(auc, auc_sd, LEVEL)
    bad = np.flatnonzero((high < 0.5).any(0) | (auc.mean(0) < 0.5))
    good = np.flatnonzero((low > 0.5).any(0) | (auc.mean(0) > 0.5))
    unit = centred.credit_unit
    of_prompts = []
    for prompt in range(len(centred.prompts)):
        credit = centred.credit_counts(prompt, unit)
        of_prompts.append(excess_agreement(credit[:, bad] / unit, credit[:, good] / unit, centred.gold))
    excess, sd = (np.stack(arrays) for arrays in zip(*of_prompts, strict=True))
    return Agreement(bad, good, excess, sd)


def classify(evidence: Evidence, intervals: Intervals) -> Classified:
    """The classes of the components, by the mean over prompts or prompt by prompt."""
    accuracy, auc = (
        tuple(np.clip(end, 0, 1) for end in intervals(values, sd, LEVEL))
        for values, sd in ((evidence.accuracy, evidence.accuracy_sd), (evidence.auc, evidence.auc_sd))
    )
    below = auc[2] < 0.5
    attention = _attention(evidence, intervals)
    opposed, opposed_to, agreed = _opposed(evidence.agreement, intervals, below, auc[1] > 0.5)
    unmeasured = below & evidence.may_copy & (evidence.attention is None)
    in_order = (
        (BIASED, (accuracy[2] < evidence.chance) & (auc[2] >= 0.5)),
        (UNTOLD, unmeasured),
        *((name, below & chosen) for name, chosen in _by_attention(attention).items()),
        (OPPOSED, below & (opposed == 1)),
        (UNTOLD, below & np.isnan(opposed)),
        (UNEXPLAINED, below),
    )
    classes = np.full(below.shape, -1)
    for name, chosen in reversed(in_order):
        classes = np.where(chosen, CLASSES.index(name), classes)
    unknown = np.isnan(auc[2])
    named = {f"{n}{end}": v for n, i in (("accuracy", accuracy), ("auc", auc)) for end, v in zip(ENDS, i, strict=True)}
    reasons = {
        ONE_SEED: unknown & ~np.isnan(auc[0]),
        NO_AUC: np.isnan(auc[0]),
        NO_ATTENTION: unmeasured,
        NO_CENTRED: below & (evidence.agreement is None),
        ALIKE: below & (evidence.agreement is not None) & np.isnan(opposed),
    }
    return Classified({**named, **agreed, **attention}, below, classes, opposed, opposed_to, reasons)


def _attention(evidence: Evidence, intervals: Intervals) -> dict[str, np.ndarray]:
    """Columns of attention (scope, component): means, of copying and the gold label with both ends."""
    if evidence.attention is None:
        return {}
    found = {n: intervals(m.value, m.row_sd, LEVEL) for n, m in evidence.attention.items()}
    with_ends = {f"{name}{end}": v for name in (COPYING, GOLD) for end, v in zip(ENDS, found[name], strict=True)}
    return {**with_ends, LABELS: found[LABELS][0], TEXTS: found[TEXTS][0]}


def _by_attention(attention: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Class -> components whose attention explains why they are below chance."""
    if not attention:
        return {}
    on_labels = attention[LABELS] > attention[TEXTS]
    lowers, raises = attention[f"{COPYING}_high"] < 0, attention[f"{COPYING}_low"] > 0
    return {ANTI: on_labels & lowers, WRONG: on_labels & raises & (attention[f"{GOLD}_high"] < 0)}


def _opposed(
    found: Agreement | None, intervals: Intervals, below: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """`opposed` and `opposed_to` of `Classified`, and the columns excess_agreement and excess_high."""
    nothing = np.full(below.shape, np.nan)
    opposed, to = nothing.copy(), np.full(below.shape, -1)
    numbers = {"excess_agreement": nothing.copy(), "excess_high": nothing.copy()}
    if found is None:
        return opposed, to, numbers
    is_good = good[:, found.good][:, None]
    level = LEVEL / np.maximum(1, is_good.sum(-1, keepdims=True))
    mean, _, high = intervals(found.excess, found.sd, level)
    varies, _, _ = intervals(found.sd, found.sd, LEVEL)
    high = np.where(is_good & (varies > 0), high, np.inf)
    for scope, i in np.argwhere(below[:, found.bad]):
        component = found.bad[i]
        if not is_good[scope].any():
            opposed[scope, component] = 0
        elif np.isfinite(high[scope, i]).any():
            least = int(high[scope, i].argmin())
            opposed[scope, component] = high[scope, i, least] < 0
            to[scope, component] = found.good[least]
            numbers["excess_agreement"][scope, component] = mean[scope, i, least]
            numbers["excess_high"][scope, component] = high[scope, i, least]
    return opposed, to, numbers
