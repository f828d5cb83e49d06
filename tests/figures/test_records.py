"""A figure is drawn again only where its table, the code or one of its files is another than when it was drawn."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from figures import drawing, records
from figures.__main__ import app
from tests.stores import add_step, new_store, settle

NAME = "component_heatmap"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Results of two checkpoints."""
    new_store(tmp_path / "out")
    for step in (1, 32):
        add_step(tmp_path / "out", step)
    settle(tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pictures that are drawn."""
    found: list[str] = []
    rendered = drawing.rendered

    def counted(picture: str, figure: object) -> dict[str, bytes]:
        found.append(picture)
        return rendered(picture, figure)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(drawing, "rendered", counted)
    return found


def test_a_second_time_nothing_is_drawn_and_nothing_is_lost(root: Path, drawn: list[str], tmp_path: Path) -> None:
    first = drawing.draw(NAME, root, tmp_path / "pictures")
    content = {file.name: file.read_bytes() for file in (tmp_path / "pictures").glob("*.*")}
    assert drawn == [NAME]
    second = drawing.draw(NAME, root, tmp_path / "pictures")
    assert drawn == [NAME]
    assert (second.caption, second.pictures, second.files) == (first.caption, first.pictures, first.files)
    assert second.table.equals(first.table)
    assert {file.name for file in second.files} == set(content) == {f"{NAME}.{e}" for e in ("csv", "pdf", "png", "svg")}
    drawing.draw(NAME, root, tmp_path / "pictures", fresh=True)
    assert drawn == [NAME, NAME]
    assert {file.name: file.read_bytes() for file in (tmp_path / "pictures").glob("*.*")} == content


@pytest.mark.parametrize("file", [f"{NAME}.svg", f"{NAME}.csv", f"cache/{NAME}.json"])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x")])
def test_a_file_that_is_missing_or_another_is_made_again(
    file: str, spoil: Callable[[Path], object], root: Path, drawn: list[str]
) -> None:
    out = root / "figures"
    drawing.draw(NAME, root, out)
    before = (out / file).read_bytes()
    spoil(out / file)
    drawing.draw(NAME, root, out)
    assert drawn == [NAME, NAME]
    assert (out / file).read_bytes() == before


def test_another_table_or_other_code_is_drawn(root: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    drawing.draw(NAME, root, root / "figures")
    add_step(root, 64)
    drawing.draw(NAME, root, root / "figures")
    assert drawn == [NAME, NAME]
    monkeypatch.setattr(records, "_CODE", "another")
    drawing.draw(NAME, root, root / "figures")
    assert drawn == [NAME, NAME, NAME]


def test_figures_without_a_picture_are_not_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawing.draw("mechanisms", root, root / "figures")
    assert first.missing
    monkeypatch.setattr(drawing, "_drawn", None)
    assert drawing.draw("mechanisms", root, root / "figures").missing == first.missing


def test_the_command_draws_once_unless_fresh(root: Path, drawn: list[str]) -> None:
    command = [NAME, "--results", str(root), "--workers", "1"]
    outputs = [CliRunner().invoke(app, [*command, *more]).output for more in ([], [], ["--fresh"])]
    assert drawn == [NAME, NAME]
    assert len(set(outputs)) == 1
