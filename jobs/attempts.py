"""Attempts at a checkpoint: one of them, the next one for units that may still succeed, and when a sweep gives up."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from dynamics.errors import StoreError, UserError
from dynamics.forward.memory import halved
from dynamics.results.store import ResultStore, finished_units
from jobs.outcomes import Outcome, record_failures
from jobs.sweep_plan import Limits
from jobs.work import CheckpointWork, RetryState


class TooManyFailures(UserError):
    """More units of a sweep failed than its plan allows."""


@dataclass(frozen=True)
class Job:
    """What executors do with each checkpoint: `run` its units, into `store`, within the plan's limits."""

    run: Callable[[CheckpointWork, ResultStore], list[Outcome]]
    store: ResultStore
    limits: Limits


def attempt(job: Job, work: CheckpointWork) -> list[Outcome]:
    """Run the units of a checkpoint that are not finished by now: another attempt or sweep may have been faster.

    Raises:
        StoreError: nothing could be recorded. Every other error is an outcome.
    """
    done, remaining = _remaining(job, work)
    if not remaining.all_units:
        return done
    try:
        return done + job.run(remaining, job.store)
    except StoreError:
        raise
    except Exception as error:  # of the code around the units; it must not stop the other checkpoints
        return recovered_outcomes(job, work, error)
    finally:
        # Not imported: that takes seconds, for which who only submits attempts need not wait, and an import that an
        # interrupt has cut off fails when it is tried again.
        if (torch := sys.modules.get("torch")) is not None:
            torch.cuda.empty_cache()  # so that the next process on the device finds the memory free


def recovered_outcomes(job: Job, work: CheckpointWork, error: BaseException) -> list[Outcome]:
    """Outcomes of an attempt that did not return: units it finished are done, the others failed with the error."""
    done, remaining = _remaining(job, work)
    return done + record_failures(job.store, work, [(unit, error) for unit in remaining.all_units])


def with_retry(
    work: CheckpointWork, outcomes: Sequence[Outcome], limits: Limits
) -> tuple[list[Outcome], CheckpointWork | None]:
    """The outcomes of an attempt, and the next attempt at the units that failed with an error that is not permanent.

    After an error of memory the token budget halves: smaller batches of the same examples.

    Args:
        work: the attempt.
        outcomes: how its units ended.
        limits: how many attempts a unit has in one sweep.

    Returns:
        The outcomes, `retried` in place of `failed` where a unit runs again; and the work to run, if any.
    """
    kinds = {o.unit_id: o.error_kind for o in outcomes if o.status == "failed" and o.error_kind != "permanent"}
    if not kinds or work.retries.attempt >= limits.attempts:
        return list(outcomes), None
    runs = {unit.unit_id: work.retries.runs(unit) for unit in work.all_units if unit.unit_id in kinds}
    settings = work.settings
    if "memory" in kinds.values():
        settings = replace(settings, token_budget=halved(settings.token_budget))
    retry = replace(
        work.only(set(kinds)),
        settings=settings,
        retries=RetryState(work.retries.attempt + 1, {**work.retries.earlier_runs, **runs}),
        fetch_error=None,
    )
    return [replace(o, status="retried") if o.unit_id in kinds else o for o in outcomes], retry


def until_too_many_failures(outcomes: Iterable[Outcome], limits: Limits) -> Iterator[Outcome]:
    """The outcomes, until a larger share of the units that ended has failed than the plan allows.

    Raises:
        TooManyFailures: after the outcome that was one too many.
    """
    n_ended = n_failed = 0
    for outcome in outcomes:
        yield outcome
        n_ended += outcome.status != "retried"
        n_failed += outcome.status == "failed"
        if n_ended >= limits.after and n_failed > limits.failed * n_ended:
            raise TooManyFailures(
                f"stopped: {n_failed} of the first {n_ended} units failed, more than [limits] failed = "
                f"{limits.failed:g} allows. Fix the cause or raise the limit, and run the same command again"
            )


def _remaining(job: Job, work: CheckpointWork) -> tuple[list[Outcome], CheckpointWork]:
    """Outcomes of the units that are finished and lack no baseline, and the work without them."""
    finished = finished_units(job.store, work.checkpoint.model, work.checkpoint.step)
    remaining = replace(work, units=tuple(unit for unit in work.units if unit.unit_id not in finished))
    to_run = set(remaining.all_units)
    return [Outcome(unit.unit_id, str(unit), "done") for unit in work.all_units if unit not in to_run], remaining
