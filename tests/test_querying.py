"""Every snippet of docs/querying.md runs; both languages give one answer, also of a folder that is not tidy."""

import re
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import analysis
from dynamics.errors import StoreError
from dynamics.results.checksums import encode
from dynamics.results.tables import BASE_METHODS
from tests.stores import add_unit, answering, new_store

PAGE = Path(__file__).parents[1] / "docs" / "querying.md"
BLOCK = re.compile(r"^(## [^\n]*)$|^```(python|sql)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GOLD = np.arange(40) % 2
Ask = Callable[[str], pl.DataFrame]


def snippets() -> list[tuple[str, str, str]]:
    """(heading, language, code) in the order of the page."""
    found, heading = [], ""
    for title, language, code in BLOCK.findall(PAGE.read_text()):
        heading = title.removeprefix("## ") or heading
        if code:
            found.append((heading, language, code))
    return found


QUESTIONS = [
    pytest.param(python[2], sql[2], id=python[0])
    for python, sql in pairwise(snippets()[2:])
    if (python[1], sql[1]) == ("python", "sql")
]


@pytest.fixture(scope="module")
def untidy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Planted units; one of them twice, in two parts; a part that was never committed; and files of other versions."""
    store = new_store(tmp_path_factory.mktemp("querying") / "out")
    for step, best in ((0, 0.5), (4, 0.8), (16, 0.9)):
        for seed in (0, 1):
            right = [best - 0.05 * j + 0.02 * seed for j in range(10)]
            answers = answering(right, GOLD, seed)
            weights = [("default", 12, np.linspace(1, 0, 10).tolist())]
            keys = {"task": "sentiment", "step": step, "demo_seed": seed, "device": "cpu", "forward_seconds": 1.5}
            units = {name: keys.pop(name) for name in ("device", "forward_seconds")}
            add_unit(store, answers, GOLD, full=answers[:, 1], weights=weights, **keys)
            _amend(store.root / "units", seed, step, **units, score_seconds=0.5, decomposition_error=1e-7)
    for table in ("contributions", "predictions", "component_scores", "prompt_scores", "reweightings", "units"):
        first, last = sorted((store.root / table).glob("*/step=4/*.parquet"))
        _copy(first, "0" * 16)  # another driver's equal rows, committed as well
        if table != "units":
            _copy(last, "f" * 16)  # never committed
        other = min((store.root / table).glob("*/step=16/*.parquet"))
        _write(other, pl.read_parquet(other).with_columns(of_a_later_version=1))
    older = min((store.root / "reweightings").glob("*/step=16/*.parquet"))
    _write(older, pl.read_parquet(older).drop("keeps_remainder"))
    return store.root


def _amend(units: Path, seed: int, step: int, **columns: object) -> None:
    for path in units.glob(f"*/step={step}/*.parquet"):
        rows = pl.read_parquet(path)
        if rows["demo_seed"].item() == seed:
            _write(path, rows.with_columns(**{name: pl.lit(value) for name, value in columns.items()}))


def _copy(path: Path, part: str) -> None:
    rows = pl.read_parquet(path)
    if "part" in rows.columns:
        rows = rows.with_columns(part=pl.lit(part))
    _write(path.with_name(f"sentiment-{part}.parquet"), rows)


def _write(path: Path, rows: pl.DataFrame) -> None:
    path.write_bytes(encode(rows.to_arrow(), path.parents[2].name))


@pytest.fixture(scope="module")
def opened(untidy: Path) -> Iterator[tuple[dict, Ask]]:
    """Names that the page's first Python block defines, and DuckDB with the page's views."""
    import duckdb  # a module that holds its classes makes it print what it leaks when the tests end

    (_, _, python), (_, _, sql) = snippets()[:2]
    names: dict[str, object] = {}
    exec(python.replace("demo/results", str(untidy)), names)
    with duckdb.connect() as connection:
        connection.execute(sql.replace("demo/results", str(untidy)))
        yield names, lambda query: connection.sql(query).pl()


def test_snippets_come_in_pairs_and_every_question_is_asked() -> None:
    assert len(QUESTIONS) * 2 + 2 == len(snippets())
    assert len({question.id for question in QUESTIONS}) == len(QUESTIONS) >= 8


@pytest.mark.parametrize(("python", "sql"), QUESTIONS)
def test_both_languages_give_the_same_answer(python: str, sql: str, opened: tuple[dict, Ask], untidy: Path) -> None:
    names, ask = opened
    space = dict(names)
    exec(python.replace("demo/results", str(untidy)), space)
    table = space["table"]
    assert isinstance(table, pl.DataFrame)
    assert len(table) > 0
    assert_frame_equal(table, ask(sql.replace("demo/results", str(untidy))), check_dtypes=False)


@pytest.mark.parametrize("table", ["contributions", "predictions", "component_scores", "prompt_scores", "reweightings"])
def test_each_finished_unit_counts_once_in_both(table: str, opened: tuple[dict, Ask], untidy: Path) -> None:
    per_unit = {
        "contributions": 40,
        "predictions": 40,
        "component_scores": 11,
        "prompt_scores": len(BASE_METHODS),
        "reweightings": 10,
    }
    loaded = analysis.load(untidy, table).collect()
    assert loaded.group_by("unit_id").len()["len"].to_list() == [per_unit[table]] * 6
    _, ask = opened
    assert ask(f"SELECT count(*) AS n FROM finished('{table}')")["n"].item() == 6 * per_unit[table]
    assert "of_a_later_version" not in loaded.columns


def test_a_column_that_older_files_lack_is_null(untidy: Path) -> None:
    rows = analysis.load(untidy, "reweightings").filter(pl.col("step") == 16).collect()
    assert (len(rows), rows["keeps_remainder"].null_count()) == (20, 10)  # one file of two lacks the column
    assert rows["weight"].null_count() == 0


def test_an_empty_file_is_refused_and_not_skipped(untidy: Path, tmp_path: Path) -> None:
    shutil.copytree(untidy, tmp_path / "out")
    path = min((tmp_path / "out" / "component_scores").glob("*/step=0/*.parquet"))
    path.write_bytes(b"")
    assert len(pl.read_parquet(str(path.parent / "*.parquet"))) == 11  # Polars says nothing
    with pytest.raises(StoreError, match=r"is empty \(0 bytes\): its rows are lost"):
        analysis.load(tmp_path / "out", "component_scores")
