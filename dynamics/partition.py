"""Partition of a task's rows into demonstrations, training rows and test rows."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynamics.errors import PromptError
from dynamics.tasks import Row, Task, TaskRows

PARTITION_SEED = 2406
"""Seed of the partition, of which a task has one: demonstration seeds choose different slices of it."""


@dataclass(frozen=True)
class Selection:
    """Demonstrations, training rows and test rows of one demonstration seed: disjoint, and without repetitions.

    Where a class has too few rows, there are fewer demonstrations or training rows than requested, still balanced.
    `shares_pool`: the pool is too small for every seed up to this one to have rows of its own.
    """

    demonstrations: tuple[Row, ...]
    train: tuple[Row, ...]
    test: tuple[Row, ...]
    shares_pool: bool


def select_rows(task: Task, rows: TaskRows, *, demo_seed: int, n_shots: int, n_test: int, n_train: int) -> Selection:
    """Demonstrations, training rows and test rows of one seed, from the task's seeded partition.

    Test rows are the same for every template, seed and checkpoint. The pool rows of each label are shuffled once; seed
    k gets the k-th slice of them (demonstrations from the front, training rows from the back), so that seeds are
    disjoint while the pool lasts. Beyond its end slices wrap around, and training rows skip the groups of the seed's
    demonstrations. No group has rows both in the pool and in the test rows (`dynamics.tasks.groups`). If `n_train` > 0,
    demonstrations leave one row of each label for training, where it has two.

    Raises:
        PromptError: a label has no rows, or `n_test` is less than one row per label.
    """
    if n_test < task.n_labels:
        raise PromptError(
            f"task {task.name}: n_test is {n_test}, less than one row per label; raise it to {task.n_labels} or more"
        )
    pools = _by_label(task, rows.pool, "pool")
    reserved = 1 if n_train else 0
    limits = [max(1, len(pool) - reserved) for pool in pools]
    demo_counts = _bounded(_balanced_counts(n_shots, task.n_labels, first=demo_seed), limits)
    shots = [
        _rotated(pool, demo_seed * max(demo_counts))[:count] for pool, count in zip(pools, demo_counts, strict=True)
    ]
    requested = _balanced_counts(n_train, task.n_labels)
    demonstrated = {row.group_or_self for label_shots in shots for row in label_shots}
    remaining = [
        [row for row in _rotated(pool[::-1], demo_seed * max(requested)) if row.group_or_self not in demonstrated]
        for pool in pools
    ]
    train_counts = _bounded(requested, [len(group) for group in remaining])
    return Selection(
        demonstrations=shuffle_last_two_apart(
            [row for label_shots in shots for row in label_shots], task_rng(task, "order", demo_seed)
        ),
        train=_interleave([group[:count] for group, count in zip(remaining, train_counts, strict=True)]),
        test=_balanced(_by_label(task, rows.test, "test"), n_test),
        shares_pool=(demo_seed + 1) * (max(demo_counts) + max(requested)) > min(map(len, pools)),
    )


def drop_demonstration(demonstrations: Sequence[Row]) -> tuple[Row, ...]:
    """The demonstrations without the first one of the most frequent label, so that the rest stay balanced."""
    counts = Counter(row.gold for row in demonstrations)
    largest = max(counts.values())
    first = next(i for i, row in enumerate(demonstrations) if counts[row.gold] == largest)
    return (*demonstrations[:first], *demonstrations[first + 1 :])


def _by_label(task: Task, rows: Sequence[Row], part: str) -> list[list[Row]]:
    """The rows of each label, shuffled by the partition seed."""
    order = task_rng(task, part, PARTITION_SEED).permutation(len(rows))
    groups: list[list[Row]] = [[] for _ in range(task.n_labels)]
    for i in order:
        groups[rows[i].gold].append(rows[i])
    empty = [str(label) for label, group in enumerate(groups) if not group]
    if empty:
        raise PromptError(
            f"task {task.name}: label {', '.join(empty)} has no rows in the {part} split; add rows or drop the label"
        )
    return groups


def _balanced_counts(total: int, n_labels: int, first: int = 0) -> list[int]:
    """`total` divided over labels as evenly as possible; label `first` and those after it get the remainder."""
    return [total // n_labels + ((label - first) % n_labels < total % n_labels) for label in range(n_labels)]


def _bounded(counts: Sequence[int], limits: Sequence[int]) -> list[int]:
    """The counts if none exceeds its label's limit, else each cut to the smallest limit, so that they stay balanced."""
    if all(count <= limit for count, limit in zip(counts, limits, strict=True)):
        return list(counts)
    return [min(count, min(limits)) for count in counts]


def _rotated(pool: Sequence[Row], start: int) -> list[Row]:
    """The pool rotated to begin at `start`, which wraps around."""
    start %= len(pool)
    return [*pool[start:], *pool[:start]]


def _interleave(groups: Sequence[Sequence[Row]]) -> tuple[Row, ...]:
    """Label 0, label 1, ..., label 0, ... so that every prefix is as balanced as possible."""
    longest = max(map(len, groups))
    return tuple(group[i] for i in range(longest) for group in groups if i < len(group))


def _balanced(groups: Sequence[Sequence[Row]], total: int) -> tuple[Row, ...]:
    """At most `total` rows, the same number of each label, interleaved."""
    n_per_label = min(total // len(groups), min(map(len, groups)))
    return _interleave([group[:n_per_label] for group in groups])


def shuffle_last_two_apart(rows: Sequence[Row], rng: np.random.Generator) -> tuple[Row, ...]:
    """The rows in a random order whose last two differ in label, where any two do: shuffled until they do."""
    while True:
        shuffled = [rows[i] for i in rng.permutation(len(rows))]
        if len({row.gold for row in rows}) < 2 or shuffled[-1].gold != shuffled[-2].gold:
            return tuple(shuffled)


def task_rng(task: Task, purpose: str, seed: int) -> np.random.Generator:
    """A random generator for one task, purpose and seed.

    A transfer task has the generators of the task whose pool it uses, so that both select the same rows; its test rows
    are its own.
    """
    name = task.name if purpose == "test" else task.demonstrations_of or task.name
    digest = hashlib.sha256(f"{name}|{purpose}|{PARTITION_SEED}".encode()).digest()
    return np.random.default_rng([int.from_bytes(digest[:8], "little"), seed])
