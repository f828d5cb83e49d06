"""Groups of rows that belong together, by an equal text or one source: each stays on one side, pool or test.

Equal texts on both sides put a test row's answer into its prompt; rows of one passage, premise or source are not
independent. Where no two rows belong together, sides are what they would be without groups.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dynamics.errors import PlanError
from dynamics.tasks import Row, TaskRows
from dynamics.tasks.rows import SPLIT_SEED

Texts = Sequence[tuple[str, ...]]
"""Of each template the fields in it: two rows that are equal in them have the same prompt. None: all fields."""


ATTEMPTS = 100
"""Random halves that are tried until each label has rows on both sides; without groups the first one has them."""


def halved(rows: Sequence[Row], where: str, texts: Texts = ()) -> TaskRows:
    """Pool and test rows from a single split: a random half of each label's rows, as far as groups allow.

    An odd row goes to the test rows.

    Args:
        rows: of the split.
        where: what messages call the task.
        texts: of its templates.

    Raises:
        PlanError: a label's rows are of so few groups that one side would have none.
    """
    groups, rng = _groups(rows, texts), np.random.default_rng(SPLIT_SEED)
    in_pool = _random_half(rows, groups, rng)
    for _ in range(ATTEMPTS):
        if _lost(rows, in_pool):
            in_pool = _random_half(rows, groups, rng)
    if lost := _lost(rows, in_pool):
        raise PlanError(
            f"{where}: the rows of label {lost[0]} are of too few groups of equal texts or one source to be both "
            "demonstrated and tested; add rows"
        )
    n_moved = int((in_pool != _random_half(rows, range(len(rows)), np.random.default_rng(SPLIT_SEED))).sum())
    of_pool, of_test = np.flatnonzero(in_pool).tolist(), np.flatnonzero(~in_pool).tolist()
    pool, test = (_named([rows[i] for i in side], [groups[i] for i in side]) for side in (of_pool, of_test))
    notes = (f"{n_moved} of {len(rows)} rows changed sides, so that equal texts and groups stay together",)
    return TaskRows(pool, test, notes=notes if n_moved else (), n_moved=n_moved)


def separated(
    pool: Sequence[Row], test: Sequence[Row], where: str, texts: Texts = (), *, lent: bool = False
) -> TaskRows:
    """Pool and test rows of two splits, without the pool rows that belong to a group of a test row.

    Args:
        pool: rows of the one split.
        test: rows of the other.
        where: what messages call the task.
        texts: of its templates.
        lent: the pool is another task's, which must stay the same in both: it is the test rows that are left out.

    Raises:
        PlanError: no row of some label is left.
    """
    groups = _groups((*pool, *test), texts)
    of_pool, of_test = groups[: len(pool)], groups[len(pool) :]
    kept_pool = pool if lent else _without(pool, of_pool, set(of_test))
    kept_test = _without(test, of_test, set(of_pool)) if lent else test
    side, before, after = ("test", test, kept_test) if lent else ("pool", pool, kept_pool)
    n_dropped = len(before) - len(after)
    if lost := sorted({row.gold for row in before} - {row.gold for row in after}):
        raise PlanError(
            f"{where}: {n_dropped} of {len(before)} {side} rows have the text, or belong to the group, of a row on the "
            f"other side, and none of label {lost[0]} is left; give train and test files with different rows"
        )
    note = f"{n_dropped} of {len(before)} {side} rows are left out: their text or group is on the other side too"
    number = {row.example_id: group for row, group in zip((*pool, *test), groups, strict=True)}
    named = [_named(rows, [number[row.example_id] for row in rows]) for rows in (kept_pool, kept_test)]
    return TaskRows(
        tuple(pool) if lent else named[0], named[1], notes=(note,) if n_dropped else (), n_dropped=n_dropped
    )


def _groups(rows: Sequence[Row], texts: Texts) -> list[int]:
    """The number of each row's group: rows that have a text or a link in common, directly or through others."""
    # here, since plans are checked without grouping rows, and importing it takes as long as the check
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    number: dict[object, int] = {}
    pairs = [(i, number.setdefault(key, len(number))) for i, row in enumerate(rows) for key in _keys(row, texts)]
    row_of, key_of = np.array(pairs, np.int64).reshape(-1, 2).T
    n_nodes = len(rows) + len(number)
    edges = coo_array((np.ones(len(pairs)), (row_of, len(rows) + key_of)), shape=(n_nodes, n_nodes))
    return connected_components(edges, directed=False)[1][: len(rows)].tolist()


def _keys(row: Row, texts: Texts) -> list[object]:
    """What other rows must have too to belong with a row; white space counts for nothing."""
    of_texts = [
        tuple((name, " ".join(row.fields[name].split())) for name in names) for names in texts or [(*row.fields,)]
    ]
    return [*of_texts, *(" ".join(link.split()) for link in row.links)]


def _random_half(rows: Sequence[Row], groups: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """(row,) bool, a random half of each label's rows.

    Label by label and in random order, a group is taken if labels then lack less of their half than before.
    """
    by_label: dict[int, list[int]] = defaultdict(list)
    members: dict[int, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        by_label[row.gold].append(i)
        members[groups[i]].append(i)
    lacking = {label: len(by_label[label]) // 2 for label in by_label}
    seen, half = set(), np.zeros(len(rows), bool)
    for label in sorted(by_label):
        for i in rng.permutation(len(by_label[label])):
            group = groups[by_label[label][i]]
            if group in seen:
                continue
            seen.add(group)
            counts = Counter(rows[j].gold for j in members[group])
            if sum(abs(lacking[y]) - abs(lacking[y] - n) for y, n in counts.items()) > 0:
                half[members[group]] = True
                lacking.update({y: lacking[y] - n for y, n in counts.items()})
    return half


def _lost(rows: Sequence[Row], in_half: np.ndarray) -> list[int]:
    """The labels that have two rows or more, and all of them on one side."""
    sides: dict[int, list[bool]] = defaultdict(list)
    for row, taken in zip(rows, in_half.tolist(), strict=True):
        sides[row.gold].append(taken)
    return sorted(label for label, taken in sides.items() if len(taken) > 1 and len(set(taken)) == 1)


def _without(rows: Sequence[Row], groups: Sequence[int], others: set[int]) -> tuple[Row, ...]:
    return tuple(row for row, group in zip(rows, groups, strict=True) if group not in others)


def _named(rows: Sequence[Row], groups: Sequence[int]) -> tuple[Row, ...]:
    """The rows with the id of the first one in their group as its name; None for a row that belongs to no other."""
    sizes, first = Counter(groups), {}
    for row, group in zip(rows, groups, strict=True):
        first.setdefault(group, row.example_id)
    return tuple(
        replace(row, group=first[group] if sizes[group] > 1 else None) for row, group in zip(rows, groups, strict=True)
    )
