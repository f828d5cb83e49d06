"""`plan init`: what it writes is a plan that runs, and it never replaces a file unasked."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import jobs.plan_init
from dynamics.reference import corpus
from jobs.plan import app
from jobs.sweep import app as sweep_app
from jobs.sweep_plan import read_plan

LABELS = ("bad", "fine")
ROWS = "id,headline,desk\n" + "".join(
    f'{i},"{example.text}",{LABELS[example.gold]}\n'
    for i, example in enumerate(corpus.task_examples("sentiment")[1][:24])
)
KNOWN = (
    "--set",
    'define.0.label_words=["negative", "positive"]',
    "--set",
    'define.0.templates=[{ name = "plain", text = "{text} {label}", separator = " . " }]',
)
"""Words that the tokenizer of the tests' checkpoints has."""


def init(*arguments: object, answers: str | None = None) -> Result:
    """`python -m jobs.plan init ARGUMENTS`."""
    return CliRunner().invoke(app, ["init", *map(str, arguments)], input=answers)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_flags_and_terminal_the_plan_is_of_the_embedded_suite(folder: Path) -> None:
    written = init()
    assert written.exit_code == 0, written.output
    assert "pythia-emergence sweep plan.toml --out results" in written.output
    plan = read_plan(folder / "plan.toml")
    assert (plan.name, plan.models[0].id, plan.tasks[0].name) == ("plan", "reference", "sentiment")
    assert "[[define]]" in (folder / "plan.toml").read_text()  # the shape of a task of one's own, as a comment
    assert CliRunner().invoke(app, ["plan.toml"]).exit_code == 0


def test_own_checkpoints_and_an_own_table_reach_results(folder: Path, suite_folder: Path) -> None:
    (folder / "my run").mkdir()
    for step in (0, 4):
        (folder / "my run" / f"checkpoint-{step}").symlink_to(suite_folder / f"step{step}")
    (folder / "desk.csv").write_text(ROWS)
    written = init("own.toml", "--model", "my run", "--task", "desk.csv", "--shots", "2")
    assert written.exit_code == 0, written.output
    assert "24 rows; texts are in column headline, labels in desk: ('bad', 'fine')" in written.output
    assert 'model my run; steps "all", found: 0, 4' in written.output
    assert "label words, which the model should answer: bad, fine\n2 demonstrations" in written.output
    plan = read_plan(folder / "own.toml")
    assert (plan.models[0].id, plan.models[0].folder) == ("my run", folder / "my run")
    assert (plan.define[0].labels, plan.define[0].label_words) == (LABELS, LABELS)
    assert "found: 0, 4" in (folder / "own.toml").read_text()
    shown = CliRunner().invoke(app, ["own.toml", *KNOWN])
    assert shown.exit_code == 0, shown.output
    swept = CliRunner().invoke(sweep_app, ["own.toml", "--out", "out", "--executor", "inline", *KNOWN])
    assert "10 of 10 units done, 0 failed" in swept.output, swept.output


def test_columns_can_be_named_and_numbers_become_letters(folder: Path) -> None:
    (folder / "t.csv").write_text("a,b,y\n" + "".join(f"x {i},long text number {i},{i % 2}\n" for i in range(8)))
    arguments = ("--model", "EleutherAI/pythia-70m", "--task", "t.csv", "--text-column", "a", "--gpu")
    written = init("p.toml", *arguments)
    assert written.exit_code == 0
    assert "label words, which the model should answer: A, B\n    letters, since the labels are not" in written.output
    assert "4 demonstrations in a prompt; a GPU a worker" in written.output
    plan = read_plan(folder / "p.toml")
    assert plan.define[0].columns == {"text": "a"}
    assert (plan.define[0].labels, plan.define[0].label_words) == (("0", "1"), ("A", "B"))
    assert (plan.models[0].steps, plan.resources.num_gpus) == ("paper", 1)


def test_a_file_is_replaced_only_with_force(folder: Path) -> None:
    (folder / "plan.toml").write_text("mine")
    refused = init()
    assert refused.exit_code == 2
    assert "plan.toml exists; give another name, or --force to replace it" in refused.output
    assert (folder / "plan.toml").read_text() == "mine"
    assert init("--force").exit_code == 0
    assert (folder / "plan.toml").read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "refrence"), "did you mean 'reference'?"),
        (("--model", "."), "contains no step<n> or checkpoint-<n> folder"),
        (("--task", "sst"), "did you mean 'sst2'?"),
        (("--model", "a/b", "--task", "none.csv"), "there is no file none.csv"),
        (("--model", "a/b", "--task", "t.csv", "--label-column", "z"), "unknown column of t.csv: 'z'"),
        (("--model", "a/b", "--task", "t.csv"), "no column has 2 to 20 different values that repeat"),
        (("--task", "t.csv"), "knows the 100 words of its own tasks only"),
        (("--model", "a/b", "--task", "t.csv", "--task", "sst2"), "one file and nothing beside it"),
        (("--steps", "[0, "), "not valid TOML"),
        (("nowhere/p.toml",), "cannot write nowhere/p.toml"),
    ],
)
def test_a_wrong_answer_is_refused_and_nothing_is_written(arguments: tuple[str, ...], said: str, folder: Path) -> None:
    (folder / "t.csv").write_text("a,y\n" + "".join(f"x {i},{i}\n" for i in range(8)))
    refused = init(*arguments)
    assert refused.exit_code == 2, refused.output
    assert said in refused.output
    assert [path.name for path in folder.iterdir()] == ["t.csv"]


def in_a_terminal(answers: bytes, stop: bool = False) -> tuple[int, str]:
    """Exit code and output of `python -m jobs.plan init` in a terminal, given answers, or interrupted at the first."""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(Path(jobs.plan_init.__file__).parents[1])}
    command = [sys.executable, "-m", "jobs.plan", "init"]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    said = b""
    while b"[reference]" not in said:
        said += os.read(controller, 1024)
    time.sleep(0.2)  # the question is printed before it is waited for
    if stop:
        process.send_signal(signal.SIGINT)
    os.write(controller, answers)
    exit_code = process.wait(60)
    said += os.read(controller, 4096)
    os.close(terminal)
    os.close(controller)
    return exit_code, said.decode()


def test_three_questions_are_asked_in_a_terminal(folder: Path) -> None:
    exit_code, said = in_a_terminal(b"EleutherAI/pythia-410m\nsst2, agnews\ny\n")
    assert exit_code == 0, said
    plan = read_plan(folder / "plan.toml")
    assert (plan.models[0].id, [task.name for task in plan.tasks]) == ("EleutherAI/pythia-410m", ["sst2", "agnews"])
    assert plan.resources.num_gpus == 1
    assert "2. Which task?" in said
    assert "3. Run on GPUs?" in said


def test_an_answer_is_checked_at_once_and_asked_again(folder: Path) -> None:
    exit_code, said = in_a_terminal(b"refrence\n\nsentimnt\nsentiment\n\n")
    assert exit_code == 0, said
    wrong_model, wrong_task = said.index("did you mean 'reference'?"), said.index("did you mean 'sentiment'?")
    assert wrong_model < said.index("2. Which task?") < wrong_task < said.index("3. Run on GPUs?")
    assert [task.name for task in read_plan(folder / "plan.toml").tasks] == ["sentiment"]


def test_a_checkpoint_among_others_and_the_folder_above_are_no_model(folder: Path, suite_folder: Path) -> None:
    (folder / "runs" / "mine").mkdir(parents=True)
    for step in (0, 4):
        (folder / "runs" / "mine" / f"checkpoint-{step}").symlink_to(suite_folder / f"step{step}")
    one = init("--model", "runs/mine/checkpoint-4")
    assert one.exit_code == 2
    assert f"give the folder that holds it, {folder / 'runs' / 'mine'}" in one.output
    above = init("--model", "runs")
    assert above.exit_code == 2
    assert "runs contains no checkpoints, but runs/mine does; give that folder" in above.output
    finished = init("--model", "runs/mine/checkpoint-4", "--steps", "finished")
    assert finished.exit_code == 0, finished.output
    assert read_plan(folder / "plan.toml").models[0].steps == "finished"


def test_an_interrupt_at_a_question_ends_with_130_and_writes_nothing(folder: Path) -> None:
    exit_code, said = in_a_terminal(b"", stop=True)
    assert exit_code == 130
    assert "interrupted; nothing was written" in said
    assert not (folder / "plan.toml").exists()
