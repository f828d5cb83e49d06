"""Logging of a sweep to a tracker: units done and failed, and accuracy against training step as checkpoints finish."""

import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import polars as pl
import typer

from dynamics.controls import NONE
from dynamics.results.store import ResultStore, finished_units, scan
from dynamics.tracking import failure, open_run
from jobs.outcomes import Outcome
from jobs.sweep_plan import SweepPlan
from jobs.work import CheckpointWork

CLOSING_SECONDS = 60.0
"""How long the end of a sweep waits for what is not sent yet."""
CURVES = {
    "full": "full",
    "oracle_t1": "t1_chosen_on_the_scored_rows",
    "heldout_t1": "t1_held_out",
    "comp_rw": "comp_rw",
}
"""Method in the tables -> name in the tracker. T1 is the best component; chosen on the rows it is scored on it is an
optimistic bound, and held out it is chosen on other rows."""

LogOutcomes = Callable[[CheckpointWork, Sequence[Outcome]], None]


@contextmanager
def logged(plan: SweepPlan, store: ResultStore, done: Collection[str]) -> Iterator[LogOutcomes]:
    """A run of the plan's tracker, until the block ends; gives a function that takes the outcomes of an attempt.

    Everything is sent by a thread of its own: a tracker that fails or hangs is warned of once, then left alone, and no
    unit waits for it.

    Args:
        plan: which tracker, if any.
        store: read for the curves of a checkpoint when its units have ended.
        done: ids of the plan's units that were done before.
    """
    if plan.log is None:
        yield lambda _work, _outcomes: None
        return
    waiting: queue.SimpleQueue[tuple[CheckpointWork, Sequence[Outcome]] | None] = queue.SimpleQueue()
    thread = threading.Thread(target=_send, args=(plan, store, set(done), waiting), name="tracker", daemon=True)
    thread.start()
    try:
        yield lambda work, outcomes: waiting.put((work, outcomes))
    finally:
        waiting.put(None)
        thread.join(CLOSING_SECONDS)
        if thread.is_alive():
            typer.echo(f"warning: {plan.log} has not taken all that was logged; results are not affected", err=True)


def logging(
    results: Iterable[tuple[CheckpointWork, list[Outcome]]], log: LogOutcomes
) -> Iterator[tuple[CheckpointWork, list[Outcome]]]:
    """The attempts as they end, each logged as it passes."""
    for work, outcomes in results:
        log(work, outcomes)
        yield work, outcomes


def _send(plan: SweepPlan, store: ResultStore, done: set[str], waiting: queue.SimpleQueue) -> None:
    """Send what comes, until None comes or sending fails."""
    assert plan.log is not None
    try:
        run = open_run(plan.log, store.root)
        run.add_plan(plan.name, plan.text)
        failed: set[str] = set()
        while (ended := waiting.get()) is not None:
            work, outcomes = ended
            done |= {outcome.unit_id for outcome in outcomes if outcome.status == "done"}
            failed |= {outcome.unit_id for outcome in outcomes if outcome.status == "failed"}
            run.log("units_ended", len(done | failed), {"units/done": len(done), "units/failed": len(failed - done)})
            if numbers := curve_points(store, work.checkpoint.model, work.checkpoint.step):
                run.log("training_step", work.checkpoint.step, numbers)
        run.close()
    except BaseException as error:  # trackers raise everything, down to SystemExit
        typer.echo(f"warning: {failure(plan.log, error)}", err=True)


def curve_points(store: ResultStore, model: str, step: int) -> dict[str, float]:
    """Accuracies of a checkpoint by name, means over its prompt sets; none where no unit of it is finished.

    A name is `accuracy/MODEL/TASK/N-shot/CURVE`, with the variant and K of a fit at its end.
    """
    keys = ["task", "n_shots", "method", "variant", "n_labelled"]
    if not finished_units(store, model, step):
        return {}
    means = (
        scan(store, "prompt_scores")
        .filter(model=model, step=step, control=NONE, split="test")
        .filter(pl.col("method").is_in(list(CURVES)), pl.col("accuracy").is_not_null())
        .group_by(keys)
        .agg(pl.col("accuracy").mean())
        .sort(keys)
        .collect()
    )
    return {
        "/".join(["accuracy", model, task, f"{n_shots}-shot", _curve(method, variant, k)]): accuracy
        for task, n_shots, method, variant, k, accuracy in means.iter_rows()
    }


def _curve(method: str, variant: str, k: int) -> str:
    return CURVES[method] + (f"_{variant}" if variant else "") + (f"_K{k}" if k else "")
