"""Sweeps over a faulty Hub under a small disk budget: the rows of a faultless run, or a named failure."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from dynamics.results.store import ResultStore, open_store, read_units, scan
from jobs.attempts import Job
from jobs.executors import run_inline
from jobs.fetching import fetch, fetched_ahead, local_files
from jobs.outcomes import Outcome
from jobs.plan import app as plan_app
from jobs.sweep import app
from jobs.sweep_plan import read_plan
from jobs.work import CheckpointWork
from tests import hub_models as models
from tests.hub_server import FakeHub, Fault
from tests.works import with_settings, works_of

REPO = "EleutherAI/pythia-14m"
STEPS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 10_000, 1000)]
WEIGHTS = r"/resolve/.*\.safetensors"


def write_plan(path: Path, steps: object = STEPS, model: str = "", hub: str = "") -> Path:
    """A plan of one unit a checkpoint."""
    path.write_text(
        f'name = "hub"\n[[models]]\nid = "{REPO}"\nsteps = {steps}\n{model}\n'
        '[[tasks]]\nname = "sentiment"\ntemplates = ["plain"]\ndemo_seeds = 1\nn_test = 8\nn_train = 2\n'
        f"[hub]\n{hub}\n"
    )
    return path


def fill(hub: FakeHub) -> None:
    """Twenty revisions: single and sharded, steps 0 to 2 with equal weights."""
    for i, step in enumerate(STEPS):
        layout = models.sharded if i % 3 else models.single
        hub.add(REPO, f"step{step}", layout(7) if step < 3 else layout(i))


def sweep(plan: Path, out: Path) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(app, [str(plan), "--out", str(out), "--executor", "inline"])


def rows(out: Path, table: str) -> pl.DataFrame:
    """A table in a fixed order, without what differs between runs by nature."""
    found = scan(open_store(out), table).collect()
    return found.sort([name for name, kind in found.schema.items() if kind == pl.String or kind.is_integer()])


@contextmanager
def disk_watched(cache: Path) -> Iterator[list[int]]:
    """Sizes of all blobs, partial ones too, sampled every few milliseconds."""
    sizes, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            total = 0
            for path in list(cache.glob("models--*/blobs/*")):
                try:
                    total += path.lstat().st_size
                except FileNotFoundError:
                    continue
            sizes.append(total)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sizes
    finally:
        done.set()
        watcher.join()


def random_faults(seed: int) -> list[Fault]:
    """Every kind of fault that passes, on random files, several times."""
    rng = np.random.default_rng(seed)
    kinds = [
        Fault("status", status=503),
        Fault("status", method="HEAD", status=500),
        Fault("status", status=429),
        Fault("status", status=429, headers={"Retry-After": "0"}),
        Fault("status", status=429, headers={"RateLimit": '"resolvers";r=0;t=0'}),
        Fault("truncate"),
        Fault("length"),
        Fault("hang"),
    ]
    shas = r"/resolve/[{}]"
    picked = [
        replace(kinds[i], match=shas.format("".join(rng.choice(list("0123456789abcdef"), 4))), times=1)
        for i in (*range(len(kinds)), *rng.integers(0, len(kinds) - 1, 12))
    ]
    flips = [Fault("flip", f"/resolve/{digit}[0-9a-f]+/model") for digit in "0123456789abcdef"]
    return [*picked, *flips]


@pytest.mark.parametrize("seed", [0])
def test_twenty_faulty_revisions_under_a_budget_of_two(hub: FakeHub, tmp_path: Path, seed: int) -> None:
    fill(hub)
    plain = write_plan(tmp_path / "plain.toml")
    assert sweep(plain, tmp_path / "expected").exit_code == 0
    works = works_of(read_plan(plain))
    largest = max(work.checkpoint.remote.n_bytes for work in works if work.checkpoint.remote)
    broken = {step: hub.branches[REPO][f"step{step}"] for step in (16, 2000)}
    hub.faults = [
        Fault("flip", f"/resolve/{broken[16]}/model", times=999),
        Fault("status", f"/resolve/{broken[2000]}/.*", status=403, times=999),
        *random_faults(seed),
    ]
    budget = write_plan(tmp_path / "budget.toml", hub=f"disk_gb = {2 * largest / 1e9!r}\nahead = 3")
    with disk_watched(tmp_path / "cache") as sizes:
        result = sweep(budget, tmp_path / "out")
    assert result.exit_code == 1
    failed = read_units(open_store(tmp_path / "out")).filter(status="failed").sort("step")
    assert failed["step"].to_list() == [16, 2000], failed["error"].to_list()
    assert "twice" in failed["error"][0]
    assert "403" in failed["error"][1]
    assert "step 16 sentiment" in result.output
    assert largest < max(sizes) <= 2 * largest
    for table in ("contributions", "predictions", "component_scores", "prompt_scores"):
        expected = rows(tmp_path / "expected", table).filter(~pl.col("step").is_in([16, 2000]))
        assert rows(tmp_path / "out", table).equals(expected), table
    assert not list((tmp_path / "cache").glob("models--*/blobs/*"))
    spent = [fault for fault in hub.faults[2:] if fault.times == 0]
    assert len(spent) > 10
    hub.faults = []
    assert sweep(budget, tmp_path / "out").exit_code == 0
    assert rows(tmp_path / "out", "contributions").equals(rows(tmp_path / "expected", "contributions"))


def broken_config(**keys: object) -> models.Files:
    """A checkpoint whose config has other values of some keys."""
    files = models.single(1)
    return files | {"config.json": json.dumps(json.loads(files["config.json"]) | keys).encode()}


REFUSED: dict[str, tuple[models.Files, str, str]] = {
    "family": (broken_config(model_type="mamba"), "UnsupportedModel", "mamba"),
    "key": (broken_config(final_logit_softcapping=30.0), "UnsupportedModel", "final_logit_softcapping"),
    "quantised": (broken_config(quantization_config={"quant_method": "gptq"}), "CheckpointError", "gptq"),
    "tokenizer": (models.single(1) | {"tokenizer.json": b"[]"}, "CheckpointError", "tokenizer.json"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("ahead", [0, 1])
def test_a_model_that_is_refused_costs_no_byte_of_weights(hub: FakeHub, tmp_path: Path, kind: str, ahead: int) -> None:
    files, error_class, reason = REFUSED[kind]
    hub.add(REPO, "step5", files)
    plan = write_plan(tmp_path / "plan.toml", steps=[5], hub=f"ahead = {ahead}")
    planned = CliRunner().invoke(plan_app, [str(plan)])
    assert planned.exit_code == 2
    assert reason in planned.output
    assert sweep(plan, tmp_path / "out").exit_code == 1
    (unit,) = read_units(open_store(tmp_path / "out")).iter_rows(named=True)
    assert unit["error_class"] == error_class
    assert unit["error"] in planned.output  # the plan adds which checkpoint
    assert set(hub.sent) <= set(models.SETUP)
    assert not list((tmp_path / "cache").glob("models--*/blobs/*.incomplete"))


def test_a_disk_that_fills_up_fails_its_units_at_once_and_leaves_nothing(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel says at a write; the space was there when it was claimed."""
    for step in (3, 4):
        hub.add(REPO, f"step{step}", models.single(step))
    plan = write_plan(tmp_path / "plan.toml", steps=[3, 4])
    opened = Path.open

    def full(path: Path, mode: str = "r", **options: Any) -> Any:
        file = opened(path, mode, **options)
        if path.suffix == ".incomplete" and len(path.name) > 64:  # large files are named after their sha256
            os.dup2(os.open("/dev/full", os.O_WRONLY), file.fileno())
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        started = time.monotonic()
        result = sweep(plan, tmp_path / "out")
        assert time.monotonic() - started < 10
    assert result.exit_code == 1
    errors = read_units(open_store(tmp_path / "out"))["error"].to_list()
    assert [error.split(": ")[1] for error in errors] == ["the disk is full"] * 2
    assert hub.files["model.safetensors"] == 2  # no retries
    assert not list((tmp_path / "cache").glob("models--*/blobs/*"))
    assert sweep(plan, tmp_path / "out").exit_code == 0


def test_a_server_that_dies_half_way_and_comes_back(hub: FakeHub, tmp_path: Path) -> None:
    for step in range(4):
        hub.add(REPO, f"step{step}", models.single(step))
    plan = write_plan(tmp_path / "plan.toml", steps=[0, 1, 2, 3])
    hub.faults = [Fault("die", rf"/resolve/{hub.branches[REPO]['step2']}/model")]
    assert sweep(plan, tmp_path / "out").exit_code == 1
    units = read_units(open_store(tmp_path / "out")).sort("step")
    assert units["status"].to_list() == ["done", "done", "failed", "failed"]
    hub.dead = False
    assert sweep(plan, tmp_path / "out").exit_code == 0
    assert len(rows(tmp_path / "out", "contributions")) == 4 * 10


def test_fetching_and_computing_side_by_side(hub: FakeHub, tmp_path: Path) -> None:
    """With downloads as long as computing, a sweep takes at most 1.25 times either."""
    n, seconds = 12, 0.15
    for step in range(n):
        hub.add(REPO, f"step{step}", models.single(step))
    plan = read_plan(write_plan(tmp_path / "plan.toml", steps=list(range(n))))
    works = works_of(plan, "timed")
    size = len(models.single(0)["model.safetensors"])

    def compute(work: CheckpointWork, _: ResultStore) -> list[Outcome]:
        with local_files(work) as checkpoint:
            assert checkpoint.folder is not None
            assert (checkpoint.folder / "model.safetensors").stat().st_size == size
            time.sleep(seconds)
        return []

    def alone(work: CheckpointWork) -> CheckpointWork:
        return with_settings(work, cache=replace(work.settings.cache, run="download alone"))

    hub.bytes_per_second = size / (0.6 * seconds)  # requests, verification and the ledger take the rest
    started = time.perf_counter()
    for work in works:
        assert fetch(alone(work)).fetch_error is None
        with local_files(alone(work)):
            pass
    download = time.perf_counter() - started
    job = Job(compute, open_store(tmp_path / "out", create=True), plan.limits)
    started = time.perf_counter()
    assert len(list(run_inline(works, job, ahead=2))) == n
    assert time.perf_counter() - started <= 1.25 * max(download, n * seconds)


def test_no_more_is_fetched_ahead_than_asked(hub: FakeHub, tmp_path: Path) -> None:
    for step in range(6):
        hub.add(REPO, f"step{step}", models.single(step))
    plan = read_plan(write_plan(tmp_path / "plan.toml", steps=list(range(6))))
    works = works_of(plan, "bounded")
    for done, work in enumerate(fetched_ahead(works, ahead=2)):
        time.sleep(0.4)
        assert hub.files["model.safetensors"] == min(done + 3, 6)
        with local_files(work):
            pass


def test_quarantined_steps_are_left_out_unless_the_plan_runs_them(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(REPO, "step0", models.sharded(0))
    hub.add(REPO, "step1", models.sharded(0))
    hub.add(REPO, "step2", models.chimera(1, 3))
    hub.add(REPO, "step3", models.sharded(3))
    result = sweep(write_plan(tmp_path / "skip.toml", steps=[0, 1, 2, 3]), tmp_path / "skip")
    assert result.exit_code == 0
    assert "1 quarantined checkpoints are skipped" in result.output
    flags = dict(read_units(open_store(tmp_path / "skip")).select("step", "flags").iter_rows())
    assert flags == {0: ["duplicate"], 1: ["duplicate"], 3: []}
    anyway = write_plan(tmp_path / "run.toml", steps=[2], model='quarantined = "run"')
    assert sweep(anyway, tmp_path / "run").exit_code == 0
    assert read_units(open_store(tmp_path / "run"))["flags"].to_list() == [["quarantined"]]


def test_a_token_reaches_neither_tables_nor_output(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_SECRETsecret123")
    hub.add(REPO, "step0", models.single(0))
    hub.faults = [
        Fault("status", WEIGHTS, method, status=403, headers={"X-Error-Message": "no hf_SECRETsecret123"}, times=99)
        for method in ("GET", "HEAD")
    ]
    result = sweep(write_plan(tmp_path / "plan.toml", steps=[0]), tmp_path / "out")
    assert result.exit_code == 1
    assert hub.tokens
    errors = read_units(open_store(tmp_path / "out"))["error"].to_list()
    assert "403" in errors[0]
    assert "SECRET" not in result.output + str(errors)
    kept = [p for p in [*(tmp_path / "out").rglob("*"), *(tmp_path / "cache").rglob("*")] if p.is_file()]
    assert not [path for path in kept if b"SECRET" in path.read_bytes()]


def test_offline_a_cached_sweep_needs_no_request(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(2):
        hub.add(REPO, f"step{step}", models.single(step))
    plan = write_plan(tmp_path / "plan.toml", steps=[0, 1], hub="keep = true")
    assert sweep(plan, tmp_path / "first").exit_code == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.reset_counts()
    assert sweep(plan, tmp_path / "second").exit_code == 0
    assert not hub.requests
    assert rows(tmp_path / "first", "contributions").equals(rows(tmp_path / "second", "contributions"))
