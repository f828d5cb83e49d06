"""Real rows under the real tokenizer: every guard, for every task, template, seed and number of shots."""

import numpy as np
import pytest

from dynamics.prompt_encoder import label_words, prompt_text
from dynamics.prompts import build_prompts, select_rows
from dynamics.tasks import get_task
from tests.dynamics.raw_rows import PUBLIC
from tests.real_rows import REAL_TASKS, needs_real_rows, neox_tokenizer, real_rows

pytestmark = needs_real_rows

LABEL_IDS = {
    "negative": 4016,
    "positive": 2762,
    "No": 1621,
    "Yes": 6279,
    "no": 642,
    "yes": 4754,
    "Maybe": 8948,
    "World": 3645,
    "Sports": 15000,
    "Business": 10518,
    "Technology": 10784,
    "A": 329,
    "B": 378,
    "C": 330,
    "D": 399,
}
N_ROWS = {"arc_easy": 567, "boolq": 3270, "cb": 56, "mrpc": 408, "rte": 277, "sst2": 872}
CASES = [(name, template.name) for name in REAL_TASKS for template in get_task(name).templates]


@pytest.mark.parametrize(("name", "n_rows"), N_ROWS.items())
def test_all_rows_are_read_and_halved(name: str, n_rows: int) -> None:
    rows = real_rows(name)
    assert len(rows.pool) + len(rows.test) == n_rows
    assert f": {n_rows} of " in rows.source
    assert "halved" in rows.source


@pytest.mark.parametrize("n_shots", [0, 4])
@pytest.mark.parametrize(("name", "template"), CASES)
def test_prompts_are_whole_strings_cut_before_one_label_token(name: str, template: str, n_shots: int) -> None:
    task, rows, tokenizer = get_task(name), real_rows(name), neox_tokenizer()
    pattern, tests = task.template(template), set()
    for seed in range(3):
        ask = {"demo_seed": seed, "n_shots": n_shots, "n_test": 24, "n_train": 4}
        prompts = build_prompts(task, template, tokenizer, rows=rows, max_length=2048, **ask)
        chosen = select_rows(task, rows, **ask)
        assert prompts.label_ids == tuple(LABEL_IDS[word] for word in label_words(task, seed, pattern))
        assert prompts.n_shots_used == len(chosen.demonstrations) >= min(n_shots, 3)
        assert not prompts.skipped
        for i, row in enumerate(chosen.train + chosen.test):
            text = prompt_text(task, pattern, chosen.demonstrations, row, prompts.label_words)
            answered = f"{text} {prompts.label_words[row.gold]}"
            assert list(prompts.token_ids(i)) == tokenizer(text)["input_ids"]
            assert [*prompts.token_ids(i), prompts.label_ids[row.gold]] == tokenizer(answered)["input_ids"]
        tests.add(tuple(row.example_id for row in chosen.test))
    assert len(tests) == 1


@pytest.mark.parametrize(("word", "label_id"), LABEL_IDS.items())
def test_label_words_have_their_known_tokens(word: str, label_id: int) -> None:
    assert neox_tokenizer()(f" {word}")["input_ids"] == [label_id]


@pytest.mark.parametrize("name", PUBLIC)
def test_label_words_of_every_task_are_single_tokens(name: str) -> None:
    task, tokenizer = get_task(name), neox_tokenizer()
    for template in task.templates:
        for word in label_words(task, 0, template):
            assert len(tokenizer(f" {word}")["input_ids"]) == 1, word


def test_demonstrations_are_most_of_a_real_prompt() -> None:
    """4-shot BoolQ shares three quarters of its tokens: what makes the forward pass cheap."""
    prompts = build_prompts(
        get_task("boolq"), "paper", neox_tokenizer(), demo_seed=0, n_shots=4, n_test=64, rows=real_rows("boolq")
    )
    own = np.mean([len(ids) for ids in prompts.own_ids])
    assert 0.1 < own / (own + len(prompts.shared_ids)) < 0.4
