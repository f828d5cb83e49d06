"""The command line of pretraining: thin, so what matters is what it prints and how it ends."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from dynamics.reference.manifest import read_manifest
from dynamics.reference.recipe import CHECKPOINT_STEPS, Recipe
from dynamics.reference.training_state import RECIPE_NAME, STATE_FOLDER
from jobs import pretrain
from jobs.pretrain import app, make_recipe

SMALL = dataclasses.replace(Recipe(), documents=2, document_length=30, n_layers=1, d_model=16, warmup_steps=1)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The command sets torch's threads for the whole process: put them back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "Recipe", lambda: SMALL)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_recipe_of_the_command_keeps_the_same_steps() -> None:
    assert make_recipe(Recipe().steps, 0) == Recipe()
    assert make_recipe(5, 3).checkpoint_steps == (0, 1, 2, 4, 5)
    assert Recipe().checkpoint_steps == CHECKPOINT_STEPS


@pytest.mark.usefixtures("small")
def test_a_run_ends_with_a_summary_and_again_without_work(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, output = run("--out", out, "--steps", 3, "--threads", 1)
    assert code == 0
    assert re.search(r"step 3/3  loss \d\.\d+  label loss \d\.\d+  0 s left", output)
    assert f"4 checkpoints in {out}" in output
    code, output = run("--out", out, "--steps", 3, "--threads", 1)
    assert (code, "loss" in output) == (0, False)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--steps", 0), "--steps is 0; give a whole number from 1 up"),
        (("--threads", 0), "--threads is 0; give a whole number from 1 up"),
        (("--seed", -1), "seed is -1; give a whole number from 0 up"),
    ],
)
def test_bad_numbers_are_one_clear_line(tmp_path: Path, arguments: tuple[object, ...], complaint: str) -> None:
    assert run("--out", tmp_path / "run", *arguments) == (2, f"error: {complaint}\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("small")
def test_an_out_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("x")
    assert run("--out", taken, "--steps", 1) == (2, f"error: {taken} is a file; give a folder\n")
    code, output = run("--out", taken / "below", "--steps", 1)
    assert (code, output.count("\n")) == (2, 1)
    assert run("--out", tmp_path, "--steps", 1)[1].startswith(f"error: {tmp_path} is not empty")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("content", ["{", "[" * 100_000])
def test_a_recipe_that_cannot_be_read_is_one_clear_line(tmp_path: Path, content: str) -> None:
    recipe = tmp_path / STATE_FOLDER / RECIPE_NAME
    recipe.parent.mkdir()
    recipe.write_text(content)
    code, output = run("--out", tmp_path, "--steps", 1)
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith(f"error: {recipe} is not valid JSON")


@pytest.mark.chaos
def test_a_killed_process_resumes_to_the_same_weights(tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        options = ["--out", str(out), "--steps", "20", "--threads", "1"]
        return [sys.executable, "-m", "jobs.pretrain", *options]

    subprocess.run(command(tmp_path / "whole"), check=True)
    for _ in range(3):
        process = subprocess.Popen(command(tmp_path / "parts"))
        deadline = time.monotonic() + 60
        before = set(tmp_path.glob("parts/step*"))
        while process.poll() is None and time.monotonic() < deadline and set(tmp_path.glob("parts/step*")) == before:
            time.sleep(0.05)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command(tmp_path / "parts"), check=True)
    assert read_manifest(tmp_path / "parts").weights_sha256 == read_manifest(tmp_path / "whole").weights_sha256
