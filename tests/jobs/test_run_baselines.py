"""Prompting baselines in a sweep: beside their units, never at the price of computing those again."""

from pathlib import Path

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

import analysis
import jobs.derive
import jobs.run_baselines
from dynamics.methods.baselines import encoder_hash
from dynamics.methods.nearest import EmbeddingCache
from dynamics.methods.prompting import PromptInputs
from jobs.sweep import app
from jobs.sweep_plan import read_plan
from tests.dynamics.test_nearest import encoder as encoder
from tests.models import write_plan
from tests.works import units_of

TASKS = [
    {"name": "sentiment", "templates": ["plain"], "demo_seeds": 2, "n_shots": [0, 4], "n_test": 12, "n_train": 8},
    {"name": "topic", "templates": ["plain"], "demo_seeds": 1, "n_shots": [4], "n_test": 12, "n_train": 8},
]
BASELINES = pl.col("method").is_in(["standard", "prompt_selection"])


def plan_of(folder: Path, suite_folder: Path, **changes: object) -> Path:
    """Five units a checkpoint, K = 6 and 12, baselines on unless changed."""
    settings = {"tasks": TASKS, "prompting_baselines": True, "fits": {"n_labelled": [6, 12]}, **changes}
    return write_plan(folder / "plan.toml", suite_folder, **settings)


def run(plan: Path, out: Path) -> Result:
    """`python -m jobs.sweep PLAN --out OUT --executor inline`."""
    return CliRunner().invoke(app, [str(plan), "--out", str(out), "--executor", "inline"])


def baseline_rows(out: Path) -> pl.DataFrame:
    """The baselines' rows, sorted."""
    order = ["step", "task", "demo_seed", "n_shots", "method", "n_labelled"]
    return analysis.load(out, "prompt_scores").filter(BASELINES).collect().sort(order)


def test_every_unit_has_each_rival_once_for_every_k(tmp_path: Path, suite_folder: Path) -> None:
    done = run(plan_of(tmp_path, suite_folder), tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "lack" not in done.output
    rows = baseline_rows(tmp_path / "out")
    assert len(rows) == 2 * 5 * 2 * 2
    assert rows.select("unit_id", "fit_id").is_unique().all()
    assert rows["fit_id"].n_unique() == 4
    meant = rows.filter(
        ~((pl.col("n_shots") == 0) & ((pl.col("method") == "prompt_selection") | (pl.col("n_labelled") == 12)))
    )
    assert meant["accuracy"].null_count() == meant.filter(n_examples=12)["reason"].count() == 0
    standard, selected = (meant.filter(method=name) for name in ("standard", "prompt_selection"))
    assert (standard["n_shots_used"] == standard["n_labelled"]).all()
    assert (selected["n_shots_used"] == 4).all()
    assert set(selected["variant"]) == {"checkpoint"}
    null = rows.filter(pl.col("accuracy").is_null())
    assert set(null["reason"]) == {
        "a prompt without demonstrations has none to select",
        "K = 12 labelled examples; the unit has 0 demonstrations and 8 more",
    }
    assert set(null["n_shots"]) == {0}


def test_a_unit_done_without_them_is_not_computed_again(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run(plan_of(tmp_path, suite_folder, prompting_baselines=False), out).exit_code == 0
    before = {path: path.read_bytes() for path in sorted(out.rglob("*.parquet"))}
    monkeypatch.setattr("jobs.run_checkpoint.decompose", lambda *_, **__: pytest.fail("a unit was computed again"))
    later = run(plan_of(tmp_path, suite_folder), out)
    assert later.exit_code == 0, later.output
    assert "10 units, 10 already done, 0 to run" in later.output
    assert "10 units that are done lack Standard or PromptS for some K" in later.output
    assert before == {path: path.read_bytes() for path in before}
    assert len(baseline_rows(out)) == 40
    assert len(analysis.load(out, "units").collect()) == 10

    monkeypatch.setattr("jobs.open_checkpoint.load_model", lambda *_, **__: pytest.fail("a model was opened"))
    again = run(plan_of(tmp_path, suite_folder), out)
    assert again.exit_code == 0
    assert "lack" not in again.output


def test_they_are_the_same_with_the_unit_and_after_it(tmp_path: Path, suite_folder: Path) -> None:
    run(plan_of(tmp_path, suite_folder), tmp_path / "at_once")
    run(plan_of(tmp_path, suite_folder, prompting_baselines=False), tmp_path / "after")
    run(plan_of(tmp_path, suite_folder), tmp_path / "after")
    assert baseline_rows(tmp_path / "at_once").equals(baseline_rows(tmp_path / "after"))


def test_a_new_k_runs_only_that_k(tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run(plan_of(tmp_path, suite_folder, fits={"n_labelled": [6]}), out)
    ran: list[int] = []
    true = jobs.run_baselines.baseline_scores

    def spy(model, asked: PromptInputs, baselines, vectors: EmbeddingCache, **settings):
        ran.extend(baseline.n_labelled for baseline in baselines)
        return true(model, asked, baselines, vectors, **settings)

    monkeypatch.setattr("jobs.run_baselines.baseline_scores", spy)
    run(plan_of(tmp_path, suite_folder, fits={"n_labelled": [6, 12]}), out)
    assert ran == [12] * 20
    assert baseline_rows(out).select("unit_id", "fit_id").is_unique().all()
    assert len(baseline_rows(out)) == 40


def test_what_fails_is_listed_and_the_same_command_comes_back_to_it(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = tmp_path / "out", plan_of(tmp_path, suite_folder)
    true = jobs.run_baselines.baseline_scores

    def faulty(model, asked: PromptInputs, *rest, **settings):
        if asked.demo_seed == 1:
            raise ValueError("planted")
        return true(model, asked, *rest, **settings)

    with monkeypatch.context() as patch:
        patch.setattr("jobs.run_baselines.baseline_scores", faulty)
        failed = run(plan, out)
    assert failed.exit_code == 1
    assert "failed: tiny step 0 sentiment/plain seed 1 0-shot: ValueError: planted" in failed.output
    assert len(baseline_rows(out)) == 40 - 16
    assert set(analysis.load(out, "units").collect()["status"]) == {"done"}
    assert run(plan, out).exit_code == 0
    assert len(baseline_rows(out)) == 40


def test_derive_leaves_them_alone(tmp_path: Path, suite_folder: Path) -> None:
    out = tmp_path / "out"
    run(plan_of(tmp_path, suite_folder), out)
    before = baseline_rows(out)
    derived = CliRunner().invoke(jobs.derive.app, [str(out)])
    assert derived.exit_code == 0, derived.output
    assert baseline_rows(out).equals(before)


def test_an_encoder_is_named_and_hashed(tmp_path: Path, suite_folder: Path, encoder: Path) -> None:
    tasks = [{**TASKS[0], "n_shots": [4], "demo_seeds": 1}]
    out, plan = tmp_path / "out", plan_of(tmp_path, suite_folder, tasks=tasks, encoder=str(encoder))
    done = run(plan, out)
    assert done.exit_code == 0, done.output
    assert set(baseline_rows(out).filter(method="prompt_selection")["variant"]) == {
        f"{encoder.name}-{encoder_hash(encoder)[:8]}"
    }
    settings = read_plan(plan).baselines
    assert {baseline.encoder_hash for baseline in settings} == {"", encoder_hash(encoder)}
    run(plan_of(tmp_path, suite_folder, tasks=tasks), out)
    both = baseline_rows(out)
    assert len(both.filter(method="standard")) == 2 * 2
    assert len(both.filter(method="prompt_selection")) == 2 * 2 * 2


def test_an_encoder_that_is_none_is_refused_before_anything_runs(tmp_path: Path, suite_folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused = run(plan_of(tmp_path, suite_folder, encoder="empty"), tmp_path / "out")
    assert refused.exit_code == 2
    assert "empty holds no .safetensors file; give a folder that AutoModel reads" in refused.output


def test_units_are_the_same_with_and_without(tmp_path: Path, suite_folder: Path) -> None:
    """The rule of identity: baselines are not part of a unit's id, each has an id of its own."""
    on = read_plan(plan_of(tmp_path, suite_folder))
    off = read_plan(plan_of(tmp_path, suite_folder, prompting_baselines=False))
    assert [unit.unit_id for unit in units_of(on)] == [unit.unit_id for unit in units_of(off)]
    assert off.baselines == ()
