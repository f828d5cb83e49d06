"""Fits and scores from stored contributions: no model, only what is missing, and the same rows again."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import analysis
from dynamics import scores
from dynamics.identity import short_hash
from dynamics.methods.fits import FIT_METHODS, SELECTION_METHODS
from dynamics.results import checksums
from dynamics.results.contributions import read_unit_arrays
from dynamics.results.store import open_store, parts
from jobs.derive import app as derive_app
from jobs.plan import app as plan_app
from jobs.rescoring import add_fits
from jobs.status import app as status_app
from jobs.sweep import app as sweep_app
from jobs.sweep_plan import SweepPlan
from jobs.verify import app as verify_app
from tests.models import write_plan

KEY = ["unit_id", "method", "variant", "n_labelled"]


@pytest.fixture
def swept(tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results with fits at K = 8 only; after it no model can be opened."""
    sweep(tmp_path, suite_folder, fits={"n_labelled": [8]})
    monkeypatch.setattr("jobs.open_checkpoint.load_model", lambda *_, **__: pytest.fail("a model was opened"))
    return tmp_path / "out"


def sweep(folder: Path, suite_folder: Path, **changes: object) -> str:
    """Sweep with n_train = 10; what it printed."""
    plan = plan_with(folder, suite_folder, **changes)
    done = CliRunner().invoke(sweep_app, [str(plan), "--out", str(folder / "out"), "--executor", "inline"])
    assert done.exit_code == 0, done.output
    return done.output


def plan_with(folder: Path, suite_folder: Path, **changes: object) -> Path:
    """A plan of four units with n_train = 10."""
    tasks = [
        {"name": "sentiment", "templates": ["plain"], "demo_seeds": 2, "n_shots": [4], "n_test": 12, "n_train": 10}
    ]
    return write_plan(folder / "plan.toml", suite_folder, tasks=tasks, **changes)


METHODS = (*FIT_METHODS, *SELECTION_METHODS)
"""Methods whose rows the fits of one variant and K give."""


EARLIER = ["full", "oracle_t1", "oracle_b1", "heldout_t1", "comp_rw", "calib_plus"]


def fitted(out: Path) -> pl.DataFrame:
    """The fitted rows of `prompt_scores`, sorted."""
    return analysis.load(out, "prompt_scores").filter(pl.col("fit_id").is_not_null()).sort(KEY).collect()


def test_a_sweep_fits_what_the_plan_asks(swept: Path) -> None:
    rows = fitted(swept)
    assert rows.group_by("method").len().sort("method").rows() == [(method, 4) for method in sorted(METHODS)]
    assert rows["n_labelled"].unique().to_list() == [8]
    assert rows["accuracy"].null_count() == 0
    weights = analysis.load(swept, "reweightings").collect()
    assert weights.group_by("unit_id").len()["len"].unique().to_list() == [10]
    assert weights["weight"].null_count() == 0


def test_a_new_k_or_lambda_computes_only_fits_and_only_the_new(swept: Path, tmp_path: Path, suite_folder: Path) -> None:
    before = fitted(swept)
    own = [{"name": "weaker", "base": "paper", "l1": 0.03, "max_epochs": 50}]
    said = sweep(tmp_path, suite_folder, fits={"n_labelled": [8, 12], "define": own})
    assert "4 units, 4 already done, 0 to run" in said
    assert f"{4 * 4} fits added from stored contributions" in said  # three, and held-out T1 at the new K
    after = fitted(swept)
    assert (
        after.unique([*KEY, "fit_id"]).height == after.height == 4 * (4 * len(FIT_METHODS) + 2 * len(SELECTION_METHODS))
    )
    assert after.join(before, on=["fit_id", *KEY], how="semi").equals(before)
    assert "fits added" not in sweep(tmp_path, suite_folder, fits={"n_labelled": [8, 12], "define": own})


def test_k_that_asks_for_more_rows_than_there_are_is_null_with_a_reason(tmp_path: Path, suite_folder: Path) -> None:
    sweep(tmp_path, suite_folder, fits={"n_labelled": [4, 24]})
    rows = fitted(tmp_path / "out")
    assert rows["accuracy"].null_count() == len(rows)
    reasons = sorted(rows["reason"].unique().to_list())
    assert reasons == [
        "K = 24 asks for 20 training rows beside 4 shots; 10 there",
        "K = 4 asks for 0 training rows beside 4 shots; 10 there",
    ]


def test_demonstrations_count_inside_k_for_the_paper_and_outside_for_the_code(
    tmp_path: Path, suite_folder: Path
) -> None:
    sweep(tmp_path, suite_folder, fits={"n_labelled": [12], "variants": ["paper", "official_code"]})
    rows = fitted(tmp_path / "out").filter(method="comp_rw")
    assert rows.filter(variant="paper")["accuracy"].null_count() == 0
    assert rows.filter(variant="official_code")["reason"].unique().to_list() == [
        "K = 12 asks for 12 training rows beside 4 shots; 10 there"
    ]


def test_derive_writes_the_same_rows_again_from_contributions(swept: Path) -> None:
    tables = {
        name: analysis.load(swept, name).collect() for name in ("predictions", "component_scores", "prompt_scores")
    }
    for path in (swept / "component_scores").rglob("*.parquet"):
        path.write_bytes(b"lost")
    done = CliRunner().invoke(derive_app, [str(swept)])
    assert done.exit_code == 0, done.output
    assert "2 parts scored again, 0 fits added" in done.output
    for name, before in tables.items():
        assert analysis.load(swept, name).collect().equals(before)


def test_fits_made_in_memory_are_those_of_stored_contributions(swept: Path) -> None:
    before = fitted(swept)
    files = {path for table in ("prompt_scores", "reweightings") for path in (swept / table).rglob("*-*.*.parquet")}
    for path in files:
        path.unlink()
    assert fitted(swept).is_empty()
    done = CliRunner().invoke(derive_app, [str(swept)])
    assert "2 parts scored again, 8 fits added" in done.output
    assert all(path.exists() for path in files)
    assert fitted(swept).equals(before)


def test_fits_that_another_sweep_wrote_meanwhile_are_not_written_again(swept: Path) -> None:
    """A part whose fits are partly stored gets the others only, also from arrays in memory."""
    store = open_store(swept)
    part = parts(store)[0]
    plan = SweepPlan.model_validate(
        {"name": "p", "models": [{"id": "reference"}], "tasks": [{"name": "topic"}], "fits": {"n_labelled": [8, 12]}}
    )
    arrays = read_unit_arrays(store, part)
    n_new = sum(fit.n_labelled == 12 for fit in plan.fits.all)
    assert add_fits(store, part, plan.fits.all, arrays) == n_new * len(arrays)
    assert not fitted(swept).select("unit_id", "method", "fit_id").is_duplicated().any()


def test_a_fit_that_fails_leaves_its_unit_done(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 2, "n_test": 12, "n_train": 10}]
    plan = write_plan(tmp_path / "plan.toml", suite_folder, tasks=tasks, fits={"n_labelled": [8]})
    command = [str(plan), "--out", str(tmp_path / "out"), "--executor", "inline"]
    with monkeypatch.context() as patch:
        patch.setattr("dynamics.results.tables.fit_units", lambda *_: 1 / 0)
        failed = CliRunner().invoke(sweep_app, command)
    assert failed.exit_code == 2
    assert (
        "a fit of tiny step 0 sentiment failed (ZeroDivisionError: division by zero). Its units are stored"
        in failed.output
    )
    assert analysis.load(tmp_path / "out", "units").collect().height == 4
    assert fitted(tmp_path / "out").is_empty()
    again = CliRunner().invoke(sweep_app, command)
    assert "4 units, 4 already done, 0 to run" in again.output
    assert fitted(tmp_path / "out").height == 4 * len(METHODS)


def test_results_of_an_earlier_release_get_what_it_did_not_compute(swept: Path) -> None:
    tables = ("predictions", "component_scores", "prompt_scores")
    now = {table: analysis.load(swept, table).sort(pl.all()).collect() for table in tables}
    for path in (path for table in tables for path in (swept / table).rglob("*.parquet")):
        rows = pq.read_table(path)
        later = [name for name in rows.column_names if "centred" in name or name in ("auc", "label_means")]
        if "method" in rows.column_names:
            later.append("label_share")
            rows = rows.filter(pc.is_in(rows["method"], pa.array(EARLIER)))
        path.write_bytes(checksums.encode(rows.drop_columns(later), path.relative_to(swept).parts[0]))
    assert analysis.load(swept, "component_scores").collect()["auc"].is_null().all()
    assert CliRunner().invoke(derive_app, [str(swept)]).exit_code == 0
    for table in tables:
        assert_frame_equal(analysis.load(swept, table).sort(pl.all()).collect(), now[table])
    assert CliRunner().invoke(verify_app, [str(swept)]).exit_code == 0


def test_the_answers_of_a_fit_earn_its_accuracy(swept: Path) -> None:
    ids = ["unit_id", "example_id"]
    asked = analysis.load(swept, "predictions").filter(pl.col("split") == "test").sort(ids)
    gold = asked.group_by("unit_id", maintain_order=True).agg("gold").collect()
    rows = analysis.load(swept, "prompt_scores").filter(pl.col("predictions").is_not_null()).collect()
    assert set(METHODS) < set(rows["method"])
    assert sorted(rows.filter(method="heldout_t1")["variant"].unique()) == ["split_half", "train_rows"]
    for row in rows.join(gold, on="unit_id").iter_rows(named=True):
        tied = np.array(row["tied"] or [0] * row["n_examples"], np.uint32)
        earned = scores.decode(np.array(row["predictions"]), tied, 2)
        assert scores.accuracy(earned, np.array(row["gold"])) == pytest.approx(row["accuracy"], abs=1e-12)


def test_derive_of_no_results_is_refused(tmp_path: Path) -> None:
    refused = CliRunner().invoke(derive_app, [str(tmp_path)])
    assert refused.exit_code == 2
    assert "holds no results" in refused.output


def test_fits_survive_a_reader_that_knows_only_committed_parts(swept: Path) -> None:
    """A fit of a part that was never committed is not read."""
    folder = next((swept / "prompt_scores").glob("model=*/step=0"))
    orphan = next(folder.glob("*.*.parquet"))
    orphan.with_name("sentiment-0123456789abcdef.01234567.parquet").write_bytes(orphan.read_bytes())
    assert fitted(swept).height == 4 * len(METHODS)
    assert [part.task for part in parts(open_store(swept))] == ["sentiment", "sentiment"]


def test_another_fit_under_a_stored_name_is_refused(swept: Path, tmp_path: Path, suite_folder: Path) -> None:
    """Else analyses would show the mean of two penalties as one curve."""
    own = {"name": "mine", "l1": 0.1, "max_epochs": 20}
    sweep(tmp_path, suite_folder, fits={"n_labelled": [8], "define": [own]})
    before = fitted(swept)
    plan = plan_with(tmp_path, suite_folder, fits={"n_labelled": [8], "define": [{**own, "l1": 0.5}]})
    for app, arguments in (
        (sweep_app, [str(plan), "--out", str(swept), "--executor", "inline"]),
        (plan_app, [str(plan), "--out", str(swept)]),
        (derive_app, [str(swept), "--plan", str(plan)]),
    ):
        refused = CliRunner().invoke(app, arguments)
        assert refused.exit_code == 2, refused.output
        assert "has comp_rw 'mine' at K = 8 with other settings" in refused.output
        assert "give the fit another name" in refused.output
    assert fitted(swept).equals(before)
    assert len(list((swept / "plans").glob("*.toml"))) == 2
    sweep(tmp_path, suite_folder, fits={"n_labelled": [8], "define": [{**own, "name": "other", "l1": 0.5}]})


def test_derive_refuses_plans_that_give_one_name_to_two_fits(swept: Path) -> None:
    """A sweep that was stopped before its first unit leaves a plan and no fit."""
    (plan,) = (swept / "plans").glob("*.toml")
    for l1 in (0.1, 0.5):
        text = plan.read_text() + f'\n[[fits.define]]\nname = "mine"\nl1 = {l1}\n'
        plan.with_name(f"tiny-{short_hash(text)}.toml").write_text(text)
    refused = CliRunner().invoke(derive_app, [str(swept)])
    assert refused.exit_code == 2
    assert "comp_rw 'mine' at K = 8 with other settings" in refused.output


def test_results_with_ids_of_another_version_are_not_added_to(swept: Path, tmp_path: Path, suite_folder: Path) -> None:
    """Their units and fits would look as if they were missing, and all would be there twice."""
    (swept / "store.json").write_text('{"schema_version": 1}')
    plan = plan_with(tmp_path, suite_folder, fits={"n_labelled": [8]})
    for app, arguments in ((sweep_app, [str(plan), "--out", str(swept)]), (derive_app, [str(swept)])):
        refused = CliRunner().invoke(app, arguments)
        assert refused.exit_code == 2
        assert "was written with ids of version 1" in refused.output
        assert "name another --out" in refused.output
    assert fitted(swept).height == 4 * len(METHODS)


def test_a_number_of_labels_is_given_once(tmp_path: Path, suite_folder: Path) -> None:
    plan = plan_with(tmp_path, suite_folder, fits={"n_labelled": [8, 8]})
    refused = CliRunner().invoke(sweep_app, [str(plan), "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert "n_labelled = [8, 8] has a number twice" in refused.output


@pytest.mark.parametrize("table", ["contributions", "predictions"])
def test_nothing_is_computed_from_a_changed_file(swept: Path, tmp_path: Path, suite_folder: Path, table: str) -> None:
    """Its numbers would get a checksum of their own, and never be seen again."""
    path = min((swept / table).rglob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 8] ^= 1  # in a page: the footer is near the end
    path.write_bytes(data)
    before = {path: path.read_bytes() for path in swept.rglob("*.parquet")}
    plan = plan_with(tmp_path, suite_folder, fits={"n_labelled": [8, 12]})
    for app, arguments in ((derive_app, []), (sweep_app, [str(plan), "--executor", "inline", "--out"])):
        refused = CliRunner().invoke(app, [*arguments, str(swept)])
        assert refused.exit_code == 2
        assert f"{path} is changed since it was written: its checksum differs" in refused.output
        assert "--repair` deletes what belongs to it" in refused.output
    assert {path: path.read_bytes() for path in before} == before


def test_a_file_that_cannot_be_read_is_one_line(swept: Path, tmp_path: Path, suite_folder: Path) -> None:
    path = min((swept / "units").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-200] + bytes(190) + path.read_bytes()[-10:])
    plan = plan_with(tmp_path, suite_folder, fits={"n_labelled": [8]})
    for app, arguments in ((derive_app, []), (sweep_app, [str(plan), "--out"]), (status_app, [])):
        refused = CliRunner().invoke(app, [*arguments, str(swept)])
        assert refused.exit_code == 2
        assert f"{path} is not readable as Parquet" in refused.output
        assert "`pythia-emergence verify" in refused.output
