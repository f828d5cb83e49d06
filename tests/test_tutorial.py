"""The tutorial's first half runs and shows what its text says; the site's build runs all of it."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]


def code(cell: dict) -> str:
    """The source of a cell."""
    return "".join(cell["source"])


def test_it_is_stored_without_outputs() -> None:
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS if cell["cell_type"] == "code"
    )


def test_one_prompt_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    sweep = next(i for i, cell in enumerate(CELLS) if code(cell).startswith("## 3."))
    for cell in CELLS[:sweep]:
        if cell["cell_type"] == "code":
            exec(compile(code(cell), NOTEBOOK.name, "exec"), names)
    plt.close("all")
    printed = capsys.readouterr().out
    assert "L0H1 0.89\nfull model 0.5\n" in printed
    assert "answers of the full model: [  0 200]\n" in printed  # `always the same`
    assert "less its label bias 1.0\n" in printed
