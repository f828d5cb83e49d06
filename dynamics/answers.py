"""Answers of the full model and of every component on the rows of a split, as they are or less their label bias.

Every table of a unit and every choice of a component reads them, so they are computed once.
"""

from dataclasses import dataclass

import numpy as np

from dynamics.label_bias import FORMS, TRAIN_CENTRED, in_form
from dynamics.methods.selection import Answers, answers_of
from dynamics.scores import credit
from dynamics.unit_arrays import UnitArrays


@dataclass(frozen=True)
class SplitAnswers:
    """Logits and answers on the rows of one split, in one of `dynamics.label_bias.FORMS`.

    Attributes:
        full: (row, label) logits of the full model.
        full_credit: the same shape, `dynamics.scores.credit` of them.
        contributions: (row, component, label).
        components: credit and gaps of every component, with the gold labels.
    """

    full: np.ndarray
    full_credit: np.ndarray
    contributions: np.ndarray
    components: Answers


def answers_by_form(unit: UnitArrays, split: str) -> dict[str, SplitAnswers]:
    """The answers on one split's rows in each of `FORMS`; without `TRAIN_CENTRED` where there are no training rows."""
    splits = np.asarray(unit.split)
    rows, train = splits == split, splits == "train"
    answers = {}
    for form in FORMS if train.any() else (form for form in FORMS if form != TRAIN_CENTRED):
        full, contributions = (in_form(logits[rows], form, logits[train]) for logits in (unit.full, unit.contributions))
        components = answers_of(contributions, unit.gold[rows])
        answers[form] = SplitAnswers(full, credit(full), contributions, components)
    return answers
