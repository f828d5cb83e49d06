"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def snippets() -> list[str]:
    """Python blocks of the README, in order."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_notebook_snippet_runs_and_is_a_dozen_lines(capsys: pytest.CaptureFixture[str]) -> None:
    code = snippets()[0]
    assert code.count("\n") <= 14
    exec(compile(code, "README.md", "exec"), {})
    name, accuracy = capsys.readouterr().out.split()
    assert name.startswith("L")
    assert float(accuracy) > 0.9


def test_the_query_runs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippets()[1].replace("demo/results", str(results)), "README.md", "exec"), {})
    assert "accuracy" in capsys.readouterr().out
