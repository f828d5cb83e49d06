"""Groups: equal texts and rows of one source stay on one side, and nothing moves where there are none."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from string import Formatter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.errors import PlanError
from dynamics.partition import select_rows
from dynamics.tasks import Row, TaskRows, fingerprint, get_task
from dynamics.tasks.groups import halved, separated
from tests.dynamics.raw_rows import PUBLIC, hand_written, source_of

REFERENCE = ("sentiment", "topic", "wordmap")
GROUPED = ("boolq", "boolq_cst", "mnli", "mednli", "rte", "cb", "qqp", "mrpc")
SST2 = get_task("sst2")


def rows_of(texts: str, golds: str, prefix: str = "r", links: str = "") -> tuple[Row, ...]:
    """A row for each character; a blank among `links` is none."""
    of_rows = [(link,) if link.strip() else () for link in links.ljust(len(texts))]
    return tuple(
        Row(f"{prefix}{i:02}", {"text": text}, int(gold), link)
        for i, (text, gold, link) in enumerate(zip(texts, golds, of_rows, strict=True))
    )


def ids(rows: tuple[Row, ...]) -> list[str]:
    """Their ids."""
    return [row.example_id for row in rows]


many_rows = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 12)), min_size=1, max_size=40)


@given(many_rows)
def test_no_text_and_no_link_is_ever_on_both_sides(drawn: list[tuple[int, int, int]]) -> None:
    rows = tuple(
        Row(f"r{i:02}", {"text": f"t{text}" if text else f"own {i}"}, gold, (f"l{link}",) if link < 4 else ())
        for i, (text, gold, link) in enumerate(drawn)
    )
    try:
        halves = halved(rows, "task")
    except PlanError:
        return
    assert sorted(ids(halves.pool + halves.test)) == ids(rows)
    for one, other in ((a, b) for a in halves.pool for b in halves.test):
        assert one.fields != other.fields
        assert not set(one.links) & set(other.links)
        assert one.group_or_self != other.group_or_self
    for side in (halves.pool, halves.test):
        assert all(a.group == b.group is not None for a, b in combinations(side, 2) if a.fields == b.fields)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40))
def test_without_groups_the_halves_are_a_random_half_of_each_label(golds: list[int]) -> None:
    """What they were before there were groups, row by row."""
    rows = tuple(Row(f"r{i:02}", {"text": str(i)}, gold) for i, gold in enumerate(golds))
    rng, pool = np.random.default_rng(2406), set()
    for label in sorted(set(golds)):
        of_label = [row.example_id for row in rows if row.gold == label]
        pool |= {of_label[i] for i in rng.permutation(len(of_label))[: len(of_label) // 2]}
    halves = halved(rows, "task")
    assert halves == TaskRows(
        tuple(row for row in rows if row.example_id in pool), tuple(row for row in rows if row.example_id not in pool)
    )


def test_twelve_texts_in_sixty_rows_stay_on_one_side_each_and_are_counted() -> None:
    rows = rows_of("abcdefghijkl" * 5, "01" * 30)
    halves = halved(rows, "task")
    texts = [{row.fields["text"] for row in side} for side in (halves.pool, halves.test)]
    assert not texts[0] & texts[1]
    assert [Counter(row.gold for row in side) for side in (halves.pool, halves.test)] == [{0: 15, 1: 15}] * 2
    assert len({row.group for row in halves.test}) == len(texts[1]) == 6
    assert halves.n_moved > 0
    assert halves.notes == (f"{halves.n_moved} of 60 rows changed sides, so that equal texts and groups stay together",)


def test_white_space_tells_no_texts_apart_and_a_chain_of_links_is_one_group() -> None:
    rows = (*rows_of("abcd", "0101", links="xx  "), Row("r04", {"text": "b"}, 0), Row("r05", {"text": " d\n"}, 1))
    sides = halved(rows, "task")
    sets = {frozenset(ids(sides.pool)), frozenset(ids(sides.test))}
    assert any({"r00", "r01", "r04"} <= side for side in sets)
    assert any({"r03", "r05"} <= side for side in sets)
    assert {row.group for row in sides.pool + sides.test} == {"r00", "r03", None}


def test_a_label_of_one_group_cannot_be_on_both_sides() -> None:
    with pytest.raises(PlanError, match=r"^task t: the rows of label 1 are of too few groups of equal texts"):
        halved(rows_of("abcdeeee", "00001111"), "task t")


def test_pool_rows_in_a_group_of_a_test_row_are_left_out() -> None:
    pool, test = rows_of("abcdef", "010100", "p", "xyxz  "), rows_of("ghae", "0101", "t", "   z")
    rows = separated(pool, test, "task")
    assert ids(rows.pool) == ["p01", "p05"]
    assert ids(rows.test) == ids(test)
    assert rows.n_dropped == 4
    assert rows.notes == ("4 of 6 pool rows are left out: their text or group is on the other side too",)
    assert separated(pool, rows_of("ghij", "0101", "t"), "task").n_dropped == 0


def test_of_a_lent_pool_nothing_is_left_out_but_test_rows_are() -> None:
    pool, test = rows_of("abcd", "0101", "p"), rows_of("aefg", "0101", "t")
    rows = separated(pool, test, "task", lent=True)
    assert rows.pool == pool
    assert ids(rows.test) == ["t01", "t02", "t03"]
    assert rows.notes == ("1 of 4 test rows are left out: their text or group is on the other side too",)


@pytest.mark.parametrize("lent", [True, False])
def test_equal_splits_are_refused(lent: bool) -> None:
    rows = rows_of("abcd", "0101")
    side = "test" if lent else "pool"
    with pytest.raises(PlanError, match=f"^task t: 4 of 4 {side} rows have the text, .* none of label 0 is left; give"):
        separated(rows, tuple(reversed(rows)), "task t", lent=lent)


def test_training_rows_are_of_other_groups_than_demonstrations() -> None:
    pool = halved(rows_of("aabbccddeeffgghhiijj" * 2, "01" * 20, "p"), "task").pool
    rows = TaskRows(pool, rows_of("klmn", "0101", "t"))
    for seed in range(5):
        chosen = select_rows(SST2, rows, demo_seed=seed, n_shots=2, n_test=4, n_train=8)
        assert chosen.train
        assert not {row.group for row in chosen.train} & {row.group for row in chosen.demonstrations}


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_tasks_have_no_equal_texts_so_that_their_rows_stay(name: str) -> None:
    task = get_task(name)
    rows = task.load(None)
    texts = [
        tuple(field for _, field, _, _ in Formatter().parse(template.text) if field not in (None, "label"))
        for template in task.templates
    ]
    assert separated(rows.pool, rows.test, name, texts) == rows


def test_groups_are_part_of_the_fingerprint_and_no_group_leaves_it_as_it_was() -> None:
    assert fingerprint(get_task("sentiment"), get_task("sentiment").load(None)) == "a5034352f070f3d6"
    rows = TaskRows(rows_of("abcd", "0101", "p"), rows_of("efgh", "0101", "t"))
    grouped = replace(rows, pool=tuple(replace(row, group="p00") for row in rows.pool))
    assert fingerprint(SST2, grouped) != fingerprint(SST2, rows)
    assert fingerprint(SST2, replace(rows, pool=rows.pool[:3])) != fingerprint(SST2, rows)


@pytest.mark.parametrize("name", PUBLIC)
def test_tasks_on_pairs_of_texts_have_a_group(name: str, tmp_path: Path) -> None:
    columns = source_of(get_task(name)).source.columns
    rows = hand_written(name, tmp_path)
    assert bool(columns.groups) == (name in GROUPED)
    assert all(len(row.links) == len(columns.groups) for row in rows.test)
    assert all(set(row.links) <= set(row.fields.values()) for row in rows.pool + rows.test)
