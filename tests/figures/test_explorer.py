"""The explorer, in a browser: slider, pointing, keeping, address, CSV, keys, dark scheme, print, and odd names."""

import io
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, Page

import analysis
from figures import report
from figures.drawing import FIGURES, DrawnFigure
from tests.browser import chromium, hash_of, opened
from tests.stores import N_CANDIDATES, add_unit, answering, new_store

GOLD = np.arange(21) % 2
"""So many rows that shares of them have no end of digits."""
STEPS = (0, 1, 8, 64, 512)
FULL = [0.5, 0.5, 0.6, 0.8, 0.9]
EVIL = "</script><img src=x onerror=\"document.title='owned'\">'&amp;\"<b>"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five steps, two templates, two seeds; with four demonstrations and without, where components know less.

    Every third component has a bias towards the first label that hides what it knows.
    """
    root = tmp_path_factory.mktemp("explorer") / "out"
    made = new_store(root)
    for shots, step, template, seed in product((0, 4), STEPS, ("cue", "paper"), (0, 1)):
        share = FULL[STEPS.index(step)] - (0.1 if template == "cue" else 0) - (0.2 if shots == 0 else 0)
        right = np.clip(np.linspace(share - 0.3, share + 0.1, N_CANDIDATES), 0, 1).tolist()
        answers = np.column_stack([np.zeros(len(GOLD), int), answering(right, GOLD, seed=seed + step)])
        logits = np.eye(2)[answers]
        logits[:, ::3, 0] += 1.2
        add_unit(made, answers, GOLD, logits=logits, step=step, template=template, demo_seed=seed, n_shots=shots)
    return root


@pytest.fixture(scope="module")
def drawn(store: Path) -> list[DrawnFigure]:
    """What the explorer takes from figures, without their pictures."""
    tables = {name: analysis.run(name, store) for name in report.EXPLORER_TABLES[:3]}
    keys = {"model": "toy", "dtype": "float32", "control": "none", "task": "", "n_shots": None}
    head = {**keys, "measure": "prefix_matching", "component": "L1H3"}
    tables["mechanisms"] = pl.DataFrame([{**head, "step": step, "value": step / 512} for step in STEPS])
    return [DrawnFigure(name, FIGURES[name].question, "", table, (), ()) for name, table in tables.items()]


@pytest.fixture(scope="module")
def page(store: Path, drawn: list[DrawnFigure], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report."""
    found = report.write_report(drawn, store, tmp_path_factory.mktemp("page"))
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser: Browser, page: Path) -> Iterator[Page]:
    """The page, open and drawn."""
    with opened(browser, page) as found:
        ready(found)
        yield found


def ready(tab: Page) -> None:
    tab.wait_for_selector("#explorer[data-ready]")


def facts(tab: Page) -> dict[str, str]:
    """What is said of the component that is pointed at."""
    pairs = tab.locator("#facts div:has(dt)").all()
    return {pair.locator("dt").inner_text(): pair.locator("dd").inner_text() for pair in pairs}


def legend(tab: Page) -> dict[str, str]:
    """Curve -> its number at the chosen step."""
    buttons = tab.locator("#legend button").all()
    return {button.get_attribute("data-curve") or "": button.locator("b").inner_text() for button in buttons}


def picture(tab: Page, chart: str) -> str:
    return tab.evaluate(f"document.querySelector('#{chart} canvas').toDataURL()")


def changes(tab: Page, chart: str, act: Callable[[], object]) -> None:
    """Act, and wait until the chart looks different."""
    before = picture(tab, chart)
    act()
    tab.wait_for_function(
        "([id, before]) => document.querySelector(`#${id} canvas`).toDataURL() !== before", arg=[chart, before]
    )


def value(store: Path, column: str, **where: object) -> float:
    """A number of the table; of the full model where no component is named."""
    keys = {"template": "", "n_shots": 0, "component": "Full", **where}
    (number,) = analysis.run("component_curves", store).filter(**keys)[column]
    return number


def rounds_to(text: str, number: float) -> bool:
    """Whether a text is the number with as many places as it has."""
    return abs(float(text) - number) <= 0.5001 * 10.0 ** -len(text.split(".")[1])


def run_expression(code: str) -> pl.DataFrame:
    """The table that the page's Polars expression makes."""
    names: dict[str, pl.DataFrame] = {}
    exec(code, {}, names)
    return names["table"]


def test_the_slider_moves_through_training(tab: Page, store: Path) -> None:
    assert tab.locator("#step-words b").inner_text() == "512"
    assert rounds_to(legend(tab)["Full"], value(store, "accuracy", step=512))
    tab.locator("#step").focus()
    changes(tab, "map", lambda: tab.keyboard.press("ArrowLeft"))
    assert tab.locator("#step-words b").inner_text() == "64"
    assert rounds_to(legend(tab)["Full"], value(store, "accuracy", step=64))
    assert not rounds_to(legend(tab)["Full"], value(store, "accuracy", step=512))
    changes(tab, "diamond", lambda: tab.keyboard.press("Home"))
    tab.wait_for_function("location.hash.includes('step=0')")
    tab.locator("#play").click()
    tab.wait_for_function("document.querySelector('#step-words b').textContent === '512'")
    tab.wait_for_function("document.querySelector('#play').getAttribute('aria-pressed') === 'false'")


def test_settings_are_linked(tab: Page, store: Path) -> None:
    changes(tab, "curves", lambda: tab.locator("select[name=shots]").select_option("4"))
    assert rounds_to(legend(tab)["Full"], value(store, "accuracy", step=512, n_shots=4))
    changes(tab, "curves", lambda: tab.locator("select[name=template]").select_option("cue"))
    assert rounds_to(legend(tab)["Full"], value(store, "accuracy", step=512, n_shots=4, template="cue"))
    assert "no intervals" in tab.locator("#curves-note").inner_text()
    changes(tab, "map", lambda: tab.locator("#settings").get_by_text("less label bias").click())
    assert rounds_to(legend(tab)["Full"], value(store, "centred_accuracy", step=512, n_shots=4, template="cue"))
    assert hash_of(tab)["form"] == "centred"


def test_pointing_shows_a_component_and_draws_its_trace(tab: Page, store: Path) -> None:
    tab.locator("#map canvas").scroll_into_view_if_needed()
    box = tab.locator("#map canvas").bounding_box()
    assert box
    changes(tab, "curves", lambda: tab.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.25))
    shown = facts(tab)
    assert re.fullmatch(r"L1H\d", shown["component"])
    where = {"step": 512, "component": shown["component"]}
    assert rounds_to(shown["accuracy"], value(store, "accuracy", **where))
    assert rounds_to(shown["bias: share of its commonest answer"], value(store, "top_share", **where))
    tab.locator("#components input[type=search]").fill("L1H3")
    changes(tab, "map", lambda: tab.locator("#components td button", has_text="L1H3").hover())
    assert facts(tab)["component"] == "L1H3"
    assert facts(tab)["prefix matching"] == "1.000"


def test_kept_components_survive_in_the_address(tab: Page, browser: Browser, page: Path) -> None:
    tab.locator("#map canvas").scroll_into_view_if_needed()
    box = tab.locator("#map canvas").bounding_box()
    assert box
    changes(tab, "diamond", lambda: tab.mouse.click(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.7))
    tab.locator("#components input[type=search]").fill("L1MLP")
    changes(tab, "curves", lambda: tab.locator("#components td button", has_text="L1MLP").click())
    tab.locator("select[name=shots]").select_option("4")
    tab.locator("#legend button[data-curve=T1]").click()
    tab.wait_for_function("location.hash.includes('n_shots=4') && location.hash.includes('T1')")
    kept = [item.inner_text() for item in tab.locator("#kept button").all()]
    assert len(kept) == 2
    assert kept[1] == "L1MLP ×"
    address = "#" + tab.url.split("#")[1]
    with opened(browser, page, address) as again:
        ready(again)
        assert [item.inner_text() for item in again.locator("#kept button").all()] == kept
        assert again.locator("select[name=shots]").input_value() == "4"
        assert again.locator("#legend button[data-curve=T1]").get_attribute("aria-pressed") == "false"
        changes(again, "curves", again.locator("#kept button").first.click)
        assert hash_of(again)["keep"] == "L1MLP"


@pytest.mark.parametrize("template", ["", "cue"])
@pytest.mark.parametrize("keep", ["", "L0H1,L1MLP"])
def test_the_csv_is_what_its_polars_expression_makes(
    browser: Browser, page: Path, store: Path, template: str, keep: str
) -> None:
    address = f"#model=toy&task=sst2&n_shots=4&step=64&template={template}&keep={keep}"
    with opened(browser, page, address) as tab:
        ready(tab)
        with tab.expect_download() as download:
            tab.locator("#csv").click()
        csv = pl.read_csv(io.BytesIO(download.value.path().read_bytes()))
        tab.locator("#polars").click()
        made = run_expression(tab.locator("#polars-line").inner_text())
    every = analysis.load(store, "component_scores").select("component").unique().collect()["component"]
    assert set(made["component"]) == set(keep.split(",") if keep else every)
    assert csv.columns == made.columns
    keys, numbers = csv.columns[:7], ["accuracy", "centred_accuracy", "label_share_max", "n_prompts"]
    assert csv.select(keys).rows() == made.select(keys).rows()
    np.testing.assert_allclose(csv.select(numbers).to_numpy(), made.select(numbers).to_numpy(), rtol=0, atol=5.1e-7)


def test_everything_works_with_keys_alone(tab: Page) -> None:
    reached: list[str] = []
    for _ in range(40):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.id || document.activeElement.closest('[id]').id"))
        if reached[-1] == "map":
            break
    assert {"settings", "legend", "play", "step", "csv", "polars", "map"} <= set(reached)
    changes(tab, "curves", lambda: tab.keyboard.press("ArrowRight"))
    changes(tab, "map", lambda: tab.keyboard.press("ArrowUp"))
    assert facts(tab)["component"] == "L1H0"
    for _ in range(4):
        tab.keyboard.press("ArrowRight")
    assert facts(tab)["component"] == "L1MLP"
    tab.keyboard.press("Enter")
    tab.wait_for_function("location.hash.includes('keep=L1MLP')")
    for _ in range(12):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.closest('td') && document.activeElement.textContent !== 'L1MLP'"):
            break
    name = tab.evaluate("document.activeElement.textContent")
    assert facts(tab)["component"] == name
    tab.keyboard.press("Enter")
    tab.wait_for_function("location.hash.split('keep=')[1].includes('%2C')")
    assert name in hash_of(tab)["keep"].split(",")
    assert tab.evaluate("document.activeElement.textContent") == name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_narrow_and_dark(browser: Browser, page: Path, width: int, scheme: str) -> None:
    with opened(browser, page, width=width, color_scheme=scheme) as tab:
        ready(tab)
        assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        for chart in ("curves", "map", "diamond"):
            inside = "(box => box.left >= 0 && box.right <= innerWidth && box.width > 150)"
            assert tab.evaluate(f"{inside}(document.querySelector('#{chart} canvas').getBoundingClientRect())"), chart
        shade = sum(map(int, re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))
        assert (shade < 200) == (scheme == "dark")
        other = "light" if scheme == "dark" else "dark"
        changes(tab, "map", lambda: tab.emulate_media(color_scheme=other))


def test_print_and_no_script_fall_back_to_the_figures(browser: Browser, page: Path) -> None:
    with opened(browser, page) as tab:
        ready(tab)
        assert tab.locator("#explorer").is_visible()
        tab.emulate_media(media="print")
        assert not tab.locator("#explorer").is_visible()
        assert tab.locator("#from").is_visible()
    with opened(browser, page, java_script_enabled=False) as tab:
        assert not tab.locator("#explorer").is_visible()
        assert "needs JavaScript" in tab.locator("body").inner_text()


def test_an_address_of_other_results_says_what_is_missing(browser: Browser, page: Path) -> None:
    with opened(browser, page, "#model=toy&task=nli&n_shots=4&step=7&keep=L9H9,L0H1&template=x") as tab:
        ready(tab)
        words = tab.locator("#missed").inner_text()
        assert all(name in words for name in ("task nli", "step 7", "component L9H9", "template x"))
        assert hash_of(tab)["keep"] == "L0H1"


def test_many_numbers_are_in_a_file_beside_the_page(
    browser: Browser, store: Path, drawn: list[DrawnFigure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MAX_INLINE", 100)
    page = report.write_report(drawn, store, tmp_path)
    assert isinstance(page, Path)
    assert 'id="block-0"' not in page.read_text()
    with opened(browser, page) as tab:
        ready(tab)
        assert rounds_to(legend(tab)["Full"], value(store, "accuracy", step=512))


def test_names_are_text_whatever_they_are(
    browser: Browser, store: Path, drawn: list[DrawnFigure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renamed(table: pl.DataFrame) -> pl.DataFrame:
        evil = {name: pl.lit(f"{name}{EVIL}") for name in ("model", "task") if name in table.columns}
        if "template" in table.columns:
            evil["template"] = pl.when(pl.col("template") != "").then(pl.col("template") + EVIL).otherwise(pl.lit(""))
        if "revision" in table.columns:
            evil["revision"] = pl.format("{}{}", "step", pl.lit(EVIL))
        return table.with_columns(**evil)

    run = analysis.run
    monkeypatch.setattr(analysis, "run", lambda name, results: renamed(run(name, results)))
    monkeypatch.setattr(report, "plans", lambda _: {f"plan{EVIL}": f"text{EVIL}"})
    shown = [DrawnFigure(f.name, f.question, "", renamed(f.table), (), ()) for f in drawn]
    page = report.write_report(shown, store, tmp_path)
    assert isinstance(page, Path)
    with opened(browser, page, "#model=x") as tab:
        ready(tab)
        names = "(select) => [...select.options].map((option) => option.value)"
        assert tab.locator("select[name=model]").evaluate(names) == [f"model{EVIL}"]
        assert tab.locator("select[name=task]").inner_text().strip() == f"task{EVIL}"
        tab.locator("select[name=template]").select_option(f"cue{EVIL}")
        tab.wait_for_function("location.hash.includes('template=cue')")
        tab.locator("#polars").click()
        names = re.findall(r'pl\.col\("task"\) == (".*"),', tab.locator("#polars-line").inner_text())
        assert eval(names[0]) == f"task{EVIL}"
        tab.locator("#from .table tbody tr").first.wait_for()
        assert f"512{EVIL}" in tab.locator("#from .table").inner_text()
        assert f"plan{EVIL}" in tab.locator("#from").inner_text()
        assert tab.locator("img[src=x]").count() == 0
        assert tab.title() != "owned"
        address = "#" + tab.url.split("#")[1]
    with opened(browser, page, address) as again:
        ready(again)
        assert again.locator("select[name=template]").input_value() == f"cue{EVIL}"
        with again.expect_download() as download:
            again.locator("#csv").click()
        assert pl.read_csv(download.value.path())["task"].unique().to_list() == [f"task{EVIL}"]
