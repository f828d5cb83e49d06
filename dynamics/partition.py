"""Which rows of a task are demonstrations, training rows and test rows."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynamics.errors import PromptError
from dynamics.tasks import Row, Task, TaskRows

PARTITION_SEED = 2406
"""Decides which rows are demonstrations, training rows and test rows: one partition per task, for every seed."""


@dataclass(frozen=True)
class Selection:
    """Which rows play which part for one demonstration seed; no row plays two, none is twice in `demonstrations`.

    Where a class has too few rows there are fewer demonstrations or training rows than asked for, balanced all the
    same. `shares_pool` says that this seed's rows may also be another seed's.
    """

    demonstrations: tuple[Row, ...]
    train: tuple[Row, ...]
    test: tuple[Row, ...]
    shares_pool: bool


def select_rows(task: Task, rows: TaskRows, *, demo_seed: int, n_shots: int, n_test: int, n_train: int) -> Selection:
    """Demonstrations, training rows and test rows of one seed, from one seeded partition of the task.

    Test rows are the same for every template, seed and checkpoint. Each label's pool rows are shuffled once; seed k
    takes its own slice of them (demonstrations from the front, training rows from the back), so that seeds are
    disjoint for as long as the pool lasts. After that they wrap around, and training rows pass over the seed's own
    demonstrations. A class leaves one row for training where that is asked for.

    Raises:
        PromptError: a label has no rows, or the test set could not hold one row of each.
    """
    if n_test < task.n_labels:
        raise PromptError(f"task {task.name}: n_test = {n_test} is less than one row a label; ask for {task.n_labels}")
    by_label = _by_label(task, rows.pool, "pool")
    reserved = 1 if n_train else 0
    room = [max(1, len(pool) - reserved) for pool in by_label]
    demo_counts = _within(room, _balanced_counts(n_shots, task.n_labels, first=demo_seed))
    picked = [
        _from(pool, demo_seed * max(demo_counts))[:count] for pool, count in zip(by_label, demo_counts, strict=True)
    ]
    asked = _balanced_counts(n_train, task.n_labels)
    left = [
        [row for row in _from(pool[::-1], demo_seed * max(asked)) if row not in shots]
        for pool, shots in zip(by_label, picked, strict=True)
    ]
    train_counts = _within([len(group) for group in left], asked)
    return Selection(
        demonstrations=shuffle_last_two_apart(
            [row for part in picked for row in part], task_rng(task, "order", demo_seed)
        ),
        train=_interleave([group[:count] for group, count in zip(left, train_counts, strict=True)]),
        test=_balanced(_by_label(task, rows.test, "test"), n_test),
        shares_pool=(demo_seed + 1) * (max(demo_counts) + max(asked)) > min(map(len, by_label)),
    )


def drop_demonstration(demonstrations: Sequence[Row]) -> tuple[Row, ...]:
    """One demonstration fewer: the first of the label that has most, so that the rest stay balanced."""
    counts = Counter(row.gold for row in demonstrations)
    most = max(counts.values())
    first = next(i for i, row in enumerate(demonstrations) if counts[row.gold] == most)
    return (*demonstrations[:first], *demonstrations[first + 1 :])


def _by_label(task: Task, rows: Sequence[Row], part: str) -> list[list[Row]]:
    """Rows of each label, shuffled by the task's partition seed."""
    order = task_rng(task, part, PARTITION_SEED).permutation(len(rows))
    groups: list[list[Row]] = [[] for _ in range(task.n_labels)]
    for i in order:
        groups[rows[i].gold].append(rows[i])
    empty = [str(label) for label, group in enumerate(groups) if not group]
    if empty:
        raise PromptError(f"task {task.name}: label {', '.join(empty)} has no rows in the {part} split")
    return groups


def _balanced_counts(total: int, n_labels: int, first: int = 0) -> list[int]:
    """`total` spread over labels as evenly as it goes; label `first` and those after it take what is over."""
    return [total // n_labels + ((label - first) % n_labels < total % n_labels) for label in range(n_labels)]


def _within(room: Sequence[int], counts: Sequence[int]) -> list[int]:
    """The counts where every label has that many rows, else the same number of each label that all have."""
    if all(count <= rows for count, rows in zip(counts, room, strict=True)):
        return list(counts)
    return [min(count, min(room)) for count in counts]


def _from(pool: Sequence[Row], start: int) -> list[Row]:
    """The pool once, beginning at `start` and wrapping around."""
    start %= len(pool)
    return [*pool[start:], *pool[:start]]


def _interleave(groups: Sequence[Sequence[Row]]) -> tuple[Row, ...]:
    """Label 0, label 1, ..., label 0, ... so that every prefix is as balanced as it can be."""
    longest = max(map(len, groups))
    return tuple(group[i] for i in range(longest) for group in groups if i < len(group))


def _balanced(groups: Sequence[Sequence[Row]], total: int) -> tuple[Row, ...]:
    """At most `total` rows, the same number of each label, interleaved."""
    each = min(total // len(groups), min(map(len, groups)))
    return _interleave([group[:each] for group in groups])


def shuffle_last_two_apart(rows: Sequence[Row], rng: np.random.Generator) -> tuple[Row, ...]:
    """Rows in random order, drawn again until the last two differ in label where any two do."""
    while True:
        shuffled = [rows[i] for i in rng.permutation(len(rows))]
        if len({row.gold for row in rows}) < 2 or shuffled[-1].gold != shuffled[-2].gold:
            return tuple(shuffled)


def task_rng(task: Task, purpose: str, seed: int) -> np.random.Generator:
    """A generator of its own for every task, purpose and seed; a transfer task draws as the owner of its pool does."""
    owner = task.name if purpose == "test" else task.demonstrations_of or task.name
    digest = hashlib.sha256(f"{owner}|{purpose}|{PARTITION_SEED}".encode()).digest()
    return np.random.default_rng([int.from_bytes(digest[:8], "little"), seed])
