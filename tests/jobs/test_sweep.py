"""The sweep's command line, in process: results, resume, failures, and refusals that read well."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import analysis
import dynamics.decomposition
import jobs.run_checkpoint
from dynamics.decomposition import Decomposition
from dynamics.identity import METHOD_VERSION
from dynamics.reference import suite
from dynamics.results.schema import SCHEMA_VERSION
from dynamics.results.store import open_store, read_units
from jobs.sweep import app
from jobs.sweep_plan import read_plan
from tests.models import write_plan
from tests.results import rows
from tests.works import units_of


def run(plan: Path, out: Path) -> Result:
    """`python -m jobs.sweep PLAN --out OUT --executor inline`."""
    return CliRunner().invoke(app, [str(plan), "--out", str(out), "--executor", "inline"])


def test_a_sweep_writes_every_table_and_again_recomputes_nothing(
    results: Path, tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = analysis.load(results, "units").collect()
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    assert len(units) == 2 * (3 * 2 + 2 * 2) == len(units_of(read_plan(plan)))
    assert units["decomposition_error"].max() < 1e-5
    assert units["forward_error"].max() < 1e-5
    assert len(rows(results, "predictions")) == 2 * (6 * 18 + 4 * 36)
    assert len(rows(results, "component_scores")) == len(units) * 2 * 13
    assert len(list((results / "plans").glob("tiny-*.toml"))) == 1

    monkeypatch.setattr("jobs.open_checkpoint.load_model", lambda *_, **__: pytest.fail("a model was opened"))
    again = run(plan, results)
    assert again.exit_code == 0
    assert "20 units, 20 already done, 0 to run" in again.output


def test_scores_follow_from_contributions(results: Path) -> None:
    """The tables agree with each other: accuracy from contributions, predictions and prompt_scores."""
    for row in rows(results, "contributions").filter(split="test").sample(20, seed=0).iter_rows(named=True):
        values = torch.tensor(row["contributions"]).view(row["n_components"], row["n_labels"])
        assert torch.allclose(values.sum(0) + torch.tensor(row["constant"]), torch.tensor(row["full"]), atol=1e-4)
        mine = rows(results, "predictions").filter(unit_id=row["unit_id"], example_id=row["example_id"])
        assert mine["predictions"][0].to_list() == values.argmax(1).tolist()
        assert mine["full"][0] == int(torch.tensor(row["full"]).argmax())
    best = (
        rows(results, "component_scores")
        .filter(pl.col("split") == "test", pl.col("kind").is_in(["head", "mlp"]))
        .group_by("unit_id")
        .agg(best=pl.col("accuracy").max(), worst=pl.col("accuracy").min())
    )
    scored = (
        rows(results, "prompt_scores")
        .filter(n_labelled=0)
        .pivot("method", index="unit_id", values="accuracy")
        .join(best, on="unit_id")
    )
    assert scored.filter(pl.col("oracle_t1") != pl.col("best")).is_empty()
    assert scored.filter(pl.col("oracle_b1") != pl.col("worst")).is_empty()


def test_every_row_says_what_it_came_from(results: Path) -> None:
    units = analysis.load(results, "units").collect()
    for name in ("commit_sha", "content_hash", "forward_id", "task_hash", "versions", "task_source"):
        assert units[name].null_count() == 0
    assert units["versions"][0].startswith(f"method {METHOD_VERSION}, schema {SCHEMA_VERSION}, torch ")
    assert units.filter(step=4)["content_hash"].n_unique() == 1


def test_a_new_template_computes_only_the_new_prompts(tmp_path: Path, suite_folder: Path) -> None:
    tasks = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_test": 8}]
    run(write_plan(tmp_path / "a.toml", suite_folder, tasks=tasks), tmp_path / "out")
    tasks[0]["templates"] = ["plain", "cue"]
    wider = run(write_plan(tmp_path / "b.toml", suite_folder, tasks=tasks), tmp_path / "out")
    assert "4 units, 2 already done, 2 to run" in wider.output
    assert len(list((tmp_path / "out/plans").glob("*.toml"))) == 2


def test_the_same_cell_with_other_settings_is_refused(tmp_path: Path, suite_folder: Path) -> None:
    tasks = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_test": 8}]
    run(write_plan(tmp_path / "a.toml", suite_folder, tasks=tasks), tmp_path / "out")
    before = rows(tmp_path / "out", "predictions")
    tasks[0]["n_test"] = 10
    other = run(write_plan(tmp_path / "b.toml", suite_folder, tasks=tasks), tmp_path / "out")
    assert other.exit_code == 2
    assert "holds tiny step 0 sentiment/plain seed 0 4-shot from another plan or other weights" in other.output
    assert rows(tmp_path / "out", "predictions").equals(before)


def test_batch_size_changes_nothing(tmp_path: Path, suite_folder: Path, results: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder, token_budget=1)
    run(plan, tmp_path / "out")
    assert rows(tmp_path / "out", "predictions").equals(rows(results, "predictions"))
    one, many = (rows(out, "contributions")["contributions"].explode() for out in (tmp_path / "out", results))
    assert (one - many).abs().max() < 1e-4


def test_a_doubtful_unit_fails_and_the_others_are_kept(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = jobs.run_checkpoint.decompose

    def doubtful(model, prompts, **settings) -> Decomposition:
        split = honest(model, prompts, **settings)
        if (prompts.template, prompts.demo_seed) != ("cue", 1):
            return split
        return Decomposition(**{**vars(split), "error": float("nan")})

    monkeypatch.setattr("jobs.run_checkpoint.decompose", doubtful)
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    first = run(plan, tmp_path / "out")
    assert first.exit_code == 1
    assert "18 of 20 units done, 2 failed" in first.output
    assert "failed: tiny step 0 sentiment/cue seed 1 4-shot: FailedCheck: the parts differ" in first.output
    assert len(rows(tmp_path / "out", "units")) == 18
    monkeypatch.undo()
    second = run(plan, tmp_path / "out")
    assert second.exit_code == 0
    assert "20 units, 18 already done, 2 to run" in second.output


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": ')


def other_shapes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 128}))


def other_depth(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))


def unsupported(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt_neoxx"}))


def edited(name: str, change):
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors, name)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return edit


def poison(tensors: dict, name: str) -> None:
    tensors[name][0] = float("nan")


def drop(tensors: dict, name: str) -> None:
    del tensors[name]


MLP = "gpt_neox.layers.0.mlp.dense_h_to_4h.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "cannot be opened"),
        (without_weights, "holds no .safetensors file"),
        (without_config, "config.json is missing"),
        (without_tokenizer, "tokenizer.json is missing"),
        (broken_config, "config.json is not valid JSON"),
        (other_shapes, "mismatched keys: gpt_neox.layers.0.mlp.dense_4h_to_h.weight"),
        (other_depth, "missing keys: gpt_neox.layers.2"),
        (unsupported, "unknown model_type 'gpt_neoxx'; did you mean 'gpt_neox'?"),
        (edited(MLP, poison), f"{MLP} holds NaN or infinity"),
        (edited(MLP, drop), f"missing keys: {MLP}"),
    ],
)
def test_a_damaged_checkpoint_fails_alone_with_one_line(
    tmp_path: Path, suite_folder: Path, damage, message: str
) -> None:
    folder = shutil.copytree(suite_folder, tmp_path / "suite")
    damage(folder / "step0")
    tasks = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_test": 8}]
    swept = run(write_plan(tmp_path / "plan.toml", folder, tasks=tasks), tmp_path / "out")
    assert swept.exit_code == 1
    assert "1 of 2 units done, 1 failed" in swept.output
    failed = [line for line in swept.output.splitlines() if line.startswith("failed:")]
    assert len(failed) == 1
    assert message in failed[0], failed
    assert "Traceback" not in swept.output
    assert f"tracebacks are in {tmp_path / 'out/logs'}" in swept.output
    (log,) = (tmp_path / "out/logs").iterdir()
    assert "Traceback (most recent call last)" in log.read_text()
    assert rows(tmp_path / "out", "units")["step"].to_list() == [4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": [{"name": "sentimnt"}]}, "unknown task 'sentimnt'; did you mean 'sentiment'?"),
        ({"tasks": [{"name": "sentiment", "templates": ["plian"]}]}, "did you mean 'plain'?"),
        ({"tasks": [{"name": "sentiment", "n_shot": [4]}]}, "unknown key 'n_shot'; did you mean 'n_shots'?"),
        ({"tasks": [{"name": "sentiment", "n_test": 0}]}, "tasks.0.n_test = 0: Input should be greater than"),
        ({"tasks": [{"name": "topic"}, {"name": "topic"}]}, "has tiny step 0 topic/plain seed 0 4-shot twice"),
        ({"dtyp": "float16"}, "unknown key 'dtyp'; did you mean 'dtype'?"),
        ({"dtype": "float64"}, "dtype = 'float64': Input should be 'float32', 'bfloat16' or 'float16'"),
        ({"models": [{"id": "pythia"}]}, "model 'pythia' has no folder in the plan; only 'reference' is embedded"),
        ({"models": [{"id": "tiny", "folder": "/nowhere"}]}, "/nowhere is not a folder"),
        (
            {"models": [{"id": "tiny", "folder": "HERE", "steps": [3]}]},
            "tiny has no revision for 1 of the requested steps: 3 (nearest: 0 and 4)",
        ),
        ({"name": "../x"}, "name = '../x': String should match pattern"),
        ({"models": [{"id": "tiny", "folder": "HERE", "steps": []}]}, "models.0.steps"),
        ({"tasks": [{"name": "topic", "n_shots": []}]}, "tasks.0.n_shots = []"),
        ({"tasks": [{"name": "topic", "demo_seeds": []}]}, "tasks.0.demo_seeds"),
        ({"tasks": [{"name": "topic", "n_shots": 4}]}, "Input should be a list, as [1, 2]"),
        ({"device": "banana"}, "device = 'banana': String should match pattern"),
    ],
)
def test_a_wrong_plan_is_refused_in_one_line(tmp_path: Path, suite_folder: Path, changes: dict, message: str) -> None:
    for model in changes.get("models", []):
        model.update({k: str(suite_folder) for k, v in model.items() if v == "HERE"})
    refused = run(write_plan(tmp_path / "plan.toml", suite_folder, **changes), tmp_path / "out")
    assert refused.exit_code == 2
    assert message in refused.output
    assert len(refused.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_plan_names_those_there_are(tmp_path: Path) -> None:
    refused = run(tmp_path / "referense.toml", tmp_path / "out")
    assert refused.exit_code == 2
    assert "unknown plan 'referense'; did you mean 'reference'?" in refused.output
    (tmp_path / "bad.toml").write_text("name = ")
    assert "is not valid TOML" in run(tmp_path / "bad.toml", tmp_path / "out").output


def test_out_that_cannot_be_used_is_refused(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    (tmp_path / "file").touch()
    assert "is a file; results need a folder" in run(plan, tmp_path / "file").output
    assert "cannot make" in run(plan, tmp_path / "file" / "below").output
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    inside_job = run(plan, Path("out"))
    assert inside_job.exit_code == 2
    assert "--out out is relative: inside a Ray job" in inside_job.output


def test_an_interrupt_keeps_what_is_done_and_the_same_command_resumes(
    tmp_path: Path, suite_folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, calls = jobs.run_checkpoint.decompose, []

    def interrupted(*args, **settings) -> Decomposition:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return honest(*args, **settings)

    monkeypatch.setattr("jobs.run_checkpoint.decompose", interrupted)
    plan = write_plan(tmp_path / "plan.toml", suite_folder)
    stopped = run(plan, tmp_path / "out")
    assert stopped.exit_code == 130
    assert "The same command resumes" in stopped.output
    monkeypatch.undo()
    assert "20 units, 6 already done, 14 to run" in run(plan, tmp_path / "out").output
    for name in ("contributions", "predictions", "component_scores", "prompt_scores", "units"):
        assert rows(tmp_path / "out", name).drop("created", strict=False).equals(rows(results, name))


ONE_PROMPT = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_test": 8}]


def test_two_models_in_one_folder_keep_apart(tmp_path: Path, suite_folder: Path) -> None:
    models = [{"id": name, "folder": str(suite_folder), "steps": [0]} for name in ("a", "b")]
    swept = run(write_plan(tmp_path / "plan.toml", suite_folder, models=models, tasks=ONE_PROMPT), tmp_path / "out")
    assert swept.exit_code == 0
    assert rows(tmp_path / "out", "units")["model"].sort().to_list() == ["a", "b"]
    assert {p.name for p in (tmp_path / "out/predictions").iterdir()} == {"model=a", "model=b"}


def test_one_model_id_cannot_hold_two_runs(tmp_path: Path, suite_folder: Path) -> None:
    """Other weights at a step that is there already are refused, though the demonstration seeds differ."""
    other = shutil.copytree(suite_folder, tmp_path / "suite")
    shutil.copy(other / "step4/model.safetensors", other / "step0/model.safetensors")
    run(write_plan(tmp_path / "a.toml", suite_folder, tasks=ONE_PROMPT), tmp_path / "out")
    tasks = [{**ONE_PROMPT[0], "demo_seeds": [1]}]
    refused = run(write_plan(tmp_path / "b.toml", other, tasks=tasks), tmp_path / "out")
    assert refused.exit_code == 2
    assert "holds tiny step 0 sentiment/plain seed 1 4-shot from another plan or other weights" in refused.output
    tasks = [{**ONE_PROMPT[0], "demo_seeds": [1], "n_test": 10}]
    assert run(write_plan(tmp_path / "c.toml", suite_folder, tasks=tasks), tmp_path / "out").exit_code == 2


def test_a_repaired_checkpoint_leaves_no_failure_behind(tmp_path: Path, suite_folder: Path) -> None:
    folder = shutil.copytree(suite_folder, tmp_path / "suite")
    truncated(folder / "step0")
    plan = write_plan(tmp_path / "plan.toml", folder, tasks=ONE_PROMPT)
    assert run(plan, tmp_path / "out").exit_code == 1
    shutil.copy(suite_folder / "step0/model.safetensors", folder / "step0/model.safetensors")
    assert run(plan, tmp_path / "out").exit_code == 0
    assert read_units(open_store(tmp_path / "out"))["status"].to_list() == ["done", "done"]


def test_a_cut_off_part_is_named(tmp_path: Path, suite_folder: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder, tasks=ONE_PROMPT)
    run(plan, tmp_path / "out")
    part = next((tmp_path / "out/units").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-20])
    refused = run(plan, tmp_path / "out")
    assert refused.exit_code == 2
    assert f"{part.name} is cut off or not Parquet" in refused.output


def test_another_tokenizer_at_one_step_is_refused(tmp_path: Path, suite_folder: Path) -> None:
    folder = shutil.copytree(suite_folder, tmp_path / "suite")
    words = (folder / "step4/tokenizer.json").read_text()
    (folder / "step4/tokenizer.json").write_text(words.replace("positive", "positively"))
    refused = run(write_plan(tmp_path / "plan.toml", folder, tasks=ONE_PROMPT), tmp_path / "out")
    assert refused.exit_code == 2
    assert "model tiny has two tokenizers" in refused.output


NESTED = ("config", "tokenizer", "tokenizer_config", "generation_config", "special_tokens_map")


@pytest.mark.parametrize("name", NESTED)
def test_deeply_nested_json_is_one_line(tmp_path: Path, suite_folder: Path, name: str) -> None:
    folder = shutil.copytree(suite_folder, tmp_path / "suite")
    (folder / f"step4/{name}.json").write_text('{"a":' * 100_000)
    refused = run(write_plan(tmp_path / "plan.toml", folder, tasks=ONE_PROMPT), tmp_path / "out")
    assert isinstance(refused.exception, SystemExit)
    assert refused.exit_code in (1, 2)
    assert str(folder / "step4") in refused.output
    assert "RecursionError" not in refused.output


def test_a_manifest_of_something_else_is_no_manifest(tmp_path: Path, suite_folder: Path) -> None:
    folder = shutil.copytree(suite_folder, tmp_path / "suite")
    for content in ("{}", "[" * 100_000):
        (folder / "manifest.json").write_text(content)
        done = run(write_plan(tmp_path / "plan.toml", folder, tasks=ONE_PROMPT), tmp_path / "out")
        assert done.exit_code == 0, done.output


def test_weights_that_are_not_the_manifests_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "suite"
    for name in ("step0", "step1"):
        shutil.copytree(suite.checkpoints_dir() / name, folder / name)
    shutil.copy(suite.checkpoints_dir() / "manifest.json", folder)
    shutil.copy(folder / "step1/model.safetensors", folder / "step0/model.safetensors")
    models = [{"id": "copy", "folder": str(folder), "steps": [0, 1]}]
    refused = run(write_plan(tmp_path / "plan.toml", folder, models=models, tasks=ONE_PROMPT), tmp_path / "out")
    assert refused.exit_code == 2
    assert "the weights of step 0 are not those of manifest.json" in refused.output


def test_a_forward_pass_that_errs_on_long_prompts_only_is_seen(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = dynamics.decomposition.last_token

    def errs(anatomy, token_ids, *args, **settings):
        longest = max(map(len, token_ids))
        return honest(anatomy, [[*ids[:-1], 5] if len(ids) == longest else ids for ids in token_ids], *args, **settings)

    monkeypatch.setattr("dynamics.decomposition.last_token", errs)
    tasks = [{**ONE_PROMPT[0], "templates": ["buried"]}]
    swept = run(write_plan(tmp_path / "plan.toml", suite_folder, tasks=tasks), tmp_path / "out")
    assert swept.exit_code == 1
    assert "FailedCheck" in swept.output


def test_a_units_identity_covers_its_own_template_and_no_other(suite_folder: Path, tmp_path: Path) -> None:
    plan = read_plan(write_plan(tmp_path / "plan.toml", suite_folder, tasks=ONE_PROMPT))
    unit = units_of(plan)[0]
    other = replace(unit, template=replace(unit.template, label_words=("bad", "good")))
    assert other.cell == unit.cell
    assert other.unit_id != unit.unit_id
