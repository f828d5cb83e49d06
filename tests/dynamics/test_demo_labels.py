"""Where demonstrations have their label words: in every task and template, after BOS, and where words merge."""

from dataclasses import replace
from pathlib import Path

import pytest

from dynamics.errors import PromptError
from dynamics.mechanisms.label_attention import label_attention
from dynamics.prompts import PromptSet, build_prompts
from dynamics.tasks import TaskRows, get_task
from tests.dynamics import test_prompts_bos as words
from tests.dynamics.raw_rows import PUBLIC, hand_written
from tests.models import VARIANTS, perturbed
from tests.real_rows import REAL_TASKS, needs_real_rows, neox_tokenizer, real_rows

CASES = [(name, template.name) for name in PUBLIC for template in get_task(name).templates]


def rows_of(name: str, folder: Path) -> TaskRows:
    """Real rows where there are any, else written by hand."""
    return real_rows(name) if name in REAL_TASKS else hand_written(name, folder)


def assert_found(prompts: PromptSet, n_shots: int) -> None:
    """Each label word is a token of its own, in order, of as many classes as there are demonstrations of them."""
    positions = [position for position, _ in prompts.demo_labels]
    assert len(positions) == n_shots
    assert positions == sorted(set(positions))
    assert max(positions) < len(prompts.shared_ids)
    for position, label in prompts.demo_labels:
        assert prompts.shared_ids[position] == prompts.label_ids[label]


@needs_real_rows
@pytest.mark.parametrize(("name", "template"), CASES)
def test_label_words_are_found_in_every_task_and_template(name: str, template: str, tmp_path: Path) -> None:
    task, tokenizer = get_task(name), neox_tokenizer()
    rows = rows_of(name, tmp_path)
    prompts = build_prompts(
        task, template, tokenizer, demo_seed=0, n_shots=task.n_labels, n_test=task.n_labels, rows=rows
    )
    assert_found(prompts, task.n_labels)
    assert {label for _, label in prompts.demo_labels} == set(range(task.n_labels))
    text = tokenizer.decode(prompts.shared_ids)
    for position, label in prompts.demo_labels:  # a label word stands at the end of what is decoded up to it
        assert tokenizer.decode(prompts.shared_ids[: position + 1]).endswith(f" {prompts.label_words[label]}")
        assert text.startswith(tokenizer.decode(prompts.shared_ids[: position + 1]))


@pytest.mark.parametrize("name", ["sentiment", "topic", "wordmap"])
def test_label_words_of_the_reference_tasks_are_found(name: str, tokenizer) -> None:
    for template in get_task(name).templates:
        for seed in range(3):
            prompts = build_prompts(
                get_task(name), template.name, tokenizer, demo_seed=seed, n_shots=8, n_test=12, n_train=4
            )
            assert_found(prompts, 8)


@words.with_bos
def test_a_bos_token_moves_them_by_one(how: dict) -> None:
    without, begun = words.prompts(words.tokenizer(), 4), words.prompts(words.tokenizer(**how), 4)
    assert_found(begun, 4)
    assert begun.demo_labels == tuple((position + 1, label) for position, label in without.demo_labels)
    assert [position for position, _ in without.demo_labels] == [3, 7, 11, 15]


def test_without_demonstrations_there_are_none() -> None:
    assert words.prompts(words.tokenizer(), 0).demo_labels == ()


def merging() -> PromptSet:
    """A separator that is one token with the label word before it: `bad;` is no word of the label's token."""
    tokenizer = words.tokenizer()
    tokenizer.add_tokens(["bad;", "good;"])
    task = words.task()
    return words.prompts(tokenizer, 2, replace(task, templates=(replace(task.templates[0], separator=";"),)))


def test_where_a_label_word_merges_with_what_follows_there_are_none_and_attention_is_refused() -> None:
    prompts = merging()
    assert prompts.n_shots_used == 2
    assert prompts.demo_labels == ()
    with pytest.raises(PromptError, match=r"words/plain at 2 shots: .* or another template"):
        label_attention(perturbed(VARIANTS["llama"]), prompts)
