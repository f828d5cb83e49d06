"""Pools that are too small, and prompts that do not fit: fewer demonstrations, said so, and never a wrong one."""

from collections import Counter

import pytest
from transformers import PreTrainedTokenizerBase

from dynamics.errors import PromptError
from dynamics.partition import drop_demonstration, select_rows
from dynamics.prompts import PromptSet, build_prompts, fitting_rows
from dynamics.tasks import Row, Task, TaskRows, Template, get_task
from tests.real_rows import needs_real_rows, neox_tokenizer, real_rows

TEMPLATE = Template("plain", "{text} {label}", " . ")
SECOND = ("a", "about", "again", "and", "here", "in", "it", "now", "of")


def rows_of(counts: dict[int, int], prefix: str) -> tuple[Row, ...]:
    """So many rows of each label, with texts of two words."""
    numbered = [(label, i) for label in counts for i in range(counts[label])]
    return tuple(Row(f"{prefix}{label}-{i}", {"text": f"moving {SECOND[i % 9]}"}, label) for label, i in numbered)


def task_of(pool: dict[int, int], test: tuple[Row, ...] | None = None) -> Task:
    """A task with so many pool rows of each label; four words a demonstration with its separator."""
    words = ("World", "Sports", "Business")[: len(pool)]
    rows = TaskRows(rows_of(pool, "p"), test or rows_of(dict.fromkeys(pool, 4), "t"))
    return Task("toy", len(pool), words, (TEMPLATE,), lambda _: rows, "made here")


def build(task: Task, tokenizer: PreTrainedTokenizerBase, **changes) -> PromptSet:
    """Prompts of a task, 4-shot unless changed."""
    settings = {"demo_seed": 0, "n_shots": 4, "n_test": 8, "n_train": 0, **changes}
    return build_prompts(task, "plain", tokenizer, **settings)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("pool", "n_shots", "n_train"), [((9, 9), 8, 8), ((14, 11, 2), 24, 24), ((3, 2), 4, 4)])
def test_no_row_plays_two_parts_or_the_same_part_twice(
    pool: tuple[int, ...], n_shots: int, n_train: int, seed: int
) -> None:
    task = task_of(dict(enumerate(pool)))
    chosen = select_rows(task, task.load(None), demo_seed=seed, n_shots=n_shots, n_test=6, n_train=n_train)
    ids = [row.example_id for row in (*chosen.demonstrations, *chosen.train, *chosen.test)]
    assert len(ids) == len(set(ids))
    assert chosen.demonstrations
    assert chosen.train
    for part in (chosen.demonstrations, chosen.train):
        counts = Counter(row.gold for row in part)
        assert len(counts) == len(pool)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_a_class_with_few_rows_bounds_the_demonstrations_of_all(tokenizer: PreTrainedTokenizerBase) -> None:
    prompts = build(task_of({0: 14, 1: 11, 2: 2}), tokenizer, n_shots=24, n_test=9)
    assert (prompts.n_shots, prompts.n_shots_used) == (24, 6)


def test_a_class_with_enough_rows_for_its_share_bounds_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    assert build(task_of({0: 9, 1: 9, 2: 1}), tokenizer, n_shots=4, n_test=9).n_shots_used == 4
    assert build(task_of({0: 9, 1: 9, 2: 1}), tokenizer, n_shots=4, n_test=9, demo_seed=2).n_shots_used == 3


def test_seeds_share_a_pool_only_when_it_is_used_up() -> None:
    task = task_of({0: 10, 1: 10})
    chosen = [select_rows(task, task.load(None), demo_seed=s, n_shots=4, n_test=8, n_train=0) for s in range(7)]
    assert [c.shares_pool for c in chosen] == [False] * 5 + [True] * 2
    first = [row for c in chosen[:5] for row in c.demonstrations]
    assert len({row.example_id for row in first}) == 20


def test_the_test_set_is_balanced_on_what_there_is(tokenizer: PreTrainedTokenizerBase) -> None:
    task = task_of({0: 5, 1: 5}, test=rows_of({0: 30, 1: 3}, "t"))
    assert build(task, tokenizer, n_test=2000).gold == (0, 1) * 3


@pytest.mark.parametrize("part", ["pool", "test"])
def test_only_an_empty_class_is_refused(part: str, tokenizer: PreTrainedTokenizerBase) -> None:
    empty = {"pool": task_of({0: 5, 1: 0}), "test": task_of({0: 5, 1: 5}, test=rows_of({0: 3}, "t"))}[part]
    with pytest.raises(PromptError, match=f"task toy: label 1 has no rows in the {part} split"):
        build(empty, tokenizer)


def test_a_test_set_without_a_row_of_each_label_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(PromptError, match="task toy: n_test is 1, less than one row per label; raise it to 2 or more"):
        build(task_of({0: 5, 1: 5}), tokenizer, n_test=1)


@pytest.mark.parametrize("golds", ["ABAB", "BAAB", "AABBAB", "ABCABC", "CABAC", "AB"])
def test_dropping_keeps_balance_and_order(golds: str) -> None:
    shots = tuple(Row(str(i), {}, "ABC".index(gold)) for i, gold in enumerate(golds))
    spread = max(Counter(golds).values()) - min(Counter(golds).values())
    while shots:
        before, shots = shots, drop_demonstration(shots)
        assert len(shots) == len(before) - 1
        assert [row for row in before if row in shots] == list(shots)
        counts = [Counter(row.gold for row in shots)["ABC".index(gold)] for gold in sorted(set(golds))]
        assert max(counts) - min(counts) <= max(1, spread)


@pytest.mark.parametrize(("room", "used"), [(18, 4), (17, 3), (14, 3), (13, 2), (9, 1), (5, 0), (2, 0)])
def test_demonstrations_are_dropped_until_the_longest_prompt_fits(
    room: int, used: int, tokenizer: PreTrainedTokenizerBase
) -> None:
    """A demonstration is 4 tokens, the query 2: four of them fit 18."""
    prompts = build(task_of({0: 9, 1: 9}), tokenizer, max_length=room)
    assert prompts.n_shots_used == used
    assert max(len(prompts.token_ids(i)) for i in range(8)) == 4 * used + 2 <= room
    assert prompts.gold == (0, 1) * 4
    assert not prompts.skipped


def test_the_last_demonstrations_are_the_ones_that_stay(tokenizer: PreTrainedTokenizerBase) -> None:
    task = task_of({0: 9, 1: 9})
    whole, cut = build(task, tokenizer), build(task, tokenizer, max_length=13)
    assert len(whole.token_ids(0)) == 18
    assert whole.token_ids(0)[8:] == cut.token_ids(0)
    assert whole.example_id == cut.example_id


def test_a_row_too_long_for_any_demonstration_is_skipped_and_costs_the_others_none(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    long = Row("long", {"text": "warm " * 19 + "moving"}, 0)
    test = (*rows_of({0: 3, 1: 4}, "t"), long)
    prompts = build(task_of({0: 9, 1: 9}, test=test), tokenizer, max_length=18, n_train=2)
    assert prompts.skipped == (("test", "long", 0, "20 tokens without demonstrations; the model reads 18"),)
    assert "long" not in prompts.example_id
    assert len(prompts.example_id) == 2 + 7
    assert prompts.split.count("train") == 2
    assert prompts.n_shots_used == 4


def test_when_no_test_row_fits_it_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(PromptError, match="task toy, template plain: no test row fits the model's 1 tokens"):
        build(task_of({0: 9, 1: 9}), tokenizer, max_length=1)


@pytest.mark.parametrize(("room", "used"), [(None, 4), (18, 4), (13, 2), (2, 0)])
def test_other_uses_of_the_labels_have_the_same_ones(
    room: int | None, used: int, tokenizer: PreTrainedTokenizerBase
) -> None:
    task = task_of({0: 9, 1: 9}, test=(*rows_of({0: 4, 1: 4}, "t"), Row("long", {"text": "warm " * 40 + "moving"}, 0)))
    chosen = select_rows(task, task.load(None), demo_seed=0, n_shots=4, n_test=10, n_train=4)
    fitting = fitting_rows(task, "plain", tokenizer, chosen, demo_seed=0, max_length=room)
    prompts = build(task, tokenizer, n_test=10, n_train=4, max_length=room)
    assert fitting.demonstrations == chosen.demonstrations[len(chosen.demonstrations) - used :]
    assert len(fitting.demonstrations) == prompts.n_shots_used
    assert [row.example_id for row in fitting.train] == list(prompts.example_id[: prompts.split.count("train")])
    assert fitting.test == chosen.test


@needs_real_rows
@pytest.mark.parametrize(("name", "n_shots", "fits"), [("boolq", 12, 4), ("rte", 24, 2)])
def test_real_prompts_that_overflow_2048_lose_demonstrations(name: str, n_shots: int, fits: int) -> None:
    task, rows, used = get_task(name), real_rows(name), []
    for seed in range(5):
        prompts = build_prompts(
            task,
            task.templates[0].name,
            neox_tokenizer(),
            demo_seed=seed,
            n_shots=n_shots,
            n_test=132,
            rows=rows,
            max_length=2048,
        )
        longest = max(len(prompts.token_ids(i)) for i in range(len(prompts.own_ids)))
        assert longest <= 2048
        assert not prompts.skipped
        used.append(prompts.n_shots_used)
    assert min(used) >= n_shots // 2
    assert used.count(n_shots) == fits


@needs_real_rows
def test_real_cb_has_too_few_neutral_rows() -> None:
    """Its 5 neutral rows give 2 to the pool and 3 to the test."""
    task, rows = get_task("cb"), real_rows("cb")
    prompts = build_prompts(task, "believes", neox_tokenizer(), demo_seed=1, n_shots=24, n_test=2000, rows=rows)
    assert prompts.n_shots_used == 6
    assert prompts.shares_pool
    assert Counter(prompts.gold) == {0: 3, 1: 3, 2: 3}


@needs_real_rows
def test_a_real_row_too_long_for_a_short_context_is_skipped() -> None:
    rows = real_rows("boolq")
    prompts = build_prompts(
        get_task("boolq"), "paper", neox_tokenizer(), demo_seed=0, n_shots=0, n_test=600, rows=rows, max_length=500
    )
    assert 0 < len(prompts.skipped) < 20
    assert len(prompts.skipped) + len(prompts.example_id) == 600
