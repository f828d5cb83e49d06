"""One byte-exact prompt per task and template, from raw records to the last character before the label.

A template is part of a result's identity, so a changed byte must be a decision. After one, write the files again with
`UPDATE_GOLDEN=1 python -m pytest tests/dynamics/test_golden_prompts.py` and read the difference before committing it.
"""

import os
from pathlib import Path

import pytest

from dynamics.prompt_encoder import label_words, prompt_text
from dynamics.prompts import select_rows
from dynamics.tasks import get_task
from tests.dynamics.raw_rows import PUBLIC, hand_written

GOLDEN = Path(__file__).with_name("golden")
CASES = [(name, template.name) for name in PUBLIC for template in get_task(name).templates]


@pytest.mark.parametrize(("name", "template"), CASES)
def test_prompt_is_byte_exact(name: str, template: str, tmp_path: Path) -> None:
    task, rows = get_task(name), hand_written(name, tmp_path)
    chosen = select_rows(task, rows, demo_seed=0, n_shots=task.n_labels, n_test=task.n_labels, n_train=0)
    pattern = task.template(template)
    text = prompt_text(task, pattern, chosen.demonstrations, chosen.test[0], label_words(task, 0, pattern))
    file = GOLDEN / f"{name}-{template}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_bytes(text.encode())
    assert file.read_bytes().decode() == text


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == {f"{name}-{template}" for name, template in CASES}
