"""Sweeps with controls: which units there are, that they resume, and that what must be chance is chance."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analysis
from dynamics.checkpoints import find_checkpoints, random_init
from dynamics.loading import load_model
from dynamics.results.store import CELL
from jobs.fetching import fetch, local_files
from jobs.preflight import preflight
from jobs.resolving import resolve_plan
from jobs.sweep_plan import read_plan
from tests import hub_models
from tests.hub_server import FakeHub
from tests.jobs.test_sweep import ONE_PROMPT, rows, run
from tests.models import write_plan
from tests.works import units_of, works_of

BOTH = {"controls": ["random_init", "shuffled_labels"], "control_seeds": [0, 3]}
RANDOM, SHUFFLED = ["random_init-0", "random_init-3"], ["shuffled_labels-0", "shuffled_labels-3"]
PER_CHECKPOINT = 3 * 2 + 2 * 2
LABELLED = {"prompting_baselines": True, "fits": {"n_labelled": [6]}}


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory, suite_folder: Path) -> Path:
    """Two steps, untouched and under both controls with two seeds each, Standard and PromptS too; read only."""
    root = tmp_path_factory.mktemp("controlled")
    swept = run(write_plan(root / "plan.toml", suite_folder, **LABELLED, **BOTH), root / "out")
    assert swept.exit_code == 0, swept.output
    return root / "out"


def test_each_seed_is_a_control_and_random_weights_stand_once_at_step_0(controlled: Path) -> None:
    units = rows(controlled, "units")
    counts = units.group_by("control", "step").len().rows()
    wanted = {(control, step) for control in ("none", *SHUFFLED) for step in (0, 4)} | {(c, 0) for c in RANDOM}
    assert {(control, step): n for control, step, n in counts} == dict.fromkeys(wanted, PER_CHECKPOINT)
    for key in (["unit_id"], ["forward_id"], CELL):
        assert not units.select(key).is_duplicated().any(), key
    assert units["decomposition_error"].max() < 1e-5
    drawn = units.filter(pl.col("control").is_in(RANDOM))
    assert (drawn["revision"] == drawn["control"]).all()
    assert drawn["commit_sha"].str.starts_with("init:").all()
    assert drawn["content_hash"].n_unique() == 2
    assert (drawn["tokens_seen"] == 0).all()


def test_what_is_untouched_is_what_it_is_without_controls(controlled: Path, results: Path) -> None:
    for table in ("contributions", "predictions", "component_scores"):
        assert rows(controlled, table).filter(control="none").equals(rows(results, table))


def test_shuffled_labels_change_rows_not_weights_and_random_weights_the_reverse(controlled: Path) -> None:
    units = rows(controlled, "units").filter(step=0)
    hashes = dict(units.select("control", "content_hash").unique().rows())
    assert {hashes[name] for name in SHUFFLED} == {hashes["none"]}
    assert len({hashes[name] for name in ("none", *RANDOM)}) == 3
    one = {"step": 0, "task": "sentiment", "template": "plain", "demo_seed": 0}
    asked = rows(controlled, "predictions").filter(**one)
    gold = {c: dict(asked.filter(control=c).select("example_id", "gold").iter_rows()) for c in hashes}
    assert gold["none"] == gold[RANDOM[0]] == gold[RANDOM[1]]
    chosen = [name for name in SHUFFLED if gold[name] != gold["none"]]
    assert chosen == SHUFFLED
    assert gold[SHUFFLED[0]] != gold[SHUFFLED[1]]
    assert {sum(labels.values()) for labels in gold.values()} == {6 + 3}


def test_every_method_is_scored_under_every_control(controlled: Path) -> None:
    scored = rows(controlled, "prompt_scores").filter(task="sentiment")
    methods = {control: set(of["method"]) for (control,), of in scored.group_by("control")}
    assert set(methods) == {"none", *RANDOM, *SHUFFLED}
    assert {"full", "heldout_t1", "comp_rw", "calib_plus", "standard", "prompt_selection"} <= methods["none"]
    assert all(of == methods["none"] for of in methods.values())


def test_rivals_under_shuffled_labels_are_asked_with_the_shuffled_ones(controlled: Path) -> None:
    """On the same weights they would otherwise answer as they do untouched."""
    scored = (
        rows(controlled, "prompt_scores")
        .filter(method="standard", task="sentiment")
        .sort("step", "template", "demo_seed")
    )
    of = {control: scored.filter(control=control)["accuracy"].to_list() for control in ("none", *SHUFFLED)}
    assert of["none"] not in (of[SHUFFLED[0]], of[SHUFFLED[1]])


def test_the_same_command_resumes_and_another_seed_runs_only_itself(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {"tasks": ONE_PROMPT}
    assert "2 units, 0 already" in run(write_plan(tmp_path / "a.toml", suite_folder, **plain), tmp_path / "out").output
    with_one = write_plan(tmp_path / "b.toml", suite_folder, **plain, **{**BOTH, "control_seeds": 1})
    assert "5 units, 2 already done, 3 to run" in run(with_one, tmp_path / "out").output
    with_two = write_plan(tmp_path / "c.toml", suite_folder, **plain, **{**BOTH, "control_seeds": 2})
    assert "8 units, 5 already done, 3 to run" in run(with_two, tmp_path / "out").output
    monkeypatch.setattr("jobs.open_checkpoint.load_model", lambda *_, **__: pytest.fail("a model was opened"))
    assert "8 units, 8 already done, 0 to run" in run(with_two, tmp_path / "out").output


def test_other_versions_draw_other_weights_and_are_refused(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = write_plan(tmp_path / "plan.toml", suite_folder, tasks=ONE_PROMPT, controls=["random_init"])
    assert run(plan, tmp_path / "out").exit_code == 0
    monkeypatch.setattr("dynamics.checkpoints.version", lambda _: "0")
    refused = run(plan, tmp_path / "out")
    assert refused.exit_code == 2
    assert "holds tiny random_init-0 sentiment/plain seed 0 4-shot from another plan or other weights" in refused.output
    assert "for random_init also the versions of torch and transformers" in refused.output


def test_random_weights_of_a_worker_with_other_versions_fail(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be stored under the hash of those that the sweep's own versions draw."""

    def on_the_worker(*_: object) -> None:
        monkeypatch.setattr("dynamics.checkpoints.version", lambda _: "0")

    monkeypatch.setattr("jobs.running.check_device", on_the_worker)
    plan = write_plan(tmp_path / "a.toml", suite_folder, tasks=ONE_PROMPT, **{**BOTH, "control_seeds": 1})
    done = run(plan, tmp_path / "out")
    assert done.exit_code == 1
    assert "4 of 5 units done, 1 failed" in done.output
    assert "install the same versions on all nodes" in done.output


def test_a_plan_counts_controls_before_it_runs(tmp_path: Path, suite_folder: Path) -> None:
    plan = read_plan(write_plan(tmp_path / "plan.toml", suite_folder, **BOTH))
    found = preflight(resolve_plan(plan))
    assert found.n_units == len(units_of(plan)) == (2 * 3 + 2) * PER_CHECKPOINT
    drawn = [c for c in found.checkpoints if c.revision in RANDOM]
    assert [(c.step, c.files_bytes, c.download_bytes, c.runs) for c in drawn] == [(0, 0, 0, True)] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controls": ["random"]}, "controls.0 = 'random': Input should be 'random_init', 'shuffled_labels',"),
        ({"controls": ["random_init"], "control_seeds": -1}, "control_seeds"),
        ({"controls": ["shuffled_labels"], "control_seeds": [1, 1]}, "has tiny step 0 shuffled_labels-1"),
        ({"control": ["random_init"]}, "unknown key 'control'; did you mean 'controls'?"),
    ],
)
def test_a_wrong_control_is_refused(tmp_path: Path, suite_folder: Path, changes: dict, message: str) -> None:
    refused = run(write_plan(tmp_path / "plan.toml", suite_folder, **changes), tmp_path / "out")
    assert (refused.exit_code, len(refused.output.strip().splitlines())) == (2, 1)
    assert message in refused.output


def test_random_weights_of_a_model_of_the_hub_download_none(tmp_path: Path, hub: FakeHub, suite_folder: Path) -> None:
    hub.add("someone/suite", "step0", hub_models.single(0))
    models = [{"id": "someone/suite", "steps": [0]}]
    plan = read_plan(write_plan(tmp_path / "plan.toml", suite_folder, models=models, tasks=ONE_PROMPT, **BOTH))
    works = [work for work in works_of(plan) if work.checkpoint.init_seed is not None]
    assert len(works) == 2
    for work in works:
        with local_files(fetch(work)) as checkpoint:
            assert load_model(checkpoint).config.model_type == "gpt_neox"
    assert list((tmp_path / "cache").rglob("config.json"))
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


N_SEEDS = 8


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """What a model that knows a task reaches on it, untouched and under both controls."""
    root = tmp_path_factory.mktemp("known")
    task = {"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_shots": [8], "n_test": 100}
    models = [{"id": "reference", "steps": [1024]}]
    controls = {**BOTH, "control_seeds": N_SEEDS}
    plan = write_plan(root / "plan.toml", root, models=models, tasks=[task], fits={"n_labelled": [24]}, **controls)
    assert run(plan, root / "out").exit_code == 0
    return analysis.run("controls", root / "out")


def test_shuffled_labels_give_chance_for_every_method_that_solves_the_task(known: pl.DataFrame) -> None:
    is_worst = pl.col("method").str.ends_with("oracle_b1")
    table = known.filter(pl.col("control") == "shuffled_labels", ~is_worst)
    raw = {"full", "comp_rw", "heldout_t1", "oracle_t1"}
    centred = {"centred_" + method for method in raw} | {"train_centred_" + method for method in raw - {"oracle_t1"}}
    assert set(table["method"]) == raw | centred | {"calib_plus", "batch_calibration"}
    assert (table["trained_accuracy"] > 0.9).all()
    assert (table["n_seeds"] == N_SEEDS).all()
    assert (table["distance"].abs() < 4).all(), table


def test_random_weights_give_chance_for_the_full_model(known: pl.DataFrame) -> None:
    """The mean over initialisations; one alone may follow the words of a class either way."""
    (row,) = known.filter(control="random_init", method="full").to_dicts()
    assert (row["n_seeds"], row["step"], row["trained_step"]) == (N_SEEDS, 0, 1024)
    assert row["trained_accuracy"] > 0.9
    assert abs(row["accuracy"] - 0.5) < 4 * row["seed_sd"] / np.sqrt(N_SEEDS)


def test_a_random_checkpoint_is_that_of_the_plans_first_step(suite_folder: Path) -> None:
    first, second = find_checkpoints("tiny", None, suite_folder)
    assert random_init(first, 0).setup_hash == first.setup_hash
    assert random_init(first, 0).content_hash == random_init(second, 0).content_hash


def test_controls_of_demonstrations_change_demonstrations_alone(tmp_path: Path, suite_folder: Path) -> None:
    """Test rows stay; permuted demonstrations keep label words, abstract labels replace them; none without shots."""
    changes = {
        "controls": ["permuted_demonstrations", "abstract_labels"],
        "abstract_label_words": ["red", "blue", "green"],
        "tasks": [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 3, "n_shots": [0, 4], "n_test": 12}],
    }
    swept = run(write_plan(tmp_path / "plan.toml", suite_folder, **changes), tmp_path / "out")
    assert swept.exit_code == 0, swept.output
    units = rows(tmp_path / "out", "units").filter(step=0)
    assert set(units.filter(n_shots=0)["control"]) == {"none"}
    four = units.filter(n_shots=4)
    words = {control: set(of["label_words"]) for (control,), of in four.group_by("control")}
    assert words["permuted_demonstrations-0"] == words["none"]
    assert all(set(pair.split()) < {"red", "blue", "green"} for pair in words["abstract_labels-0"])
    assert four["forward_id"].n_unique() == four["unit_id"].n_unique() == 9
    gold = rows(tmp_path / "out", "predictions").filter(step=0, n_shots=4)
    by_control = {
        control: of.sort("demo_seed", "split", "example_id")["gold"].to_list()
        for (control,), of in gold.group_by("control")
    }
    assert len({tuple(labels) for labels in by_control.values()}) == 1
