"""How far a sweep is: a bar in a terminal, plain lines with the time left in a log."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jobs.outcomes import Outcome
from jobs.placement import weight_bytes
from jobs.work import CheckpointWork


def with_progress(
    results: Iterable[tuple[CheckpointWork, list[Outcome]]], works: Sequence[CheckpointWork]
) -> Iterator[Outcome]:
    """Outcomes as they come, with a bar in a terminal and a line for each attempt at a checkpoint elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    started, cost_so_far = time.perf_counter(), 0.0
    cost_of_all, n_finished = sum(map(_cost, works)), 0
    with Progress(*columns, TimeRemainingColumn(), disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task("checkpoints", total=len(works))
        for work, outcomes in results:
            is_last = all(outcome.status != "retried" for outcome in outcomes)
            n_finished += is_last
            cost_so_far += _cost(work) * sum(o.status != "retried" for o in outcomes) / max(1, len(outcomes))
            progress.advance(bar, is_last)
            if progress.disable:
                elapsed = time.perf_counter() - started
                rest = max(0.0, cost_of_all - cost_so_far)
                remaining = elapsed / cost_so_far * rest if cost_so_far else float("nan")
                line = f"[{n_finished}/{len(works)}] {_line(work, outcomes)}"
                typer.echo(f"{line}; {elapsed:.0f} s, {_duration(remaining)} to go")
            yield from outcomes


def _line(work: CheckpointWork, outcomes: Sequence[Outcome]) -> str:
    n_failed, n_retried = (sum(o.status == status for o in outcomes) for status in ("failed", "retried"))
    reason = next((f" ({o.error_class}: {o.error})" for o in outcomes if o.status == "retried"), "")
    failed = f", {n_failed} failed" if n_failed else ""
    retried = f", {n_retried} to be tried again{reason}" if n_retried else ""
    return f"{work.checkpoint}: {len(outcomes)} units{failed}{retried}"


def _cost(work: CheckpointWork) -> float:
    """Relative cost of a checkpoint: the time of a forward pass grows with the number of weights."""
    return max(1, weight_bytes(work.checkpoint)) * len(work.all_units)


def _duration(seconds: float) -> str:
    return f"about {seconds:.0f} s" if seconds == seconds else "an unknown time"
