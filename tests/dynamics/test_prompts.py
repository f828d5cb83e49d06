"""Prompts: golden strings, the partition of rows, and every guard."""

from dataclasses import replace

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from dynamics.errors import PlanError, PromptError
from dynamics.prompt_encoder import label_words, prompt_text
from dynamics.prompts import PromptSet, build_prompts, select_rows
from dynamics.tasks import TASKS, Row, Task, TaskRows, Template, fingerprint, get_task
from dynamics.tasks.sources import SourceRows

REFERENCE = sorted(name for name in TASKS if not isinstance(get_task(name).load, SourceRows))
ROWS = TaskRows(
    pool=tuple(Row(f"p{i}", {"text": f"warm moving {'now' if i % 2 else 'here'}"}, i % 2) for i in range(40)),
    test=tuple(Row(f"t{i}", {"text": "dull again" if i % 2 else "bright again"}, i % 2) for i in range(9)),
)
TEMPLATE = Template("plain", "{text} {label}", " . ")
TASK = Task("toy", 2, ("positive", "negative"), (TEMPLATE,), lambda _: ROWS, "made here")


def build(task: Task, tokenizer: PreTrainedTokenizerBase, **changes) -> PromptSet:
    """Prompts of a task, 4-shot unless changed."""
    settings = {"demo_seed": 0, "n_shots": 4, "n_test": 8, "n_train": 6, **changes}
    return build_prompts(task, task.templates[0].name, tokenizer, **settings)


@pytest.mark.parametrize("n_shots", [0, 1, 2, 4, 8])
def test_demonstrations_are_balanced_and_the_last_two_differ(n_shots: int) -> None:
    for seed in range(5):
        shots = select_rows(TASK, ROWS, demo_seed=seed, n_shots=n_shots, n_test=4, n_train=0).demonstrations
        golds = [row.gold for row in shots]
        assert len(golds) == n_shots
        assert abs(golds.count(0) - golds.count(1)) == n_shots % 2
        assert n_shots < 2 or golds[-1] != golds[-2]


def test_seeds_have_rows_of_their_own_and_share_the_test_rows() -> None:
    chosen = [select_rows(TASK, ROWS, demo_seed=s, n_shots=4, n_test=8, n_train=4) for s in range(5)]
    used = [row.example_id for c in chosen for row in (*c.demonstrations, *c.train)]
    assert len(used) == len(set(used)) == 5 * 8
    assert not any(c.shares_pool for c in chosen)
    assert all(c.test == chosen[0].test for c in chosen)


def test_a_pool_that_is_too_small_is_shared_and_says_so() -> None:
    assert select_rows(TASK, ROWS, demo_seed=5, n_shots=4, n_test=8, n_train=4).shares_pool


def test_test_rows_are_balanced_and_no_more_than_there_are() -> None:
    golds = [row.gold for row in select_rows(TASK, ROWS, demo_seed=0, n_shots=0, n_test=100, n_train=0).test]
    assert golds == [0, 1] * 4


def test_training_rows_are_one_sequence_of_which_k_takes_a_prefix() -> None:
    few, many = (select_rows(TASK, ROWS, demo_seed=0, n_shots=4, n_test=2, n_train=k).train for k in (4, 8))
    assert many[:4] == few
    assert [row.gold for row in many] == [0, 1] * 4


def test_token_ids_are_those_of_the_whole_string(tokenizer: PreTrainedTokenizerBase) -> None:
    prompts = build(get_task("sentiment"), tokenizer)
    task, rows = get_task("sentiment"), get_task("sentiment").load(None)
    chosen = select_rows(task, rows, demo_seed=0, n_shots=4, n_test=8, n_train=6)
    for i, row in enumerate(chosen.train + chosen.test):
        text = prompt_text(task, task.templates[0], chosen.demonstrations, row, prompts.label_words)
        assert list(prompts.token_ids(i)) == tokenizer(text)["input_ids"]
    assert len(prompts.shared_ids) > 4 * 5
    assert prompts.split == ("train",) * 6 + ("test",) * 8


def test_sampled_label_words_change_with_the_seed_only() -> None:
    task = get_task("wordmap")
    words_by_seed = [label_words(task, seed) for seed in range(15)]
    assert len(set(words_by_seed)) > 10
    assert all(len(set(words)) == 2 for words in words_by_seed)
    assert words_by_seed == [label_words(task, seed) for seed in range(15)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_words": ("positive", "not-a-word")}, "task toy, template plain: label words positive, not-a-word"),
        ({"label_words": ("positive", "positive")}, "do not have a token each"),
        ({"label_words": ("positive", "two words")}, r"label word 'two words' is not one token .*\['<unk>', '<unk>'\]"),
        ({"templates": (replace(TEMPLATE, text="{text}{label}"),)}, "must end in ' {label}'"),
        ({"templates": (replace(TEMPLATE, text="{text}  {label}"),)}, "ends in white space"),
    ],
)
def test_guards_name_task_template_and_words(tokenizer: PreTrainedTokenizerBase, change: dict, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        build(replace(TASK, **change), tokenizer)


def test_a_class_without_rows_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    one_sided = replace(TASK, load=lambda _: replace(ROWS, test=ROWS.test[::2]))
    with pytest.raises(PromptError, match="task toy: label 1 has no rows in the test split"):
        build(one_sided, tokenizer)


def test_unknown_names_answer_with_the_nearest() -> None:
    with pytest.raises(PlanError, match=r"unknown task 'sentimnt'; did you mean 'sentiment'\? Allowed:"):
        get_task("sentimnt")
    with pytest.raises(PlanError, match="unknown template of task toy 'plian'; did you mean 'plain'"):
        TASK.template("plian")


def test_fingerprint_sees_every_change_of_what_is_asked() -> None:
    known = fingerprint(TASK, ROWS)
    assert fingerprint(replace(TASK, label_words=("negative", "positive")), ROWS) != known
    assert fingerprint(TASK, replace(ROWS, test=ROWS.test[1:])) != known
    assert fingerprint(replace(TASK, source="elsewhere"), ROWS) == known


@pytest.mark.parametrize("name", REFERENCE)
def test_every_reference_task_keeps_the_contract(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    task = get_task(name)
    assert task.name == name
    assert len(task.templates) >= 3
    assert len({t.name for t in task.templates}) == len(task.templates)
    rows = task.load(None)
    assert not {r.example_id for r in rows.pool} & {r.example_id for r in rows.test}
    for template in task.templates:
        prompts = build_prompts(
            task, template.name, tokenizer, demo_seed=1, n_shots=8, n_test=20, n_train=12, rows=rows
        )
        assert len(set(prompts.label_ids)) == task.n_labels
        assert tokenizer.unk_token_id not in np.concatenate([prompts.token_ids(i) for i in range(32)])


def test_words_the_tokenizer_does_not_know_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    strange = replace(ROWS, test=(*ROWS.test[:8], Row("t9", {"text": "warm zeppelin"}, 1)))
    with pytest.raises(PromptError, match=r"prompt of t9 holds words that the tokenizer does not know \(<unk>\)"):
        build(replace(TASK, load=lambda _: strange), tokenizer, n_test=10)


def test_an_unknown_word_is_refused_at_the_start_of_a_prompt_too(tokenizer: PreTrainedTokenizerBase) -> None:
    """Where the first token is no BOS."""
    strange = replace(ROWS, test=(*ROWS.test[:8], Row("t9", {"text": "zeppelin warm"}, 1)))
    with pytest.raises(PromptError, match=r"prompt of t9 holds words that the tokenizer does not know \(<unk>\)"):
        build(replace(TASK, load=lambda _: strange), tokenizer, n_test=10, n_shots=0)
