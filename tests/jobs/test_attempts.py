"""What is tried again, and when a sweep stops: decisions, with no executor."""

import errno
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ray.exceptions import LocalRayletDiedError, NodeDiedError, ObjectLostError, OwnerDiedError, WorkerCrashedError
from ray.exceptions import OutOfMemoryError as RayOutOfMemoryError
from typer.testing import CliRunner

from dynamics.errors import CheckpointError, FailedCheck, Unreachable
from dynamics.forward.memory import MAX_TOKENS_CPU
from dynamics.results.store import open_store
from jobs.attempts import Job, TooManyFailures, attempt, until_too_many_failures, with_retry
from jobs.outcomes import Outcome, error_kind
from jobs.sweep import app
from jobs.sweep_plan import Limits, read_plan
from jobs.work import CheckpointWork
from tests.models import write_plan
from tests.works import with_settings, works_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WorkerCrashedError(), "transient"),
        (NodeDiedError("gone"), "transient"),
        (LocalRayletDiedError(), "transient"),
        (ObjectLostError("a", None, ""), "transient"),
        (OwnerDiedError("a", None, ""), "transient"),
        (ConnectionResetError("peer left"), "transient"),
        (TimeoutError("slow"), "transient"),
        (OSError(errno.ESTALE, "Stale file handle"), "transient"),
        (Unreachable("503 (6 attempts)"), "transient"),
        (RayOutOfMemoryError("the node"), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "memory"),
        (MemoryError(), "memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
            "memory",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "permanent"),
        (CheckpointError("is not what the Hub lists"), "permanent"),
        (FailedCheck("parts miss the logits"), "permanent"),
        (ValueError("a bug"), "permanent"),
        (KeyError("out of memory"), "permanent"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_which_errors_pass(error: BaseException, kind: str) -> None:
    assert error_kind(error) == kind


@pytest.fixture
def work(tmp_path: Path, suite_folder: Path) -> CheckpointWork:
    """A checkpoint of ten units."""
    plan = read_plan(write_plan(tmp_path / "plan.toml", suite_folder))
    return works_of(plan)[0]


def ended(work: CheckpointWork, *kinds: str) -> list[Outcome]:
    """Outcomes of the first units: `done`, or failed with an error of a kind."""
    status = ["done" if kind == "done" else "failed" for kind in kinds]
    return [
        Outcome(unit.unit_id, str(unit), how, error_kind="permanent" if kind == "done" else kind)  # type: ignore[arg-type]
        for unit, how, kind in zip(work.units, status, kinds, strict=False)
    ]


def test_only_what_may_pass_comes_again(work: CheckpointWork) -> None:
    outcomes, retry = with_retry(work, ended(work, "done", "transient", "permanent", "transient"), Limits(attempts=2))
    assert [outcome.status for outcome in outcomes] == ["done", "retried", "failed", "retried"]
    assert retry is not None
    assert retry.units == (work.units[1], work.units[3])
    assert retry.settings.token_budget == work.settings.token_budget
    assert retry.retries.earlier_runs == {work.units[1].unit_id: 1, work.units[3].unit_id: 1}
    outcomes, none = with_retry(retry, ended(retry, "transient", "transient"), Limits(attempts=2))
    assert none is None
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]


def test_an_interrupt_before_torch_is_there_is_an_interrupt(
    work: CheckpointWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> list[Outcome]:
        raise KeyboardInterrupt

    store = open_store(tmp_path / "out", create=True)
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails, as one does after it was interrupted
    with pytest.raises(KeyboardInterrupt):
        attempt(Job(interrupted, store, Limits()), work)


def test_memory_that_ran_out_halves_the_batch_and_no_further_than_one_token(work: CheckpointWork) -> None:
    limited = with_settings(work, token_budget=300)
    for tried, expected in ((limited, 150), (work, MAX_TOKENS_CPU // 2)):  # the second leaves the budget to the worker
        _, retry = with_retry(tried, ended(tried, "transient", "memory"), Limits())
        assert retry is not None
        assert retry.settings.token_budget == expected
    tiny = with_settings(work, token_budget=1)
    _, retry = with_retry(tiny, ended(work, "memory"), Limits())
    assert retry is not None
    assert retry.settings.token_budget == 1


def test_the_baselines_of_a_finished_unit_run_again_without_the_unit(work: CheckpointWork) -> None:
    lacking = replace(work, units=work.units[:1], baselines=((work.units[1], ()), (work.units[2], ())))
    failed = [Outcome(work.units[2].unit_id, "", "failed", error_kind="transient")]
    _, retry = with_retry(lacking, failed, Limits())
    assert retry is not None
    assert retry.units == ()
    assert retry.all_units == (work.units[2],)


@pytest.mark.parametrize(
    ("failures", "stops_after"),
    [([1, 1, 1, 1, 1, 1], 4), ([0, 1, 0, 1, 0, 1, 1, 1], 7), ([1, 0, 1, 0, 0, 0, 0], None), ([1, 1, 1], None)],
)
def test_a_sweep_that_goes_wrong_stops(failures: list[int], stops_after: int | None) -> None:
    outcomes = [Outcome(str(n), "", "failed" if failed else "done") for n, failed in enumerate(failures)]
    retried = [Outcome("r", "", "retried")] * 10
    passed = []
    try:
        passed += [
            o
            for o in until_too_many_failures([*retried, *outcomes], Limits(failed=0.5, after=4))
            if o.status != "retried"
        ]
        stopped = None
    except TooManyFailures as reason:
        stopped = str(reason)
    if stops_after is None:
        assert stopped is None
        assert passed == outcomes
    else:
        n_failed = sum(failures[:stops_after])
        assert f"stopped: {n_failed} of the first {stops_after} units failed" in str(stopped)


def test_the_limit_of_a_plan_ends_the_sweep_with_exit_1(
    tmp_path: Path, suite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("nothing works")

    monkeypatch.setattr("jobs.run_checkpoint.decompose", broken)
    plan = write_plan(tmp_path / "plan.toml", suite_folder, limits={"failed": 0.2, "after": 5})
    stopped = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out"), "--executor", "inline"])
    assert stopped.exit_code == 1
    assert "stopped: 5 of the first 5 units failed, more than [limits] failed = 0.2 allows" in stopped.output
    assert "0 of 20 units done, 5 failed, 15 not run" in stopped.output
    assert "failed: tiny step 0 sentiment/cue seed 0 4-shot: ValueError: nothing works" in stopped.output
