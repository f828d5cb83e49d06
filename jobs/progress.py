"""What a sweep says while it runs and when it ends: a bar in a terminal, plain lines elsewhere, a table of failures."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jobs.outcomes import Outcome
from jobs.placement import weight_bytes
from jobs.units import CheckpointWork


def with_progress(
    results: Iterable[tuple[CheckpointWork, list[Outcome]]], works: Sequence[CheckpointWork]
) -> Iterator[Outcome]:
    """Outcomes as they come, with a bar in a terminal and a line for each attempt at a checkpoint elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    started, cost = time.perf_counter(), 0.0
    all_cost, finished = sum(map(_cost, works)), 0
    with Progress(*columns, TimeRemainingColumn(), disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task("checkpoints", total=len(works))
        for work, outcomes in results:
            ends = all(outcome.status != "retried" for outcome in outcomes)
            finished += ends
            cost += _cost(work) * sum(o.status != "retried" for o in outcomes) / max(1, len(outcomes))
            progress.advance(bar, ends)
            if progress.disable:
                elapsed = time.perf_counter() - started
                left = elapsed / cost * max(0.0, all_cost - cost) if cost else float("nan")
                typer.echo(f"[{finished}/{len(works)}] {_line(work, outcomes)}; {elapsed:.0f} s, {_about(left)} to go")
            yield from outcomes


def list_failures(failed: Sequence[Outcome], shown: int = 20) -> None:
    """Name the units that failed, on standard error, and where their tracebacks are."""
    for outcome in failed[:shown]:
        typer.echo(f"failed: {outcome.label}: {outcome.error_class}: {outcome.error}", err=True)
    if len(failed) > shown:
        typer.echo(f"... and {len(failed) - shown} more; all are rows of the units table with status failed", err=True)
    if logged := [outcome.log for outcome in failed if outcome.log]:
        typer.echo(f"tracebacks are in {logged[0].rpartition('/')[0]}", err=True)


def _line(work: CheckpointWork, outcomes: Sequence[Outcome]) -> str:
    n_failed, n_retried = (sum(o.status == status for o in outcomes) for status in ("failed", "retried"))
    first = next((f" ({o.error_class}: {o.error})" for o in outcomes if o.status == "retried"), "")
    note = f", {n_failed} failed" if n_failed else ""
    note += f", {n_retried} to be tried again{first}" if n_retried else ""
    return f"{work.checkpoint}: {len(outcomes)} units{note}"


def _cost(work: CheckpointWork) -> float:
    """What a checkpoint takes, in no unit: a forward pass is as long as its weights are many."""
    return max(1, weight_bytes(work.checkpoint)) * len(work.asked)


def _about(seconds: float) -> str:
    return f"about {seconds:.0f} s" if seconds == seconds else "no telling how long"
