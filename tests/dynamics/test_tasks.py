"""The registry of tasks, and what every task on a public dataset promises."""

import pickle
from dataclasses import replace
from pathlib import Path
from string import Formatter

import pytest

from dynamics.errors import PlanError
from dynamics.partition import select_rows
from dynamics.prompt_encoder import label_words
from dynamics.tasks import TASKS, Task, fingerprint, get_task
from tests.dynamics.raw_rows import PUBLIC, hand_written, source_of

LENDERS = {name: lender for name in PUBLIC if (lender := get_task(name).demonstrations_of)}


def test_the_transfer_tasks_of_the_paper_are_registered() -> None:
    assert LENDERS.items() >= {"yelp": "sst2", "mednli": "mnli", "boolq_cst": "boolq"}.items()


@pytest.mark.parametrize("name", PUBLIC)
def test_words_templates_and_source_keep_the_contract(name: str) -> None:
    task = get_task(name)
    source = source_of(task).source
    assert (task.name, task.n_labels) == (name, len(source.columns.labels))
    assert [template.name for template in task.templates][3:] == ["contrast"]
    for template in task.templates:
        words = label_words(task, 0, template)
        assert len(set(words)) == task.n_labels
        used = {field for _, field, _, _ in Formatter().parse(template.text) if field}
        assert used == {*source.columns.fields, "label"}
        assert template.text.endswith(" {label}")
    assert source.repo in task.source
    assert source.test in source.files


@pytest.mark.parametrize("name", PUBLIC)
def test_the_contrasting_template_differs_by_a_space_a_line_break_or_the_case_of_the_words(name: str) -> None:
    task = get_task(name)
    first, other = task.templates[0], task.template("contrast")
    assert first.text.split() == other.text.split()
    assert first.separator == other.separator
    changed = [a != b for a, b in zip(first.text.replace(" \n", "\n"), other.text.replace(" \n", "\n"), strict=True)]
    words = [tuple(w.lower() for w in label_words(task, 0, t)) for t in (first, other)]
    assert sum(changed) <= 1
    assert words[0] == words[1]
    assert (first.text, label_words(task, 0, first)) != (other.text, label_words(task, 0, other))


@pytest.mark.parametrize("name", PUBLIC)
def test_raw_records_become_rows_with_their_labels(name: str, tmp_path: Path) -> None:
    task, rows = get_task(name), hand_written(name, tmp_path)
    for part in (rows.pool, rows.test):
        assert [row.gold for row in part] in (list(range(task.n_labels)), [0, 1])
        assert all(value == value.strip() and value for row in part for value in row.fields.values())
    assert not {row.example_id for row in rows.pool} & {row.example_id for row in rows.test}
    assert f"{len(rows.test)} of" in rows.source


def test_arc_numbers_become_letters_and_three_options_are_left_out(tmp_path: Path) -> None:
    rows = hand_written("arc_easy", tmp_path).pool
    assert [row.fields["question"] for row in rows if row.gold == 2] == ["Which is a plant?"]
    assert "Left out" not in [row.fields["question"] for row in rows]


def test_the_contrast_set_drops_its_header_and_empty_questions(tmp_path: Path) -> None:
    test = hand_written("boolq_cst", tmp_path).test
    assert [row.fields["question"] for row in test] == ["is zinc a soft metal", "is zinc a brittle metal"]
    assert {row.fields["passage"] for row in test} == {"Zinc is a brittle metal."}


@pytest.mark.parametrize(("name", "lender"), LENDERS.items())
def test_a_transfer_task_asks_with_the_same_demonstrations_and_templates(
    name: str, lender: str, tmp_path: Path
) -> None:
    task, owner = get_task(name), get_task(lender)
    assert (task.demonstrations_of, task.templates, task.label_words) == (lender, owner.templates, owner.label_words)
    rows, owners = hand_written(name, tmp_path), hand_written(lender, tmp_path)
    for seed in range(3):
        ask = {"demo_seed": seed, "n_shots": task.n_labels, "n_test": task.n_labels, "n_train": 0}
        assert select_rows(task, rows, **ask).demonstrations == select_rows(owner, owners, **ask).demonstrations


def test_the_lender_is_part_of_the_fingerprint_and_templates_are_not(tmp_path: Path) -> None:
    task, rows = get_task("qqp"), hand_written("qqp", tmp_path)
    known = fingerprint(task, rows)
    templates = (*task.templates[:3], replace(task.templates[3], label_words=("false", "true")))
    assert fingerprint(replace(task, templates=templates), rows) == known
    assert fingerprint(replace(task, demonstrations_of="mrpc"), rows) != known


@pytest.mark.parametrize("name", TASKS)
def test_tasks_travel_to_other_processes(name: str) -> None:
    task: Task = pickle.loads(pickle.dumps(get_task(name)))
    assert task == get_task(name)


def test_a_plans_own_task_is_found_and_listed_first() -> None:
    own = get_task("rte")
    assert get_task("mine", {"mine": own}) is own
    with pytest.raises(PlanError, match=r"unknown task 'mien'; did you mean 'mine'. Allowed: mine, "):
        get_task("mien", {"mine": own})
