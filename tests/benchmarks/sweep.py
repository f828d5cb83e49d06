"""A whole sweep of one checkpoint: which share of its seconds is spent in the model's forward passes."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import GPTNeoXModel
from typer.testing import CliRunner

from jobs.sweep import app
from tests.benchmarks.timing import Row
from tests.benchmarks.workloads import pythia
from tests.models import write_plan
from tests.real_rows import data_folder, neox_tokenizer

TASKS = [{"name": "sst2", "demo_seeds": 1, "n_shots": [4], "n_test": 28, "n_train": 12}]


def share_of_forward_passes() -> list[Row]:
    """Rows, prompts, passes, splits, scores, fits and files of one 160m-shaped checkpoint, run in this process."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        pythia("160m").save_pretrained(root / "suite" / "step0")
        neox_tokenizer().save_pretrained(root / "suite" / "step0")
        plan = write_plan(
            root / "plan.toml", root / "suite", data=str(data_folder()), tasks=TASKS, fits={"n_labelled": [12]}
        )
        with forward_seconds() as spent:
            started = time.perf_counter()
            ended = CliRunner().invoke(app, [str(plan), "--out", str(root / "out"), "--executor", "inline"])
            seconds = time.perf_counter() - started
        assert ended.exit_code == 0, ended.output
    on = f"160m, 1 checkpoint, {json.dumps(TASKS[0])}, all templates, all fits"
    return [
        Row(
            "share of a sweep in forward passes",
            on,
            sum(spent) / seconds,
            0.6,
            at_least=True,
            note=f"{len(spent)} passes",
        )
    ]


@contextmanager
def forward_seconds() -> Iterator[list[float]]:
    """Seconds of every pass through a GPT-NeoX backbone meanwhile."""
    spent: list[float] = []
    forward = GPTNeoXModel.forward

    def timed(self: GPTNeoXModel, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return forward(self, *args, **kwargs)
        finally:
            spent.append(time.perf_counter() - started)

    GPTNeoXModel.forward = timed
    try:
        yield spent
    finally:
        GPTNeoXModel.forward = forward
