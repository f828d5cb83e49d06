"""The README's Python runs as printed, and prints what it shows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def snippets() -> list[str]:
    """Python blocks of the README, in order."""
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_notebook_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code = snippets()[0]
    (shown,) = re.findall(re.escape(code) + r"```\n\n```\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == shown


def test_the_query_runs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippets()[1].replace("demo/results", str(results)), "README.md", "exec"), {})
    assert "accuracy" in capsys.readouterr().out
