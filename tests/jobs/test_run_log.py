"""`log = "wandb" | "mlflow"`: what a tracker gets, and that no failure of it reaches a unit or the sweep."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from dynamics.results.store import open_store
from dynamics.tracking import Run, failure
from jobs.plan import app as plan_app
from jobs.run_log import curve_points
from jobs.sweep import app
from tests.models import write_plan
from tests.results import rows

ROOT = Path(__file__).parents[2]
ONE_PROMPT = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 1, "n_test": 12, "n_train": 10}]
SECRETS = {"WANDB_API_KEY": "c0ffee" * 6 + "beef", "HF_TOKEN": "hf_secretsecretsecret"}
CURVES = {"full", "t1_chosen_on_the_scored_rows", "t1_held_out_split_half", "comp_rw_default_K8"}


def plan_of(folder: Path, suite_folder: Path, tracker: str) -> Path:
    """A plan of two units, one for each checkpoint."""
    changes = {"tasks": ONE_PROMPT, "fits": {"n_labelled": [8]}, "log": tracker}
    return write_plan(folder / "plan.toml", suite_folder, **changes)


def swept(plan: Path, **environment: str) -> str:
    """`python -m jobs.sweep PLAN`, in a process of its own; its output."""
    command = [sys.executable, "-m", "jobs.sweep", str(plan), "--out", "out", "--executor", "inline"]
    done = subprocess.run(
        command, cwd=plan.parent, env={**os.environ, "PYTHONPATH": str(ROOT), **SECRETS, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 of 2 units done, 0 failed" in done.stdout
    return done.stdout + done.stderr


def run(plan: Path) -> Result:
    """`python -m jobs.sweep PLAN --out OUT --executor inline`."""
    return CliRunner().invoke(app, [str(plan), "--out", str(plan.parent / "out"), "--executor", "inline"])


def test_accuracies_of_a_checkpoint_are_means_over_prompt_sets(results: Path) -> None:
    found = curve_points(open_store(results), "tiny", 4)
    prefix = "accuracy/tiny/wordmap/2-shot/"
    shown = {name.removeprefix(prefix) for name in found if name.startswith(prefix)}
    assert {"full", "t1_chosen_on_the_scored_rows", "t1_held_out_split_half"} <= shown
    of_checkpoint = rows(results, "prompt_scores").filter(step=4, task="wordmap", n_shots=2, control="none")
    for method, name in (("full", "full"), ("oracle_t1", "t1_chosen_on_the_scored_rows")):
        expected = of_checkpoint.filter(pl.col("method") == method, pl.col("split") == "test")["accuracy"].mean()
        assert found[prefix + name] == pytest.approx(expected)
    assert curve_points(open_store(results), "tiny", 5) == {}


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_offline_has_progress_and_curves_and_no_secret(tmp_path: Path, suite_folder: Path) -> None:
    said = swept(plan_of(tmp_path, suite_folder, "wandb"), WANDB_MODE="offline", WANDB_DIR=str(tmp_path / "tracked"))
    assert "warning" not in said
    [stored] = (tmp_path / "tracked").glob("wandb/offline-run-*/run-*.wandb")
    content = stored.read_bytes()
    for name in ("units/done", "units/failed", "training_step"):
        assert name.encode() in content
    assert all(f"accuracy/tiny/sentiment/4-shot/{curve}".encode() in content for curve in CURVES)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "tracked").rglob("*") if path.is_file())
    assert not [name for name, value in SECRETS.items() if value.encode() in kept]


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_has_progress_and_curves_against_the_step(tmp_path: Path, suite_folder: Path) -> None:
    plan, database = plan_of(tmp_path, suite_folder, "mlflow"), tmp_path / "ml.db"
    said = swept(plan, MLFLOW_TRACKING_URI=f"sqlite:///{database}")
    assert "warning" not in said
    metrics = sqlite3.connect(database).execute("select key, step, value from metrics").fetchall()
    curves = {(key.rpartition("/")[2], step) for key, step, _ in metrics if key.startswith("accuracy/")}
    assert {(curve, step) for curve in CURVES for step in (0, 4)} <= curves
    assert [(step, value) for key, step, value in metrics if key == "units/done"] == [(1, 1.0), (2, 2.0)]
    full = rows(tmp_path / "out", "prompt_scores").filter(method="full", step=4, split="test")["accuracy"].mean()
    assert ("accuracy/tiny/sentiment/4-shot/full", 4, pytest.approx(full)) in metrics
    [text] = tmp_path.glob("mlruns/*/*/artifacts/plans/tiny.toml")
    assert text.read_text() == plan.read_text()


def failing(*_: object) -> Run:
    """A tracker whose server answers with an error that shows a password."""
    raise ConnectionError("https://user:password@tracker.example did not answer, hf_secretsecret")


def test_a_tracker_that_cannot_be_reached_is_warned_of_once(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.run_log.open_run", failing)
    done = run(plan_of(tmp_path, suite_folder, "mlflow"))
    assert done.exit_code == 0, done.output
    assert "2 of 2 units done, 0 failed" in done.output
    assert done.output.count("warning: logging to mlflow failed (ConnectionError: https://tracker.example did") == 1
    assert "password" not in done.output
    assert "hf_secret" not in done.output


def test_a_tracker_that_fails_later_is_not_asked_again(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def log(axis: str, value: int, numbers: Mapping[str, float]) -> None:
        asked.append((axis, value, numbers))
        raise SystemExit("the server is gone")

    broken = Run(log, lambda *_: None, lambda _: None, lambda: pytest.fail("closed"))
    monkeypatch.setattr("jobs.run_log.open_run", lambda *_: broken)
    done = run(plan_of(tmp_path, suite_folder, "wandb"))
    assert done.exit_code == 0, done.output
    assert len(asked) == 1
    assert done.output.count("warning: logging to wandb failed (SystemExit: the server is gone)") == 1


def test_a_tracker_that_hangs_is_not_waited_for(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hanging(*_: object) -> Run:
        released.wait(60)
        raise ConnectionError("released")

    monkeypatch.setattr("jobs.run_log.open_run", hanging)
    monkeypatch.setattr("jobs.run_log.CLOSING_SECONDS", 0.01)
    done = run(plan_of(tmp_path, suite_folder, "wandb"))
    released.set()
    assert done.exit_code == 0, done.output
    assert "warning: wandb has not taken all that was logged; results are not affected" in done.output


@pytest.mark.parametrize("tracker", ["wandb", "mlflow"])
def test_a_missing_package_is_refused_before_anything_runs(
    tracker: str, tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynamics.tracking.find_spec", lambda _: None)
    plan = plan_of(tmp_path, suite_folder, tracker)
    for refused in (run(plan), CliRunner().invoke(plan_app, [str(plan)])):
        assert refused.exit_code == 2
        assert f"`pip install 'pythia-emergence[{tracker}]'`" in refused.output
    assert not (tmp_path / "out").exists()


def test_another_tracker_is_refused(tmp_path: Path, suite_folder: Path) -> None:
    refused = run(plan_of(tmp_path, suite_folder, "tensorboard"))
    assert refused.exit_code == 2
    assert "log = 'tensorboard': Input should be 'wandb' or 'mlflow'" in refused.output


def test_a_warning_shows_no_password() -> None:
    text = failure("mlflow", ValueError("cannot reach http://me:pass@host:5000/api"))
    assert "http://host:5000/api" in text
    assert "pass@" not in text
