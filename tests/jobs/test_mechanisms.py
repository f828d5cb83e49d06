"""Mechanisms in a sweep: measured once, resumed, verified, compacted, and never at the price of a finished unit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

import analysis
import dynamics.decomposition
import dynamics.mechanisms.ablation
import dynamics.mechanisms.function_vectors
import dynamics.mechanisms.label_attention
import jobs.run_mechanisms
from dynamics.mechanisms.rows import mechanism_table
from dynamics.mechanisms.settings import Mechanism
from dynamics.results.checksums import encode
from jobs import compact, derive, plan, sweep, verify
from tests.models import write_plan

ALL = ["sequences", "copying", "label_attention", "ablation"]
TASKS = [
    {"name": "sentiment", "templates": ["plain"], "demo_seeds": 2, "n_shots": [4], "n_test": 12, "n_train": 6},
    {"name": "wordmap", "templates": ["plain"], "demo_seeds": 1, "n_shots": [0, 2], "n_test": 12, "n_train": 6},
]
ADDED = ("mechanisms", "ablations")
SORT = {
    "mechanisms": ["unit_id", "fit_id", "measure", "component"],
    "ablations": ["unit_id", "fit_id", "selection", "components"],
}


def plan_of(folder: Path, suite_folder: Path, **changes: object) -> Path:
    """Four units a checkpoint, all mechanisms, k = 2 unless changed."""
    settings = {"tasks": TASKS, "mechanisms": ALL, "ablation": {"k": 2}, **changes}
    return write_plan(folder / "plan.toml", suite_folder, **settings)


def run(plan_path: Path, out: Path) -> Result:
    """`python -m jobs.sweep PLAN --out OUT --executor inline`."""
    return CliRunner().invoke(sweep.app, [str(plan_path), "--out", str(out), "--executor", "inline"])


def rows(out: Path, table: str) -> pl.DataFrame:
    """All rows of one of the two tables, sorted."""
    return analysis.load(out, table).collect().sort(SORT[table])


def problems(out: Path) -> dict[str, str]:
    """Kind -> text of what verify finds."""
    printed = CliRunner().invoke(verify.app, [str(out), "--json"])
    return {problem["kind"]: problem["what"] for problem in json.loads(printed.output)["problems"]}


def spied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int, int]]:
    """Mechanism, task, shots and step of every measurement from now on."""
    measured: list[tuple[str, str, int, int]] = []

    def spy(on: object, mechanism: Mechanism, keys: dict[str, object]) -> object:
        measured.append((mechanism.name, str(keys["task"]), int(str(keys["n_shots"])), int(str(keys["step"]))))
        return mechanism_table(on, mechanism, keys)  # type: ignore[arg-type]

    monkeypatch.setattr("jobs.run_mechanisms.mechanism_table", spy)
    return measured


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, suite_folder: Path) -> Path:
    """Results with all mechanisms; read only."""
    root = tmp_path_factory.mktemp("swept")
    done = run(plan_of(root, suite_folder), root / "out")
    assert done.exit_code == 0, done.output
    assert "lack" not in done.output
    return root / "out"


@pytest.fixture
def out(swept: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return shutil.copytree(swept, tmp_path / "out")


def test_every_unit_has_what_is_its_own_once(swept: Path) -> None:
    """Those of weights once a checkpoint; none of label attention without demonstrations."""
    found = rows(swept, "mechanisms")
    assert found.select("unit_id", "fit_id", "measure", "component").is_unique().all()
    for measure in ("previous_token", "prefix_matching", "duplicate_token", "copying", "copying_rank"):
        own = found.filter(measure=measure)
        assert len(own) == 2 * 8
        assert own["unit_id"].n_unique() == 2
    attention = found.filter(measure="label_attention")
    assert len(attention) == 2 * 3 * 8
    assert set(attention["n_shots"]) == {2, 4}
    ablated = rows(swept, "ablations")
    assert ablated["unit_id"].n_unique() == 2 * 4
    assert len(ablated) == 2 * 4 * (1 + 2 + 5 + 6)
    full = analysis.load(swept, "prompt_scores").filter(method="full", split="test").collect()
    joined = ablated.filter(selection="none").join(full, on="unit_id", suffix="_full")
    assert (joined["accuracy"] == joined["accuracy_full"]).all()
    assert joined["total_effect"].null_count() == len(joined) == 8


def test_a_second_sweep_measures_nothing(
    out: Path, tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.open_checkpoint.load_model", lambda *_, **__: pytest.fail("a model was opened"))
    again = run(plan_of(tmp_path, suite_folder), out)
    assert again.exit_code == 0, again.output
    assert "8 units, 8 already done, 0 to run" in again.output
    assert "lack" not in again.output


def test_a_mechanism_added_to_a_finished_sweep_is_all_that_is_measured(
    swept: Path, tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = tmp_path / "later"
    assert run(plan_of(tmp_path, suite_folder, mechanisms=[]), later).exit_code == 0
    before = {path: path.read_bytes() for path in sorted(later.rglob("*.parquet"))}
    assert not (later / "mechanisms").exists()
    monkeypatch.setattr("jobs.run_checkpoint.decompose", lambda *_, **__: pytest.fail("a unit was computed again"))
    measured = spied(monkeypatch)
    first = run(plan_of(tmp_path, suite_folder, mechanisms=["label_attention", "sequences"]), later)
    assert first.exit_code == 0, first.output
    assert "8 units that are done lack a mechanism" not in first.output
    assert "6 units that are done lack a mechanism" in first.output
    assert sorted(name for name, *_ in measured) == ["label_attention"] * 6 + ["sequences"] * 2
    measured.clear()
    assert run(plan_of(tmp_path, suite_folder), later).exit_code == 0
    assert sorted(name for name, *_ in measured) == ["ablation"] * 8 + ["copying"] * 2
    assert before == {path: path.read_bytes() for path in before}
    for table in ADDED:
        assert rows(later, table).equals(rows(swept, table)), "after the units other numbers than with them"


@pytest.mark.parametrize("table", ADDED)
def test_a_kill_between_files_leaves_what_is_whole_and_the_rest_is_measured(
    table: str, swept: Path, tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, path = tmp_path / "killed", plan_of(tmp_path, suite_folder)
    honest = jobs.run_mechanisms.write_fits
    written: list[str] = []

    def dies(store: object, part: object, fits: str, tables: dict[str, object]) -> None:
        if table in tables and written.count(table) == 1:
            raise KeyboardInterrupt
        written.extend(tables)
        honest(store, part, fits, tables)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("jobs.run_mechanisms.write_fits", dies)
        assert run(path, out).exit_code == 130
    kept = {file: file.read_bytes() for name in ADDED for file in (out / name).rglob("*.parquet")}
    assert kept
    measured = spied(monkeypatch)
    again = run(path, out)
    assert again.exit_code == 0, again.output
    assert 0 < len(measured) < 2 * (1 + 1 + 3 + 4)
    assert all(file.read_bytes() == data for file, data in kept.items())
    for name in ADDED:
        assert rows(out, name).equals(rows(swept, name))
    assert problems(out) == {}


@pytest.mark.parametrize("table", ADDED)
@pytest.mark.parametrize(
    "harm", [lambda path: path.write_bytes(path.read_bytes()[:-40]), Path.unlink], ids=["cut off", "lost"]
)
def test_a_file_that_is_cut_off_or_lost_is_named_and_measured_again(
    table: str, harm: Callable[[Path], object], swept: Path, out: Path, tmp_path: Path, suite_folder: Path
) -> None:
    harm(min((out / table).rglob("sentiment*.parquet")))
    assert "fits" in problems(out)
    assert run(plan_of(tmp_path, suite_folder), out).exit_code == 0
    assert problems(out) == {}
    for name in ADDED:
        assert rows(out, name).equals(rows(swept, name))


def test_verify_passes_a_good_store(swept: Path) -> None:
    assert problems(swept) == {}


def rewrite(path: Path, table: str, edit: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Other rows in a file, sealed as if it had been written so."""
    stored = pq.read_table(path)
    path.write_bytes(encode(edit(pl.DataFrame(stored)).to_arrow().cast(stored.schema), table))


@pytest.mark.parametrize("table", ADDED)
@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("duplicate rows", lambda stored: pl.concat([stored, stored.head(1)])),
        ("row count", lambda stored: stored.slice(1)),
        ("row count", lambda stored: stored.head(-1)),
    ],
    ids=["twice", "without the first", "without the last"],
)
def test_verify_names_rows_that_are_there_twice_or_not_and_repair_removes_that_file_alone(
    table: str,
    kind: str,
    edit: Callable[[pl.DataFrame], pl.DataFrame],
    swept: Path,
    out: Path,
    tmp_path: Path,
    suite_folder: Path,
) -> None:
    path = min((out / table).rglob("sentiment*.parquet"))
    rewrite(path, table, edit)
    assert set(problems(out)) == {kind}
    assert table in problems(out)[kind]
    assert CliRunner().invoke(verify.app, [str(out), "--repair"]).exit_code == 1
    assert not path.exists()
    assert len(list((out / "units").rglob("*.parquet"))) == len(list((swept / "units").rglob("*.parquet")))
    assert run(plan_of(tmp_path, suite_folder), out).exit_code == 0
    for name in ADDED:
        assert rows(out, name).equals(rows(swept, name))


def test_two_settings_of_ablation_are_told_apart(out: Path, tmp_path: Path, suite_folder: Path) -> None:
    before = rows(out, "ablations")
    changed = run(plan_of(tmp_path, suite_folder, ablation={"k": 1, "replacement": "zero"}), out)
    assert changed.exit_code == 0, changed.output
    both = rows(out, "ablations")
    assert both.filter(k=2, replacement="mean").equals(before)
    zero = both.filter(k=1, replacement="zero")
    assert len(both) == len(before) + len(zero)
    assert set(zero["fit_id"]).isdisjoint(before["fit_id"])
    assert zero["fit_id"].n_unique() == before["fit_id"].n_unique() == 1
    assert problems(out) == {}


def test_compaction_keeps_both_tables(swept: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(compact.app, [str(swept), "--to", str(tmp_path / "few")])
    assert done.exit_code == 0, done.output
    for table in ADDED:
        assert rows(tmp_path / "few", table).equals(rows(swept, table))
    sound = CliRunner().invoke(verify.app, [str(tmp_path / "few")])
    assert sound.exit_code == 0, sound.output


def test_derive_leaves_both_alone(out: Path, swept: Path) -> None:
    derived = CliRunner().invoke(derive.app, [str(out)])
    assert derived.exit_code == 0, derived.output
    for table in ADDED:
        assert rows(out, table).equals(rows(swept, table))
    assert problems(out) == {}


def test_a_unit_that_fails_in_a_mechanism_is_listed_and_the_others_are_kept(
    swept: Path, tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, path = tmp_path / "failed", plan_of(tmp_path, suite_folder)

    def faulty(on: object, mechanism: Mechanism, keys: dict[str, object]) -> object:
        if mechanism.name == "label_attention" and keys["demo_seed"] == 1 and keys["step"] == 4:
            raise ValueError("planted")
        return mechanism_table(on, mechanism, keys)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("jobs.run_mechanisms.mechanism_table", faulty)
        failed = run(path, out)
    assert failed.exit_code == 1
    assert "failed: tiny step 4 sentiment/plain seed 1 4-shot: ValueError: planted" in failed.output
    assert set(analysis.load(out, "units").collect()["status"]) == {"done"}
    lost = {(row["step"], row["task"], row["demo_seed"]) for row in rows(swept, "ablations").to_dicts()} - {
        (row["step"], row["task"], row["demo_seed"]) for row in rows(out, "ablations").to_dicts()
    }
    assert lost == {(4, "sentiment", 1)}
    measured = spied(monkeypatch)
    assert run(path, out).exit_code == 0
    assert sorted(name for name, *_ in measured) == ["ablation", "label_attention"]
    for table in ADDED:
        assert rows(out, table).equals(rows(swept, table))


def test_half_precision_is_measured_too(swept: Path, tmp_path: Path, suite_folder: Path) -> None:
    done = run(plan_of(tmp_path, suite_folder, dtype="bfloat16"), tmp_path / "half")
    assert done.exit_code == 0, done.output
    half = rows(tmp_path / "half", "mechanisms")
    order = ["step", "task", "demo_seed", "n_shots", "measure", "component"]
    own, float32 = half.sort(order), rows(swept, "mechanisms").sort(order)
    assert own.select(order).equals(float32.select(order))
    assert own["value"].is_finite().all()
    attention = (own["value"] - float32["value"]).filter(own["measure"].str.ends_with("_attention"))
    assert attention.abs().max() < 0.05  # type: ignore[operator]
    assert rows(tmp_path / "half", "ablations")["mean_margin"].is_finite().all()


@pytest.mark.parametrize("n_train", [0, 6])
def test_a_plan_says_how_many_passes_it_will_make(
    n_train: int, tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes over units' prompts, and those over a few prompts, which function vectors make alone."""
    out = tmp_path / "out"
    settings = {"tasks": [{**task, "n_train": n_train} for task in TASKS], "mechanisms": [*ALL, "function_vectors"]}
    assert run(plan_of(tmp_path, suite_folder, **{**settings, "mechanisms": []}), out).exit_code == 0
    path = plan_of(tmp_path, suite_folder, **settings)
    said = CliRunner().invoke(plan.app, [str(path), "--out", str(out), "--json"])
    assert said.exit_code == 0, said.output
    expected = json.loads(said.output)
    calls: dict[bool, int] = {False: 0, True: 0}
    for module in (
        dynamics.mechanisms.ablation,
        dynamics.mechanisms.label_attention,
        dynamics.mechanisms.function_vectors,
        dynamics.decomposition,
    ):
        honest = module.run_prompts
        few = module is dynamics.mechanisms.function_vectors

        def counted(*args: object, honest: Callable[..., object] = honest, few: bool = few) -> object:
            calls[few] += 1
            return honest(*args)

        monkeypatch.setattr(module, "run_prompts", counted)
    done = run(path, out)
    assert done.exit_code == 0, done.output
    assert calls[False] == expected["n_mechanism_passes"]
    assert calls[True] == expected["n_function_vector_passes"] == 2 * 3 * (1 + 8)
    lines = CliRunner().invoke(plan.app, [str(path)]).output
    assert f"and up to {calls[False]} passes over units' prompts, for mechanisms" in lines
    assert "and 54 passes over 25 prompts each, for function vectors" in lines
