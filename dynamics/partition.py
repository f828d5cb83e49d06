"""Which rows of a task are demonstrations, training rows and test rows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynamics.errors import PromptError
from dynamics.tasks import Row, Task, TaskRows

PARTITION_SEED = 2406
"""Decides which rows are demonstrations, training rows and test rows: one partition per task, for every seed."""


@dataclass(frozen=True)
class Selection:
    """Which rows play which part for one demonstration seed."""

    demonstrations: tuple[Row, ...]
    train: tuple[Row, ...]
    test: tuple[Row, ...]
    shares_pool: bool


def select_rows(task: Task, rows: TaskRows, *, demo_seed: int, n_shots: int, n_test: int, n_train: int) -> Selection:
    """Demonstrations, training rows and test rows of one seed, from one seeded partition of the task.

    Test rows are the same for every template, seed and checkpoint. Each label's pool rows are shuffled once; seed k
    takes its own slice of them (demonstrations from the front, training rows from the back), so that seeds are
    disjoint for as long as the pool lasts and wrap around after that.
    """
    by_label = _by_label(task, rows.pool, "pool")
    demo_counts = _balanced_counts(n_shots, task.n_labels, first=demo_seed)
    train_counts = _balanced_counts(n_train, task.n_labels)
    picked = [
        _slice(pool, demo_seed, max(demo_counts), count) for pool, count in zip(by_label, demo_counts, strict=True)
    ]
    trained = [
        _slice(pool[::-1], demo_seed, max(train_counts), count)
        for pool, count in zip(by_label, train_counts, strict=True)
    ]
    need = (demo_seed + 1) * (max(demo_counts) + max(train_counts))
    order = rng_of(task, "order", demo_seed)
    return Selection(
        demonstrations=_shuffle_last_two_apart([row for part in picked for row in part], order),
        train=_interleave(trained),
        test=_balanced(_by_label(task, rows.test, "test"), n_test),
        shares_pool=need > min(map(len, by_label)),
    )


def _by_label(task: Task, rows: Sequence[Row], part: str) -> list[list[Row]]:
    """Rows of each label, shuffled by the task's partition seed."""
    order = rng_of(task, part, PARTITION_SEED).permutation(len(rows))
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


def _slice(pool: Sequence[Row], seed: int, width: int, count: int) -> list[Row]:
    """`count` rows of the seed's slice of `width` rows, wrapping around a pool that is too small."""
    return [pool[(seed * width + i) % len(pool)] for i in range(count)]


def _interleave(groups: Sequence[Sequence[Row]]) -> tuple[Row, ...]:
    """Label 0, label 1, ..., label 0, ... so that every prefix is as balanced as it can be."""
    longest = max(map(len, groups))
    return tuple(group[i] for i in range(longest) for group in groups if i < len(group))


def _balanced(groups: Sequence[Sequence[Row]], total: int) -> tuple[Row, ...]:
    """At most `total` rows, the same number of each label, interleaved."""
    each = min(total // len(groups), min(map(len, groups)))
    return _interleave([group[:each] for group in groups])


def _shuffle_last_two_apart(rows: Sequence[Row], rng: np.random.Generator) -> tuple[Row, ...]:
    """Rows in random order, drawn again until the last two differ in label where any two do."""
    while True:
        shuffled = [rows[i] for i in rng.permutation(len(rows))]
        if len({row.gold for row in rows}) < 2 or shuffled[-1].gold != shuffled[-2].gold:
            return tuple(shuffled)


def rng_of(task: Task, purpose: str, seed: int) -> np.random.Generator:
    """A generator of its own for every task, purpose and seed."""
    digest = hashlib.sha256(f"{task.name}|{purpose}|{PARTITION_SEED}".encode()).digest()
    return np.random.default_rng([int.from_bytes(digest[:8], "little"), seed])
