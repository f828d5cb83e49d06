"""Selection of one component: the best and the worst on the test rows, and the best on rows other than the scored ones.

The more accurate component is selected, the less accurate one as the worst; ties go to the larger mean gap between a
component's largest and second largest logit (`dynamics.scores.gap`), then to the first component. The gap needs no gold
label, so it is taken over all rows that are scored, their halves included, and permuted labels leave it as it is: the
analyses follow the same rule in every replicate, by the gaps in `component_scores`.

- `oracle_t1`, `oracle_b1`: best and worst on the test rows themselves (paper: T1 and B1), optimistic bounds.
- `heldout_train_rows`: best on the labelled training rows, scored on the test rows: what a user with these labels
  would get.
- `heldout_split_half`: best on one half of the test rows, scored on the other, averaged over the two halves: T1 without
  its optimism, selected on half as many rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dynamics.scores import at_gold, credit, mean_gap

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
        gaps: (component,), `scores.mean_gap` over all rows, in logits; None where only predictions are stored, and
            ties go to the first component.
    """

    credit: np.ndarray
    gold: np.ndarray
    gaps: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.credit.shape
        if len(shape) != 3 or 0 in shape or self.gold.shape != shape[:1] or self.gold.max() >= shape[2]:
            raise ValueError(
                f"credit of shape {shape} and gold of shape {self.gold.shape}; give (example, component, label) and "
                "(example,) with at least one example"
            )
        if self.gaps is not None and self.gaps.shape != shape[1:2]:
            raise ValueError(f"gaps of shape {self.gaps.shape}; give (component,) = {shape[1:2]}")
        if not np.isfinite(self.credit).all() or (self.gaps is not None and not np.isfinite(self.gaps).all()):
            raise ValueError("credit or gaps hold NaN or infinity; drop such rows before selecting a component")

    @cached_property
    def correct(self) -> np.ndarray:
        """(example, component), credit at the gold label."""
        return at_gold(self.credit, self.gold)

    def components(self, index: np.ndarray) -> "Answers":
        """The components of a mask, or at some positions."""
        return Answers(self.credit[:, index], self.gold, None if self.gaps is None else self.gaps[index])


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
    """Predictions and gaps of contributions (example, component, label).

    Raises:
        ValueError: a contribution is NaN or infinite, or shapes do not agree.
    """
    return Answers(credit(contributions), gold, mean_gap(contributions))


def oracle_t1(test: Answers) -> Selected:
    """The best component on these rows."""
    return _best(test.correct.mean(0), test.gaps)


def oracle_b1(test: Answers) -> Selected:
    """The worst component on these rows."""
    worst = _best(-test.correct.mean(0), test.gaps)
    return Selected(worst.component, -worst.accuracy)


def heldout_train_rows(train: Answers, test: Answers) -> HeldOut:
    """The best component on the training rows, scored on the test rows."""
    if train.credit.shape[1:] != test.credit.shape[1:]:
        raise ValueError(
            f"training rows have (component, label) = {train.credit.shape[1:]}, test rows {test.credit.shape[1:]}; "
            "give the same components and labels"
        )
    best = oracle_t1(train)
    return HeldOut((best,), float(test.correct[:, best.component].mean()))


def heldout_split_half(test: Answers, in_first: np.ndarray) -> HeldOut:
    """The best component on each half of the test rows, each scored on the other half.

    Args:
        test: all test rows.
        in_first: (example,) bool, from `balanced_halves`.
    """
    by_half = [test.correct[half].mean(0) for half in (in_first, ~in_first)]
    on_first, on_second = (_best(accuracy, test.gaps) for accuracy in by_half)
    accuracies = [by_half[1][on_first.component], by_half[0][on_second.component]]
    return HeldOut((on_first, on_second), float(np.mean(accuracies)))


def credit_of_halves(test: Answers, in_first: np.ndarray, halves: HeldOut) -> np.ndarray:
    """Credit (example, label) of `heldout_split_half`: each half predicted by the component selected on the other."""
    on_first, on_second = (best.component for best in halves.selected)
    return np.where(in_first[:, None], test.credit[:, on_second], test.credit[:, on_first])


def balanced_halves(
    gold: np.ndarray,
    example_ids: np.ndarray | None = None,
    groups: Sequence[str | None] | None = None,
    *,
    seed: int = HALVES_SEED,
) -> np.ndarray:
    """Random halves of the rows with equally many rows of each label; rows of one group are in the same half.

    They depend on gold, ids, groups and seed only, so prompts and checkpoints with the same test rows share their
    halves; with ids, they do not depend on the order of the rows. Where labels have an odd number of rows, the first
    half gets the extra row of every other such label. With groups, numbers are as equal as groups allow: these are
    placed in a random order, the largest first, each in the half that then has fewer rows of its labels.

    Args:
        gold: (example,) label indices.
        example_ids: (example,) unique names.
        groups: (example,) the group of each row, None for a lone one; None where all rows are alone.

    Returns:
        (example,) bool, whether the row is in the first half.

    Raises:
        ValueError: there are fewer than two rows or groups, or ids are not unique.
    """
    order = np.arange(len(gold)) if example_ids is None else np.argsort(np.asarray(example_ids), kind="stable")
    if len(gold) < 2 or len(order) != len(gold) or (example_ids is not None and len(set(example_ids)) < len(gold)):
        raise ValueError(f"{len(gold)} rows cannot be halved; give two or more rows, with unique ids or without ids")
    rng = np.random.default_rng(seed)
    in_first = np.zeros(len(gold), bool)
    members = group_members(groups)
    if members:
        return _grouped_halves(gold, order, [np.array(rows) for rows in members], rng)
    n_odd = 0
    for label in np.unique(gold):
        rows = rng.permutation(order[gold[order] == label])
        in_first[rows[: (len(rows) + (n_odd % 2 == 0)) // 2]] = True
        n_odd += len(rows) % 2
    return in_first


def group_members(groups: Sequence[str | None] | None) -> list[list[int]]:
    """The rows of each group of two or more, in the order of first rows; empty where all rows are alone."""
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups or ()):
        if group is not None:
            members.setdefault(group, []).append(i)
    return [rows for rows in members.values() if len(rows) > 1]


def _grouped_halves(
    gold: np.ndarray, order: np.ndarray, groups: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """`balanced_halves` of rows of which some belong together; `order` is that of the ids."""
    together = {int(i) for rows in groups for i in rows}
    blocks = [*groups, *(np.array([i]) for i in order.tolist() if i not in together)]
    if len(blocks) < 2:
        raise ValueError(f"{len(gold)} rows of one group cannot be halved; give rows of two or more groups")
    rank = np.argsort(order)
    blocks.sort(key=lambda rows: int(rank[rows].min()))
    shuffled = [blocks[i] for i in rng.permutation(len(blocks))]
    labels = [np.bincount(gold[rows], minlength=int(gold.max()) + 1) for rows in shuffled]
    in_first = np.zeros(len(gold), bool)
    surplus = np.zeros(int(gold.max()) + 1, np.int64)
    for i in sorted(range(len(shuffled)), key=lambda i: -len(shuffled[i])):
        change = int((2 * surplus * labels[i]).sum())
        to_first = change < 0 or (change == 0 and (surplus.sum() < 0 or (surplus.sum() == 0 and rng.random() < 0.5)))
        in_first[shuffled[i]] = to_first
        surplus += labels[i] if to_first else -labels[i]
    return in_first


def _best(values: np.ndarray, gaps: np.ndarray | None) -> Selected:
    """The component with the largest value; of several, the one with the largest mean gap; of these, the first."""
    tied = np.flatnonzero(values >= values.max() - SAME_ACCURACY)
    if gaps is not None:
        tied = tied[gaps[tied] == gaps[tied].max()]
    return Selected(int(tied[0]), float(values[tied[0]]))
