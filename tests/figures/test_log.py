"""`figures --log`: the page goes into the run of the results, and what cannot be sent is said."""

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dynamics.tracking import Run
from figures.__main__ import app


def draw(results: Path, *options: object) -> Result:
    """`python -m figures --results RESULTS OPTIONS`."""
    return CliRunner().invoke(app, ["--results", str(results), *map(str, options)])


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page without figures, which is sent like any other."""
    monkeypatch.setattr("figures.drawing.drawn_by_default", list)
    monkeypatch.setattr("dynamics.tracking.find_spec", lambda _: True)


def test_the_page_is_sent_into_the_run_of_the_results(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    run = Run(
        log=lambda *_: pytest.fail("only the page is sent"),
        add_plan=lambda *_: pytest.fail("only the page is sent"),
        add_page=lambda folder: sent.append((folder, (folder / "index.html").exists())),
        close=lambda: sent.append("closed"),
    )
    monkeypatch.setattr("dynamics.tracking.open_run", lambda *opened: sent.append(opened) or run)
    drawn = draw(results, "--out", tmp_path, "--log", "wandb")
    assert drawn.exit_code == 0, drawn.output
    assert sent == [("wandb", results), (tmp_path, True), "closed"]


def test_a_page_that_cannot_be_sent_stays(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Run:
        raise ConnectionError("https://user:password@host is gone")

    monkeypatch.setattr("dynamics.tracking.open_run", failing)
    refused = draw(results, "--out", tmp_path, "--log", "mlflow")
    assert refused.exit_code == 2
    assert f"the page is in {tmp_path}, but was not sent: logging to mlflow failed" in refused.output
    assert "password" not in refused.output
    assert (tmp_path / "index.html").exists()


@pytest.mark.parametrize("options", [["emergence"], ["--out", "s3://bucket/pictures"]])
def test_only_a_whole_page_on_a_disk_is_sent(options: list[str], results: Path) -> None:
    refused = draw(results, *options, "--log", "wandb")
    assert refused.exit_code == 2
    assert "--log sends the page with all figures" in refused.output
