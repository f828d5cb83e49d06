"""Choosing one component: the best and worst in hindsight, and the best chosen on other rows than it is scored on.

The more accurate component wins; a tie goes to the larger mean margin on the rows it is chosen on, then to the first in
order (for the worst component: to the smaller margin, then to the first).

- `oracle_t1`, `oracle_b1`: best and worst on the test rows themselves (paper: T1 and B1), optimistic bounds.
- `heldout_train_rows`: best on the labelled training rows, scored on test: what a user with these labels would get.
- `heldout_split_half`: best on one half of the test rows, scored on the other, both ways, averaged: T1 without its
  optimism, chosen on half as many rows.
"""

from dataclasses import dataclass

import numpy as np

from dynamics.scores import accuracy, credit, margin

HELDOUT_VARIANTS = ("train_rows", "split_half")
HALVES_SEED = 2406
SAME_ACCURACY = 1e-9
"""Credits of 1/3 add up differently in different orders; two accuracies on n rows differ by far more or not at all."""


@dataclass(frozen=True)
class Answers:
    """What every component answered on a set of rows, and what was right.

    Attributes:
        credit: (example, component, label), 1/n_tied at every label a component predicts (`scores.credit`, or
            `scores.decode` of stored predictions).
        gold: (example,) label indices.
        margins: (example, component), `scores.margin`, in logits; None where only predictions are stored, and then a
            tie goes to the first component.
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
            raise ValueError("credit or margins hold NaN or infinity; drop such rows before choosing a component")

    def rows(self, keep: np.ndarray) -> "Answers":
        """Some of the examples: a mask or indices."""
        return Answers(self.credit[keep], self.gold[keep], None if self.margins is None else self.margins[keep])


@dataclass(frozen=True)
class Selected:
    """A chosen component: its index on the component axis, and its accuracy on the rows it was chosen on."""

    component: int
    accuracy: float


@dataclass(frozen=True)
class HeldOut:
    """Components chosen on some rows and scored on others.

    Attributes:
        chosen: one per way of choosing: one for `train_rows`, two for `split_half` (on the first half, on the second).
        accuracy: on the rows that did not choose; the mean of both ways for `split_half`.
    """

    chosen: tuple[Selected, ...]
    accuracy: float


def answers_of(contributions: np.ndarray, gold: np.ndarray) -> Answers:
    """Answers from contributions (example, component, label), with margins.

    Raises:
        ValueError: a contribution is NaN or infinite, or shapes do not agree.
    """
    earned = credit(contributions)
    return Answers(earned, gold, margin(contributions, gold) if len(gold) == len(earned) else None)


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
    chosen = oracle_t1(train)
    return HeldOut((chosen,), float(accuracy(test.credit, test.gold)[chosen.component]))


def heldout_split_half(test: Answers, in_first: np.ndarray) -> HeldOut:
    """The best component on each half of the test rows, scored on the other half.

    Args:
        test: all test rows.
        in_first: (example,) bool, as `balanced_halves` gives it.
    """
    halves = test.rows(in_first), test.rows(~in_first)
    ways = [heldout_train_rows(a, b) for a, b in (halves, halves[::-1])]
    return HeldOut(tuple(way.chosen[0] for way in ways), float(np.mean([way.accuracy for way in ways])))


def answers_of_halves(test: Answers, in_first: np.ndarray, halves: HeldOut) -> np.ndarray:
    """What `heldout_split_half` answers: each half by the component chosen on the other. (example, label) credit."""
    on_first, on_second = (chosen.component for chosen in halves.chosen)
    return np.where(in_first[:, None], test.credit[:, on_second], test.credit[:, on_first])


def balanced_halves(gold: np.ndarray, example_ids: np.ndarray | None = None, *, seed: int = HALVES_SEED) -> np.ndarray:
    """Which rows are in the first half: half of each label's rows, drawn at random.

    Depends on gold, ids and seed only, so prompts and checkpoints with the same test rows share their halves. With ids
    it does not depend on the order of the rows either. Where a label's count is odd, the row left over goes to each
    half in turn.

    Args:
        gold: (example,) label indices.
        example_ids: (example,) unique names.

    Returns:
        (example,) bool.

    Raises:
        ValueError: fewer than two rows, or ids are not unique.
    """
    order = np.arange(len(gold)) if example_ids is None else np.argsort(np.asarray(example_ids), kind="stable")
    if len(gold) < 2 or len(order) != len(gold) or (example_ids is not None and len(set(example_ids)) < len(gold)):
        raise ValueError(f"{len(gold)} rows cannot be halved; give two or more, each with an id of its own or none")
    rng = np.random.default_rng(seed)
    in_first = np.zeros(len(gold), bool)
    n_odd = 0
    for label in np.unique(gold):
        mine = rng.permutation(order[gold[order] == label])
        in_first[mine[: (len(mine) + (n_odd % 2 == 0)) // 2]] = True
        n_odd += len(mine) % 2
    return in_first


def _best(values: np.ndarray, margins: np.ndarray | None) -> Selected:
    """The first component among those with the largest value and, of them, the largest mean margin."""
    tied = np.flatnonzero(values >= values.max() - SAME_ACCURACY)
    if margins is not None:
        mean = margins[:, tied].mean(0, dtype=np.float64)
        tied = tied[mean == mean.max()]
    return Selected(int(tied[0]), float(values[tied[0]]))
