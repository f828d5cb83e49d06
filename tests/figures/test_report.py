"""The page: it opens from disk in a browser without an error, with every picture and sortable tables."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from figures import FIGURES, drawn_by_default, report
from figures.__main__ import app
from tests.stores import new_store

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PROBE = """
<script>
addEventListener("load", () => {
  const seen = { pictures: {}, sorted: {}, wide: document.documentElement.scrollWidth - innerWidth };
  for (const image of document.images) seen.pictures[image.getAttribute("src")] = image.naturalWidth;
  for (const closed of document.querySelectorAll("details")) closed.open = true;
  setTimeout(() => {
    for (const holder of document.querySelectorAll(".table")) {
      const head = [...holder.querySelectorAll("th button")], i = head.findIndex(b => b.textContent === "step");
      if (i < 0) continue;
      head[i].click(); head[i].click();
      const rows = [...holder.querySelectorAll("tbody tr")];
      seen.sorted[holder.dataset.table] = rows.map(row => Number(row.cells[i].textContent));
    }
    document.title = JSON.stringify(seen);
  }, 100);
});
</script>
"""


def addresses(text: str) -> list[str]:
    """All that a page refers to."""
    return re.findall(r'(?:src|href)="([^"]+)"', text.split("<script>")[0])


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
    assert not re.search(r"https?://|@import|url\(", re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL))


def test_the_page_shows_every_figure_or_says_why_not(page: Path) -> None:
    text = page.read_text()
    shown = {p.stem for p in page.parent.glob("*.png")}
    assert shown <= {Path(a).stem for a in addresses(text)}
    assert set(FIGURES) - shown
    assert "nothing to transfer" in text
    assert "tiny" in text.split("</h1>")[1].split("</dl>")[0]
    assert "commit_sha" in text.split('id="from"')[1]
    assert "demo_seeds = 2" in html.unescape(text)


def test_the_same_results_give_the_same_files(page: Path, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["--results", str(page.parents[1]), "--out", str(tmp_path)]).exit_code == 0
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {path.name for path in page.parent.iterdir() if not path.name.startswith("probe-")}
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
def test_a_browser_finds_every_picture_and_no_error(page: Path, width: int, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine: the page was not opened")
    probed = page.with_name(f"probe-{width}.html")
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=5000"]
    place = [f"--user-data-dir={tmp_path}", f"--window-size={width},900", "--dump-dom", probed.as_uri()]
    done = subprocess.run([browser, *options, *place], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    seen = json.loads(html.unescape(re.findall("<title>(.*?)</title>", done.stdout)[0]))
    assert set(seen["pictures"]) == {p.name for p in page.parent.glob("*.png")}
    assert all(seen["pictures"].values())
    assert seen["wide"] <= 0
    assert seen["sorted"]["emergence"] == sorted(seen["sorted"]["emergence"], reverse=True)
    assert len(seen["sorted"]["emergence"]) > 4


def test_a_table_gives_constants_once_and_leaves_out_long_tables() -> None:
    table = pl.DataFrame({"model": ["m", "m"], "x": [0.123456, float("nan")], "y": [None, "</script>"]})
    shown = report.report_table("t", "T", table)
    assert (shown.constant, shown.columns, shown.length) == ("model = m", ["x", "y"], 2)
    assert shown.rows == [[0.1235, None], [None, "</script>"]]
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
