"""One attempt at a checkpoint; what is tried again, how often and with what; when so much fails that a sweep stops."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from dynamics.errors import StoreError, UserError
from dynamics.forward.batching import halved
from dynamics.results.store import ResultStore, finished_units
from jobs.outcomes import Outcome, record_failures
from jobs.plan import Limits
from jobs.units import CheckpointWork


class TooManyFailures(UserError):
    """A sweep that is going wrong was stopped."""


@dataclass(frozen=True)
class Job:
    """What executors do with each checkpoint: `run` its units, into `store`, within the limits of the plan."""

    run: Callable[[CheckpointWork, ResultStore], list[Outcome]]
    store: ResultStore
    limits: Limits


def attempt(job: Job, work: CheckpointWork) -> list[Outcome]:
    """Run what no one finished meanwhile: an attempt that was cut short, or another sweep of the same plan.

    Raises:
        StoreError: nothing could be recorded. Everything else that goes wrong is an outcome.
    """
    found, left = _left(job, work)
    if not left.asked:
        return found
    try:
        return found + job.run(left, job.store)
    except StoreError:
        raise
    except Exception as error:  # of the code around the units; the other checkpoints must not stop for it
        return lost(job, work, error)
    finally:
        torch.cuda.empty_cache()  # the next process on the device needs what this one no longer does


def lost(job: Job, work: CheckpointWork, error: BaseException) -> list[Outcome]:
    """The outcomes of an attempt that did not return: what it finished is done, the rest failed of the error."""
    found, left = _left(job, work)
    return found + record_failures(job.store, work, [(unit, error) for unit in left.asked])


def again(
    work: CheckpointWork, outcomes: Sequence[Outcome], limits: Limits
) -> tuple[list[Outcome], CheckpointWork | None]:
    """How the units of an attempt ended for now, and the work that tries again those whose error may pass.

    After an error of memory the token budget halves: smaller batches of the same examples.

    Args:
        work: what was attempted.
        outcomes: how its units ended.
        limits: how many attempts a unit has in one sweep.

    Returns:
        The outcomes, `retried` in place of `failed` where a unit is tried again; and the units to try, if any.
    """
    back = {o.unit_id: o.kind for o in outcomes if o.status == "failed" and o.kind != "stays"}
    if not back or work.attempt >= limits.attempts:
        return list(outcomes), None
    budget = halved(work.token_budget) if "memory" in back.values() else work.token_budget
    retry = replace(
        work,
        units=tuple(unit for unit in work.units if unit.unit_id in back),
        owed=tuple(pair for pair in work.owed if pair[0].unit_id in back),
        token_budget=budget,
        attempt=work.attempt + 1,
        attempts={**work.attempts, **{unit_id: work.attempts.get(unit_id, 0) + 1 for unit_id in back}},
        refusal=None,
    )
    return [replace(o, status="retried") if o.unit_id in back else o for o in outcomes], retry


def stopping(outcomes: Iterable[Outcome], limits: Limits) -> Iterator[Outcome]:
    """The outcomes, until more of the units that ended have failed than the plan allows.

    Raises:
        TooManyFailures: after the outcome that was too many.
    """
    ended = failed = 0
    for outcome in outcomes:
        yield outcome
        ended += outcome.status != "retried"
        failed += outcome.status == "failed"
        if ended >= limits.after and failed > limits.failed * ended:
            raise TooManyFailures(
                f"stopped: {failed} of the first {ended} units failed, more than [limits] failed = {limits.failed:g} "
                "allows. Mend the cause, or raise the limit, and run the same command again"
            )


def _left(job: Job, work: CheckpointWork) -> tuple[list[Outcome], CheckpointWork]:
    """The units that are finished by now and owed nothing, and the work without them."""
    finished = finished_units(job.store, work.checkpoint.model, work.checkpoint.step)
    left = replace(work, units=tuple(unit for unit in work.units if unit.unit_id not in finished))
    asked = set(left.asked)
    return [Outcome(unit.unit_id, str(unit), "done") for unit in work.asked if unit not in asked], left
