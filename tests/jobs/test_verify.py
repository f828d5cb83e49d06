"""Verify: a valid folder is called valid, every planted fault is named, and repair lets the same sweep restore it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

import analysis
from dynamics.errors import StoreError
from dynamics.results.checksums import encode
from dynamics.results.file_names import FITTED
from dynamics.results.store import open_store
from jobs.active_sweeps import registered
from jobs.derive import app as derive_app
from jobs.sweep import app as sweep_app
from jobs.verify import app
from tests.models import write_plan

ROWS = {
    "contributions": ["unit_id", "example_id", "split"],
    "predictions": ["unit_id", "example_id", "split"],
    "component_scores": ["unit_id", "split", "component"],
    "prompt_scores": ["unit_id", "method", "variant", "n_labelled"],
    "reweightings": ["unit_id", "variant", "n_labelled", "component"],
}
"""Table -> columns that identify a row."""
OWN = [table for table in (*ROWS, "units") if table != "reweightings"]
"""Tables in which a part has a file of its own."""


def run(out: Path, *options: str) -> Result:
    """`python -m jobs.verify OUT`."""
    return CliRunner().invoke(app, [str(out), *options])


def kinds(out: Path, *options: str) -> set[str]:
    """Kinds of the problems found."""
    return {problem["kind"] for problem in json.loads(run(out, "--json", *options).output)["problems"]}


def remarks(out: Path) -> dict[str, int]:
    """Kinds of the remarks, counted."""
    return {remark["kind"]: remark["count"] for remark in json.loads(run(out, "--json").output)["remarks"]}


def sweep(plan: Path, out: Path) -> str:
    """Run a plan; what it printed."""
    done = CliRunner().invoke(sweep_app, [str(plan), "--out", str(out), "--executor", "inline"])
    assert done.exit_code == 0, done.output
    return done.output


def rows_of(out: Path) -> dict[str, list[tuple]]:
    """All rows of all tables but `units`."""
    return {table: analysis.load(out, table).sort(keys).collect().rows() for table, keys in ROWS.items()}


@pytest.fixture
def out(results: Path, tmp_path: Path) -> Path:
    """A copy of a valid folder."""
    return shutil.copytree(results, tmp_path / "out")


def one(out: Path, table: str) -> Path:
    """The first file of a table, a part's own."""
    return min(path for path in (out / table).rglob("*.parquet") if path.name.count(".") == 1)


def fits_of(out: Path, table: str) -> Path:
    """The last file of fits of a table, one with weights."""
    return max(path for path in (out / table).rglob("*.parquet") if path.name.count(".") == 2)


def change(
    table: str, edit: Callable[[pl.DataFrame], pl.DataFrame], find: Callable[[Path, str], Path] = one
) -> Callable[[Path], None]:
    """Rewrite a file with other rows, sealed as if it had been written so."""

    def apply(out: Path) -> None:
        path = find(out, table)
        rows = pq.read_table(path)
        path.write_bytes(encode(edit(pl.DataFrame(rows)).to_arrow().cast(rows.schema), table))

    return apply


def rename(table: str) -> Callable[[Path], None]:
    """The file of a part under the name of another part."""
    return lambda out: done(one(out, table).rename(one(out, table).with_name(f"sentiment-{'0' * 16}.parquet")))


def rename_fits(out: Path) -> None:
    """A set of fits under the name of another set."""
    path = fits_of(out, "prompt_scores")
    path.rename(path.with_name(path.name.replace(path.name.split(".")[1], "0" * 8)))


def copy(table: str, name: str) -> Callable[[Path], None]:
    """The file of a part once more, under another name beside it."""
    return lambda out: done(shutil.copy(one(out, table), one(out, table).with_name(name.format(one(out, table).stem))))


def to_another_step(table: str) -> Callable[[Path], None]:
    """The file of a part once more, among those of another step."""
    return lambda out: done(shutil.copy(one(out, table), one(out, table).parents[1] / "step=4"))


def link(table: str) -> Callable[[Path], None]:
    """A link to a file elsewhere in place of a part's own."""

    def apply(out: Path) -> None:
        path = one(out, table)
        path.symlink_to(path.rename(out.parent / "elsewhere.parquet"))

    return apply


def dead_link(table: str) -> Callable[[Path], None]:
    """A link to a file that is gone."""

    def apply(out: Path) -> None:
        path = one(out, table)
        path.unlink()
        path.symlink_to("nowhere")

    return apply


def done(*_: object) -> None:
    """Nothing, whatever a call returned."""


def without(column: str, value: object = None) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Drop the rows with a value, by default the first row's."""
    return lambda rows: rows.filter(pl.col(column) != (rows[column][0] if value is None else value))


def truncate(table: str, find: Callable[[Path, str], Path] = one) -> Callable[[Path], None]:
    return lambda out: done(find(out, table).write_bytes(find(out, table).read_bytes()[:-40]))


def empty(table: str) -> Callable[[Path], None]:
    return lambda out: done(one(out, table).write_bytes(b""))


def lose(table: str, find: Callable[[Path, str], Path] = one) -> Callable[[Path], None]:
    return lambda out: find(out, table).unlink()


def flip_a_byte(out: Path) -> None:
    data = bytearray(one(out, "predictions").read_bytes())
    data[len(data) // 3] ^= 1
    one(out, "predictions").write_bytes(data)


def swap_two_files(out: Path) -> None:
    first, second = sorted((out / "predictions").rglob("*.parquet"))[::2]
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def other_fits_file(out: Path) -> None:
    """The same fits once more, under the name of another set of fits."""
    path = min(path for path in (out / "prompt_scores").rglob("*.parquet") if path.name.count(".") == 2)
    shutil.copy(path, path.with_name(path.name.replace(path.name.split(".")[1], "0" * 8)))


def double(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows, rows.head(1)])


def spoil(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("full").list.eval(pl.element() + 0.01))


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncate("predictions"), "damaged"),
    "truncated commit": (truncate("units"), "damaged"),
    "empty": (empty("contributions"), "damaged"),
    "one bit": (flip_a_byte, "damaged"),
    "lost": (lose("component_scores"), "missing rows"),
    "a row too few": (change("predictions", lambda rows: rows.head(-1)), "row count"),
    "a row twice": (change("predictions", double), "duplicate rows"),
    "a score twice": (change("component_scores", double), "duplicate rows"),
    "a unit lost with its rows": (change("units", lambda rows: rows.head(-1)), "row count"),
    "another step's rows": (swap_two_files, "misplaced"),
    "no rows": (change("contributions", lambda rows: rows.head(0)), "missing rows"),
    "parts that do not sum": (change("contributions", spoil), "values"),
    "lists cut": (change("contributions", lambda r: r.with_columns(pl.col("contributions").list.head(3))), "values"),
    "beyond the gate": (change("units", lambda r: r.with_columns(decomposition_error=pl.lit(1e-3))), "tolerance"),
    "a gate of NaN": (change("units", lambda r: r.with_columns(forward_error=pl.lit(float("nan")))), "tolerance"),
    "no provenance": (change("units", lambda r: r.with_columns(forward_id=pl.lit(None, pl.String))), "metadata"),
    "fits twice": (other_fits_file, "duplicate rows"),
    **{f"lost {table}": (lose(table), "missing rows") for table in ("contributions", "predictions")},
    "base scores lost beside fits": (lose("prompt_scores"), "row count"),
    "a base score too few": (change("prompt_scores", without("method", "oracle_b1")), "row count"),
    "a unit's base scores lost": (change("prompt_scores", without("unit_id")), "row count"),
    "a unit's fits lost": (change("prompt_scores", without("unit_id"), fits_of), "row count"),
    "a fit lost": (change("prompt_scores", without("fit_id"), fits_of), "row count"),
    "a method of a fit lost": (change("prompt_scores", without("method", "calib_plus"), fits_of), "row count"),
    "a weight too few": (change("reweightings", lambda rows: rows.head(-1), fits_of), "fits"),
    "fits renamed": (rename_fits, "row count"),
    "weights lost": (lose("reweightings", fits_of), "fits"),
    "weights cut": (truncate("reweightings", fits_of), "damaged"),
    "fits cut": (truncate("prompt_scores", fits_of), "damaged"),
    **{f"{table} renamed": (rename(table), "missing rows") for table in OWN[:3]},
    "prompt_scores renamed": (rename("prompt_scores"), "row count"),
    "units renamed": (rename("units"), "metadata"),
    **{f"{table} of another task": (copy(table, "x{}.parquet"), "misplaced") for table in OWN},
    **{f"{table} of another step": (to_another_step(table), "misplaced") for table in OWN},
    **{f"{table} a link": (link(table), "link") for table in OWN},
    **{f"{table} a dead link": (dead_link(table), "damaged") for table in OWN},
}


def test_a_valid_folder_is_valid_and_is_not_changed(results: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    found = run(results)
    assert found.exit_code == 0, found.output
    assert "20 finished units" in found.output
    assert found.output.splitlines()[-1] == "valid"
    assert run(results, "--quick", "--repair").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_repair_leaves_only_what_a_sweep_computes_again(out: Path, fault: str) -> None:
    plant, kind = FAULTS[fault]
    plant(out)
    found = run(out)
    assert found.exit_code == 1
    assert kind in kinds(out)
    assert f"remedy: `pythia-emergence verify {out} --repair` removes it" in found.output
    assert "deleted" in run(out, "--repair").output
    assert kinds(out, "--quick") <= {"missing units", "fits"}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_sweep_mends_what_was_repaired(out: Path, results: Path, fault: str) -> None:
    FAULTS[fault][0](out)
    run(out, "--repair")
    sweep(results.parent / "plan.toml", out)
    assert run(out).exit_code == 0, run(out).output
    assert rows_of(out) == rows_of(results)


def test_lost_weights_are_fitted_again_without_a_model(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 2, "n_test": 12, "n_train": 10}]
    plan = write_plan(tmp_path / "plan.toml", suite_folder, tasks=tasks, fits={"n_labelled": [8]})
    sweep(plan, out := tmp_path / "out")
    assert run(out).exit_code == 0
    lost = min((out / "reweightings").rglob("*.parquet"))
    lost.unlink()
    assert kinds(out, "--quick") == {"fits"}
    assert f"fits {lost.name.split('.')[1]}" in run(out).output
    assert "deleted 1 files" in run(out, "--repair").output
    monkeypatch.setattr("jobs.open_checkpoint.load_model", lambda *_, **__: pytest.fail("a model was opened"))
    sweep(plan, out)
    assert run(out).exit_code == 0


@pytest.mark.parametrize("fault", ["truncated", "empty", "lost", "a row too few", "beyond the gate"])
def test_what_footers_and_keys_show_is_found_quickly(out: Path, fault: str) -> None:
    plant, kind = FAULTS[fault]
    plant(out)
    assert kind in kinds(out, "--quick")


def test_units_under_the_name_of_another_part_are_not_those_it_was_made_of(out: Path) -> None:
    rename("units")(out)
    assert kinds(out) >= {"metadata", "row count"}


def test_a_part_among_those_of_another_step_is_missing_to_readers(out: Path) -> None:
    moved = one(out, "predictions")
    moved.rename(moved.parents[1] / "step=4" / moved.name)
    with pytest.raises(StoreError, match="predictions lacks 1 of 4 parts"):
        analysis.load(out, "predictions")


def test_planned_units_and_fits_that_are_not_there_are_problems(out: Path) -> None:
    one(out, "units").unlink()
    found = json.loads(run(out, "--json").output)
    (missing,) = (problem for problem in found["problems"] if problem["kind"] == "missing units")
    assert missing["what"] == "6 planned units are missing"
    assert missing["remedy"] == "give the same sweep command again"
    assert remarks(out)["uncommitted files"] == 5  # all files of the part but that of `units`


def test_a_raced_unit_and_leftovers_are_remarks(out: Path) -> None:
    part = one(out, "units")
    rows = pl.read_parquet(part)
    for table in (*ROWS, "units"):
        for path in (out / table / part.parent.relative_to(out / "units")).glob(f"{part.stem}.*parquet"):
            other = path.with_name(path.name.replace(part.stem, "sentiment-" + "a" * 16))
            copy = pl.read_parquet(path)
            copy = copy.with_columns(part=pl.lit("a" * 16)) if table == "units" else copy
            other.write_bytes(encode(copy.to_arrow().cast(pq.read_schema(path)), table))
    (part.parent / ".tmp-sentiment-1").touch()
    (part.parent / "notes.txt").touch()
    assert remarks(out).keys() >= {"units in two parts", "temporary files", "foreign files"}
    assert remarks(out)["units in two parts"] == len(rows)
    assert kinds(out) == {"row count"}  # the copy's name is no hash of its units, which a true race's is


def test_two_results_for_a_cell_are_a_conflict(out: Path) -> None:
    rows = pl.DataFrame(pq.read_table(one(out, "units")))
    other = rows.head(1).with_columns(unit_id=pl.lit("f" * 16), part=pl.lit("b" * 16))
    path = one(out, "units").with_name("sentiment-" + "b" * 16 + ".parquet")
    path.write_bytes(encode(other.to_arrow().cast(pa.schema(pq.read_schema(one(out, "units")))), "units"))
    assert "conflict" in kinds(out)
    assert run(out).exit_code == 1


def test_nothing_is_repaired_while_a_sweep_is_at_work(out: Path) -> None:
    truncate("predictions")(out)
    with registered(open_store(out), "run1", "tiny", 20):
        refused = run(out, "--repair")
        assert "because of an active sweep" in run(out).output
    assert refused.exit_code == 2
    assert "repair after it has ended" in refused.output
    assert one(out, "predictions").exists()


def test_no_results_is_a_wrong_call(tmp_path: Path) -> None:
    refused = run(tmp_path)
    assert refused.exit_code == 2
    assert "holds no results" in refused.output


RESTORED = {
    **{f"lost {table}": lose(table) for table in OWN[:4]},
    **{f"cut {table}": truncate(table) for table in OWN[:4]},
    **{f"dead link in {table}": dead_link(table) for table in OWN[:4]},
    **{f"renamed {table}": rename(table) for table in OWN[:4]},
    **{f"lost fits in {table}": lose(table, fits_of) for table in FITTED},
    **{f"cut fits in {table}": truncate(table, fits_of) for table in FITTED},
}


@pytest.mark.parametrize("fault", RESTORED)
def test_the_same_sweep_alone_restores_what_is_lost_or_cut(out: Path, results: Path, fault: str) -> None:
    RESTORED[fault](out)
    sweep(results.parent / "plan.toml", out)
    assert run(out).exit_code == 0, run(out).output
    assert rows_of(out) == rows_of(results)


def test_lost_scores_are_made_again_without_a_model(out: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("predictions", "component_scores", "prompt_scores"):
        one(out, table).unlink()
    monkeypatch.setattr("jobs.open_checkpoint.load_model", lambda *_, **__: pytest.fail("a model was opened"))
    said = sweep(results.parent / "plan.toml", out)
    assert "20 already done, 0 to run" in said
    assert "files of finished units were looked for, not read again: `pythia-emergence verify OUT` reads them" in said
    assert "files of 1 finished parts or of fits on them are lost or cut off" in said
    assert rows_of(out) == rows_of(results)


def test_lost_contributions_run_again(out: Path, results: Path) -> None:
    one(out, "contributions").unlink()
    assert "14 already done, 6 to run" in sweep(results.parent / "plan.toml", out)


@pytest.mark.parametrize("name", ["notes.parquet", "{} (copy).parquet", "{}.00000000.parquet", "{}-2.parquet"])
def test_a_foreign_parquet_file_is_named_and_left_to_its_owner(out: Path, results: Path, name: str) -> None:
    for table in ("predictions", "units"):
        copy(table, name)(out)
    found = run(out, "--repair")
    assert found.exit_code == 1
    assert found.output.count("problem (foreign)") == 2
    assert "remedy: move the named files out of OUT, or delete them" in found.output.replace(str(out), "OUT")
    assert "--repair` removes" not in found.output
    assert kinds(out) == {"foreign"}
    assert rows_of(out) == rows_of(results)


def test_a_folder_shown_at_two_paths_is_named_and_nothing_behind_it_is_deleted(out: Path, results: Path) -> None:
    model = next((out / "predictions").iterdir())
    model.with_name("model=other").symlink_to(model.name)
    assert kinds(out) == {"link"}
    run(out, "--repair")
    assert rows_of(out) == rows_of(results)
    model.with_name("model=other").unlink()
    assert run(out).exit_code == 0


def test_a_folder_moved_to_another_disk_is_sound(out: Path) -> None:
    model = next((out / "predictions").iterdir())
    model.symlink_to(model.rename(out.parent / "moved"))
    assert run(out).exit_code == 0


def test_two_fits_of_one_name_are_a_conflict(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two sweeps at once could write them, or code from before they were refused."""
    monkeypatch.setattr("jobs.missing.check_fits", lambda *_: None)
    tasks = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_test": 12, "n_train": 10}]
    for l1 in (0.1, 0.5):
        own = {"n_labelled": [8], "define": [{"name": "mine", "l1": l1, "max_epochs": 5}]}
        sweep(write_plan(tmp_path / "plan.toml", suite_folder, tasks=tasks, fits=own), tmp_path / "out")
    found = run(tmp_path / "out")
    assert found.exit_code == 1
    assert "problem (conflict): comp_rw 'mine' at K = 8: two fits of one name, which analyses average" in found.output
    assert kinds(tmp_path / "out") == {"conflict"}


def test_derive_refuses_parts_that_lost_rows(out: Path) -> None:
    change("contributions", lambda rows: rows.head(-1))(out)
    refused = CliRunner().invoke(derive_app, [str(out)])
    assert refused.exit_code == 2
    assert "rows of 1 units are lost from contributions or predictions" in refused.output
