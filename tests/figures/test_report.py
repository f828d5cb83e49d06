"""The page: it opens from disk in a browser without an error, with every picture and sortable tables."""

import html
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from figures import report
from figures.__main__ import app
from figures.drawing import FIGURES, drawn_by_default
from figures.explorer import libraries
from tests.browser import chromium, opened
from tests.stores import new_store


def addresses(text: str) -> list[str]:
    """All that a page refers to."""
    return re.findall(r'(?:src|href)="([^"]+)"', without_scripts(text))


def without_scripts(text: str) -> str:
    """The page without the content of its script elements, where libraries name the sites of their makers."""
    return re.sub(r"(<script[^>]*>).*?</script>", r"\1</script>", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def page(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small sweep, written where the command puts it unless told otherwise."""
    copy = tmp_path_factory.mktemp("report") / "results"
    shutil.copytree(results, copy)
    done = CliRunner().invoke(app, ["--results", str(copy)])
    assert done.exit_code == 0, done.output
    return copy / "figures" / "index.html"


def test_the_page_refers_only_to_files_beside_it(page: Path) -> None:
    text = page.read_text()
    for address in addresses(text):
        if address.startswith("#"):
            assert f'id="{address[1:]}"' in text
        elif address != "data:,":
            assert (page.parent / address).is_file(), address
    assert not re.search(
        r"https?://|@import|url\(", re.sub(r"<pre>.*?</pre>", "", without_scripts(text), flags=re.DOTALL)
    )


def test_the_page_shows_every_figure_or_says_why_not(page: Path) -> None:
    text = page.read_text()
    shown = {p.stem for p in page.parent.glob("*.png")}
    assert shown <= {Path(a).stem for a in addresses(text)}
    assert set(FIGURES) - shown
    assert "nothing to transfer" in text
    assert "tiny" in text.split("</noscript>")[1].split("<nav")[0]
    assert "commit_sha" in text.split('id="from"')[1]
    assert "demo_seeds = 2" in html.unescape(text)


def test_the_page_says_first_what_its_tables_say_of_every_task(page: Path) -> None:
    text = page.read_text()
    said = text.split("<header>")[1].split('id="explorer"')[0]
    panels = pl.read_csv(page.parent / "emergence.csv").filter(control="none").select("task", "n_shots").unique()
    assert said.count("<li>") == len(panels) > 0
    assert all(f"{task}, {shots}-shot" in said for task, shots in panels.rows())
    assert said.count("accuracy is") == len(panels)


def test_the_same_results_give_the_same_files(page: Path, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["--results", str(page.parents[1]), "--out", str(tmp_path)]).exit_code == 0
    files = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert files == {path.name for path in page.parent.iterdir() if path.is_file()}
    assert {Path(name).suffix for name in files} == {".csv", ".html", ".pdf", ".png", ".svg"}
    for name in sorted(files):
        data = (tmp_path / name).read_bytes()
        assert data
        assert data == (page.parent / name).read_bytes(), name


def test_every_figure_has_its_data_and_every_format_of_its_pictures(page: Path) -> None:
    assert {f"{name}.csv" for name in drawn_by_default()} <= {path.name for path in page.parent.iterdir()}
    stems = [{path.stem for path in page.parent.glob(f"*.{suffix}")} for suffix in ("png", "svg", "pdf")]
    assert stems[0] == stems[1] == stems[2]


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_finds_every_picture_and_no_error(page: Path, width: int) -> None:
    with chromium() as browser, opened(browser, page, width=width) as tab:
        tab.wait_for_selector("#explorer[data-ready]")
        pictures = tab.evaluate("[...document.images].map(image => [image.getAttribute('src'), image.naturalWidth])")
        assert {name for name, _ in pictures} == {p.name for p in page.parent.glob("*.png")}
        assert all(size for _, size in pictures)
        assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        tab.locator("#emergence details summary").click()
        tab.locator("#emergence .table tbody tr").nth(4).wait_for()
        head = tab.locator("#emergence .table thead th", has_text=re.compile("^step$"))
        head.click()
        head.click()
        tab.locator("#emergence .table th[aria-sort=descending]", has_text=re.compile("^step$")).wait_for()
        place = head.evaluate("head => head.cellIndex")
        steps = [int(row.split("\t")[place]) for row in tab.locator("#emergence .table tbody tr").all_inner_texts()]
        assert steps == [4] * len(steps)
        assert len(steps) > 4
        assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_table_gives_constants_once_and_leaves_out_long_tables() -> None:
    table = pl.DataFrame({"model": ["m", "m"], "x": [0.123456, float("nan")], "y": [None, "</script>"]})
    shown = report.report_table("t", "T", table)
    assert (shown.constant, shown.columns, shown.length) == ("model = m", ["x", "y"], 2)
    assert shown.rows == [(0.1235, None), (None, "</script>")]
    long = report.report_table("t", "T", pl.DataFrame({"x": range(report.MAX_CELLS + 1)}))
    assert (long.rows, long.length) == ([], report.MAX_CELLS + 1)


def test_a_long_table_is_shown_without_the_rows_of_single_templates() -> None:
    n = report.MAX_CELLS // 3
    by_template = pl.DataFrame({"template": [""] * n + ["a"] * n, "x": range(2 * n), "y": range(2 * n)})
    shown = report.report_table("t", "T", by_template)
    assert (shown.columns, shown.length, len(shown.rows)) == (["x", "y"], n, n)
    assert shown.constant == "all prompts (rows of single templates: t.csv)"
    short = report.report_table("t", "T", by_template.gather_every(4))
    assert (short.columns, short.length, short.constant) == (["template", "x", "y"], n // 2, "")


def test_results_without_any_finished_unit_are_an_error(tmp_path: Path) -> None:
    new_store(tmp_path / "out")
    ended = CliRunner().invoke(app, ["--results", str(tmp_path / "out")])
    assert ended.exit_code == 2
    assert "holds no finished unit yet" in ended.output


def test_the_script_that_draws_is_put_together_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def bundle(snippet: str) -> str:
        made.append(snippet)
        return "'</script>'"

    monkeypatch.setattr(libraries.vl_convert, "javascript_bundle", bundle)
    first = libraries.vega(tmp_path)
    assert first == "(() => {'<\\/script>'})();"
    assert libraries.vega(tmp_path) == first
    assert len(made) == 1
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"=>", b"<="))
    assert libraries.vega(tmp_path) == first
    assert len(made) == 2
    monkeypatch.setattr(libraries, "version", lambda name: f"{name} of tomorrow")
    assert libraries.vega(tmp_path) == first
    assert len(made) == 3


def test_the_papers_tables_are_shown_only_where_they_hold_a_value_of_the_paper(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for values, shown in (([None, None], ["false_emergence"]), ([None, 61.2], ["false_emergence", "paper_tables"])):
        table = pl.DataFrame({"x": [1, 2], "paper": values}, schema={"x": pl.Int64, "paper": pl.Float64})
        monkeypatch.setattr(report.analysis, "run", lambda *_, table=table: table)
        assert [found.name for found in report._tables(tmp_path, tmp_path)] == shown
