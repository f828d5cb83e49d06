"""Tasks without code: the same rows and guards as any other, and a line for every way to describe one wrongly."""

import pickle
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from transformers import PreTrainedTokenizerBase

from dynamics.errors import PlanError, PromptError
from dynamics.prompts import build_prompts
from dynamics.reference.corpus import NEUTRAL_WORDS
from dynamics.tasks import Template
from dynamics.tasks.custom import Definition, custom_task

TABLE = pl.DataFrame({"body": [f"warm {word}" for word in NEUTRAL_WORDS[:12]], "mood": ["up", "down"] * 6})
PLAIN = Template("plain", "{text} {label}", " . ")


def define(file: Path, **changes) -> Definition:
    """A sound definition of a task on one file, but for the changes."""
    base = Definition(
        name="mood",
        files={"all": file},
        columns={"text": "body"},
        label_column="mood",
        labels=("down", "up"),
        label_words=("negative", "positive"),
        templates=(PLAIN,),
    )
    return replace(base, **changes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The table as CSV."""
    TABLE.write_csv(tmp_path / "mood.csv")
    return tmp_path / "mood.csv"


def test_one_file_is_halved_and_labels_follow_their_order(file: Path) -> None:
    task = custom_task(define(file))
    rows = task.load(None)
    assert (len(rows.pool), len(rows.test)) == (6, 6)
    assert {(row.fields["text"], row.gold) for row in rows.pool + rows.test} == {
        (body, ("down", "up").index(mood)) for body, mood in TABLE.iter_rows()
    }
    assert rows.source == "all mood.csv: 12 rows, halved: 6 pool, 6 test"
    assert "mood.csv" in task.source
    assert pickle.loads(pickle.dumps(task)).load(None) == rows


def test_two_files_stay_apart(file: Path, tmp_path: Path) -> None:
    TABLE[:4].with_columns(body="very " + pl.col("body")).write_ndjson(tmp_path / "test.jsonl")
    rows = custom_task(define(file, files={"train": file, "test": tmp_path / "test.jsonl"})).load(None)
    assert [row.example_id for row in rows.test] == [f"mood-test-{i:06d}" for i in range(4)]
    assert len(rows.pool) == 12


def test_text_that_is_equal_under_one_template_or_in_one_group_stays_on_one_side(tmp_path: Path) -> None:
    """`mixed` prints both columns, in which no two rows are equal; `plain` prints the body alone."""
    table = TABLE.with_columns(body=pl.Series([f"text {i // 4}" for i in range(12)]), title=TABLE["body"])
    table.write_csv(tmp_path / "mood.csv")
    mixed = replace(PLAIN, name="mixed", text="{title} {text} {label}")
    base = define(tmp_path / "mood.csv", columns={"text": "body", "title": "title"}, templates=(mixed,))
    for change in ({}, {"templates": (mixed, PLAIN)}, {"group": "body"}):
        rows = custom_task(replace(base, **change)).load(None)
        of_pool, of_test = ({row.fields["text"] for row in side} for side in (rows.pool, rows.test))
        assert bool(of_pool & of_test) == (not change)
        assert len(rows.pool) == (6 if not change else 4 if len(of_pool) == 1 else 8)
        assert (rows.n_moved > 0) == bool(change)
    with pytest.raises(PlanError, match=r"unknown column of .*: 'bod'; did you mean 'body'"):
        custom_task(replace(base, group="bod")).load(None)


def test_equal_train_and_test_files_are_refused(file: Path, tmp_path: Path) -> None:
    TABLE.reverse().write_parquet(tmp_path / "same.parquet")
    for test in (file, tmp_path / "same.parquet"):
        with pytest.raises(PlanError, match=r"^task mood: 12 of 12 pool rows have the text, .* none of label 0 is l"):
            custom_task(define(file, files={"train": file, "test": test})).load(None)


def test_pool_rows_with_the_text_of_a_test_row_are_left_out_and_counted(file: Path, tmp_path: Path) -> None:
    TABLE[:4].with_columns(body=" " + pl.col("body") + "  ").write_ndjson(tmp_path / "test.jsonl")
    rows = custom_task(define(file, files={"train": file, "test": tmp_path / "test.jsonl"})).load(None)
    assert (len(rows.pool), len(rows.test), rows.n_dropped) == (8, 4, 4)
    assert rows.notes == ("4 of 12 pool rows are left out: their text or group is on the other side too",)


def test_numbers_and_truth_values_may_be_labels(tmp_path: Path) -> None:
    for labels, name in (((0, 1), "number"), ((False, True), "truth")):
        table = TABLE.with_columns(mood=pl.Series([labels[i % 2] for i in range(12)]))
        table.write_parquet(tmp_path / f"{name}.parquet")
        rows = custom_task(define(tmp_path / f"{name}.parquet", labels=labels)).load(None)
        assert [row.gold for row in rows.test].count(1) == 3


def test_prompts_pass_the_same_guards(file: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    ask = {"demo_seed": 0, "n_shots": 2, "n_test": 6}
    prompts = build_prompts(custom_task(define(file)), "plain", tokenizer, **ask)
    assert prompts.label_words == ("negative", "positive")
    two = define(file, templates=(PLAIN, replace(PLAIN, name="own", label_words=("black", "white"))))
    assert build_prompts(custom_task(two), "own", tokenizer, **ask).label_words == ("black", "white")
    bad = custom_task(define(file, label_words=("negative", "not-a-word")))
    with pytest.raises(PromptError, match="task mood, template plain: label words negative, not-a-word do not have"):
        build_prompts(bad, "plain", tokenizer, **ask)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "my mood"}, "task my mood: a name has letters, digits and underscores only"),
        ({"name": "sst2"}, "task sst2: there is a task of this name; choose another"),
        ({"labels": ("up",), "label_words": ("positive",)}, "labels are up; list at least two different values"),
        ({"labels": (1, "1")}, "labels are 1, 1; list at least two different values"),
        ({"label_words": ("positive",)}, "label_words are positive; give 2 different words"),
        ({"label_words": ("positive", "positive")}, "give 2 different words, one for each of `labels`"),
        ({"templates": ()}, "templates are none; give at least one"),
        ({"templates": (PLAIN, PLAIN)}, "templates are plain, plain; give at least one, each with a name of its own"),
        (
            {"templates": (replace(PLAIN, text="{text}: {label}."),)},
            r"template plain: the text must end in ' \{label\}'",
        ),
        (
            {"templates": (replace(PLAIN, text="{txt} {label}"),)},
            "unknown field 'txt'; did you mean 'text'.* `columns`",
        ),
        ({"templates": (replace(PLAIN, text="{text.x} {label}"),)}, "unknown field 'text.x'"),
        ({"templates": (replace(PLAIN, text="{text {label}"),)}, "template plain: .* in its text; write {{ and }}"),
        ({"templates": (replace(PLAIN, label_words=("a",)),)}, "template plain: it has 1 label words for 2 labels"),
        ({"files": {}}, "give either `file`, or both `train_file` and `test_file`"),
        ({"files": {"train": Path("a.csv")}}, "give either `file`, or both"),
    ],
)
def test_a_definition_that_contradicts_itself_is_refused(file: Path, change: dict, message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        custom_task(define(file, **change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"labels": ("down", "upp")},
            r"column mood in row 1 of .*mood.csv \(task mood\): 'up'; .* Allowed: down, upp; lis",
        ),
        (
            {"columns": {"text": "boddy"}},
            r"column of .*mood.csv \(task mood\): 'boddy'; did you mean 'body'\? Allowed: bo",
        ),
        ({"label_column": "mod"}, r"column of .*mood.csv \(task mood\): 'mod'; did you mean 'mood'"),
        (
            {"labels": ("down", "up", "flat"), "label_words": ("a", "b", "c")},
            r"task mood: .*mood.csv has 0 rows with mood = 'flat' and 2 are needed \(one to demonstrate and",
        ),
        ({"files": {"all": Path("gone.csv")}}, "there is no file gone.csv"),
    ],
)
def test_what_the_file_does_not_hold_is_refused_with_file_and_place(file: Path, change: dict, message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        custom_task(define(file, **change)).load(None)
    assert "\n" not in str(caught.value)


def test_each_of_two_files_needs_every_label(file: Path, tmp_path: Path) -> None:
    TABLE.filter(mood="up").write_csv(tmp_path / "test.csv")
    task = custom_task(define(file, files={"train": file, "test": tmp_path / "test.csv"}))
    with pytest.raises(
        PlanError, match=r"test.csv has 0 rows with mood = 'down' and 1 are needed \(in the test file\)"
    ):
        task.load(None)
