"""Selection of one component: the best and the worst on the test rows, and the best on rows other than the scored ones.

The more accurate component is selected; ties go to the larger mean margin on the same rows, then to the first component
(for the worst component: to the smaller margin, then to the first).

- `oracle_t1`, `oracle_b1`: best and worst on the test rows themselves (paper: T1 and B1), optimistic bounds.
- `heldout_train_rows`: best on the labelled training rows, scored on the test rows: what a user with these labels
  would get.
- `heldout_split_half`: best on one half of the test rows, scored on the other, averaged over the two halves: T1 without
  its optimism, selected on half as many rows.
"""

from dataclasses import dataclass

import numpy as np

from dynamics.scores import accuracy, credit, margin

HALVES_SEED = 2406
SAME_ACCURACY = 1e-9
"""Accuracies this close are equal: credits of 1/3 sum differently in different orders; real differences are larger."""


@dataclass(frozen=True)
class Answers:
    """Predictions of every component on a set of rows, and the gold labels.

    Attributes:
        credit: (example, component, label), 1/n_tied at every label a component predicts (`scores.credit`, or
            `scores.decode` of stored predictions).
        gold: (example,) label indices.
        margins: (example, component), `scores.margin`, in logits; None where only predictions are stored, and ties
            go to the first component.
    """

    credit: np.ndarray
    gold: np.ndarray
    margins: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.credit.shape
        if len(shape) != 3 or 0 in shape or self.gold.shape != shape[:1] or self.gold.max() >= shape[2]:
            raise ValueError(
                f"credit of shape {shape} and gold of shape {self.gold.shape}; give (example, component, label) and "
                "(example,) with at least one example"
            )
        if self.margins is not None and self.margins.shape != shape[:2]:
            raise ValueError(f"margins of shape {self.margins.shape}; give (example, component) = {shape[:2]}")
        if not np.isfinite(self.credit).all() or (self.margins is not None and not np.isfinite(self.margins).all()):
            raise ValueError("credit or margins hold NaN or infinity; drop such rows before selecting a component")

    def rows(self, index: np.ndarray) -> "Answers":
        """The examples of a mask, or at some positions."""
        return Answers(self.credit[index], self.gold[index], None if self.margins is None else self.margins[index])


@dataclass(frozen=True)
class Selected:
    """A selected component: its index on the component axis, and its accuracy on the rows it was selected on."""

    component: int
    accuracy: float


@dataclass(frozen=True)
class HeldOut:
    """Components selected on some rows and scored on others.

    Attributes:
        selected: one component for `heldout_train_rows`; two for `heldout_split_half`, selected on the first and on the
            second half.
        accuracy: on the rows not used for selection; for `heldout_split_half`, the mean over the two halves.
    """

    selected: tuple[Selected, ...]
    accuracy: float


def answers_of(contributions: np.ndarray, gold: np.ndarray) -> Answers:
    """Predictions and margins of contributions (example, component, label).

    Raises:
        ValueError: a contribution is NaN or infinite, or shapes do not agree.
    """
    label_credit = credit(contributions)
    return Answers(label_credit, gold, margin(contributions, gold) if len(gold) == len(label_credit) else None)


def oracle_t1(test: Answers) -> Selected:
    """The best component on these rows."""
    return _best(accuracy(test.credit, test.gold), test.margins)


def oracle_b1(test: Answers) -> Selected:
    """The worst component on these rows."""
    margins = None if test.margins is None else -test.margins
    worst = _best(-accuracy(test.credit, test.gold), margins)
    return Selected(worst.component, -worst.accuracy)


def heldout_train_rows(train: Answers, test: Answers) -> HeldOut:
    """The best component on the training rows, scored on the test rows."""
    if train.credit.shape[1:] != test.credit.shape[1:]:
        raise ValueError(
            f"training rows have (component, label) = {train.credit.shape[1:]}, test rows {test.credit.shape[1:]}; "
            "give the same components and labels"
        )
    best = oracle_t1(train)
    return HeldOut((best,), float(accuracy(test.credit, test.gold)[best.component]))


def heldout_split_half(test: Answers, in_first: np.ndarray) -> HeldOut:
    """The best component on each half of the test rows, each scored on the other half.

    Args:
        test: all test rows.
        in_first: (example,) bool, from `balanced_halves`.
    """
    first, second = test.rows(in_first), test.rows(~in_first)
    on_first, on_second = heldout_train_rows(first, second), heldout_train_rows(second, first)
    accuracies = [on_first.accuracy, on_second.accuracy]
    return HeldOut((*on_first.selected, *on_second.selected), float(np.mean(accuracies)))


def credit_of_halves(test: Answers, in_first: np.ndarray, halves: HeldOut) -> np.ndarray:
    """Credit (example, label) of `heldout_split_half`: each half predicted by the component selected on the other."""
    on_first, on_second = (best.component for best in halves.selected)
    return np.where(in_first[:, None], test.credit[:, on_second], test.credit[:, on_first])


def balanced_halves(gold: np.ndarray, example_ids: np.ndarray | None = None, *, seed: int = HALVES_SEED) -> np.ndarray:
    """Random halves of the rows with equally many rows of each label.

    They depend on gold, ids and seed only, so prompts and checkpoints with the same test rows share their halves; with
    ids, they do not depend on the order of the rows. Where labels have an odd number of rows, the first half gets the
    extra row of every other such label.

    Args:
        gold: (example,) label indices.
        example_ids: (example,) unique names.

    Returns:
        (example,) bool, whether the row is in the first half.

    Raises:
        ValueError: there are fewer than two rows, or ids are not unique.
    """
    order = np.arange(len(gold)) if example_ids is None else np.argsort(np.asarray(example_ids), kind="stable")
    if len(gold) < 2 or len(order) != len(gold) or (example_ids is not None and len(set(example_ids)) < len(gold)):
        raise ValueError(f"{len(gold)} rows cannot be halved; give two or more rows, with unique ids or without ids")
    rng = np.random.default_rng(seed)
    in_first = np.zeros(len(gold), bool)
    n_odd = 0
    for label in np.unique(gold):
        rows = rng.permutation(order[gold[order] == label])
        in_first[rows[: (len(rows) + (n_odd % 2 == 0)) // 2]] = True
        n_odd += len(rows) % 2
    return in_first


def _best(values: np.ndarray, margins: np.ndarray | None) -> Selected:
    """The component with the largest value; of several, the one with the largest mean margin; of these, the first."""
    tied = np.flatnonzero(values >= values.max() - SAME_ACCURACY)
    if margins is not None:
        mean = margins[:, tied].mean(0, dtype=np.float64)
        tied = tied[mean == mean.max()]
    return Selected(int(tied[0]), float(values[tied[0]]))
