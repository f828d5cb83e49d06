"""What the README shows runs: its query, its commands, and its plan for a model and a table of one's own."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import jobs.__main__
from dynamics.reference.tokenizer import build_tokenizer
from figures.__main__ import app as figures_app
from jobs.plan import app as plan_app
from jobs.sweep import app as sweep_app
from tests.models import tiny_suite

APPS = {"plan init": "jobs.plan_init:app", **{name: app for name, (app, _) in jobs.__main__.COMMANDS.items()}}
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MODULES = re.findall(r"python -m ([\w.]+)((?: +(?!#)\S+)*)", README)
NAMED = re.findall(r"^ +pythia-emergence (plan init|\w+)((?: +(?!#)\S+)*)", README, re.MULTILINE)
COMMANDS = [*MODULES, *((APPS[name].removesuffix(":app"), rest) for name, rest in NAMED)]


def block(language: str) -> str:
    """The README's only block of a language."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return code


def test_the_query_runs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = block("python")
    assert "demo/results" in code
    exec(compile(code.replace("demo/results", str(results)), "README.md", "exec"), {})
    assert "accuracy" in capsys.readouterr().out


def test_there_are_commands_to_check() -> None:
    assert {module for module, _ in MODULES} == {"jobs.sweep"}
    assert {name for name, _ in NAMED} >= {"plan init", "plan", "sweep", "status", "doctor", "analyse", "draw"}


@pytest.mark.parametrize(("module", "rest"), COMMANDS, ids=[module + rest for module, rest in COMMANDS])
def test_commands_have_their_options_and_files(module: str, rest: str) -> None:
    app = import_module(module).app
    command = typer.main.get_command(app)
    known = {option for parameter in command.params for option in parameter.opts}
    words = shlex.split(rest)
    assert {word for word in words if word.startswith("-")} <= known
    assert all((ROOT / word).exists() for word in words if word.startswith("jobs/"))


def test_a_model_and_a_table_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(block("toml"))
    topics = {"sport": "goal match league striker", "money": "bank shares market profit"}
    texts = [
        (f"{noun} story number{i}", desk) for i in range(16) for desk, nouns in topics.items() for noun in nouns.split()
    ]
    rows = [f'"{text}",{desk}' for text, desk in texts]
    (tmp_path / "headlines.csv").write_text("\n".join(["headline,desk", *rows]) + "\n")
    words = {word for text, _ in texts for word in text.split()}
    said = {*words, *["Headline:", "Section:", "This", "is", "about", "Sports", "Business"]}
    tiny_suite(tmp_path, build_tokenizer(sorted(said), 256), steps=(0, 4))
    (tmp_path / "runs/my-model").mkdir(parents=True)
    for step in (0, 4):
        (tmp_path / f"step{step}").rename(tmp_path / f"runs/my-model/checkpoint-{step}")

    runner = CliRunner()
    planned = runner.invoke(plan_app, ["mine.toml"])
    assert planned.exit_code == 0, planned.output
    assert "10 units" in planned.output  # 2 steps, 5 sets of demonstrations
    swept = runner.invoke(sweep_app, ["mine.toml", "--out", "results", "--executor", "inline"])
    assert swept.exit_code == 0, swept.output
    drawn = runner.invoke(figures_app, ["emergence", "--results", "results", "--out", "pictures"])
    assert drawn.exit_code == 0, (drawn.output, drawn.exception)
    assert (tmp_path / "pictures/emergence.png").stat().st_size > 10_000
