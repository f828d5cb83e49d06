"""Messages of a sweep: what it will run, results and failures."""

from collections.abc import Sequence

import typer

from jobs.active_sweeps import ActiveSweep
from jobs.missing import MissingWork
from jobs.outcomes import Outcome
from jobs.resolving import ResolvedPlan


def say_quarantined(resolved: ResolvedPlan) -> None:
    """Name what is skipped because it is known to be wrong."""
    if skipped := resolved.quarantined:
        first = skipped[0]
        typer.echo(
            f"{resolved.plan.name}: {len(skipped)} quarantined checkpoints are skipped, the first is {first.model} "
            f"step {first.step}: {'; '.join(first.notes)}. `pythia-emergence plan` lists them"
        )


def say_notes(resolved: ResolvedPlan) -> None:
    """Name checkpoints that run though something is known of them, and say what there is to know of the tasks' rows."""
    if noted := [checkpoint for checkpoint in resolved.running if checkpoint.notes]:
        first = noted[0]
        typer.echo(
            f"{resolved.plan.name}: {len(noted)} checkpoints have a note, the first is {first.model} {first.revision}: "
            f"{'; '.join(first.notes)}. `pythia-emergence plan` lists them"
        )
    for note in resolved.plan.row_notes:
        typer.echo(note, err=True)


def say_missing(resolved: ResolvedPlan, missing: MissingWork) -> None:
    """Say how much there is to do."""
    n_units, n_missing = len(resolved.units), len(missing.units)
    typer.echo(f"{resolved.plan.name}: {n_units} units, {n_units - n_missing} already done, {n_missing} to run")
    if n_missing < n_units:
        typer.echo("files of finished units were looked for, not read again: `pythia-emergence verify OUT` reads them")
    for label_free, what in ((False, "Standard or PromptS for some K"), (True, "a label-free calibration")):
        if late := missing.finished_without(label_free=label_free):
            typer.echo(f"{len(late)} units that are done lack {what}")
    if late := {unit for unit, _ in missing.mechanisms} - set(missing.units):
        typer.echo(f"{len(late)} units that are done lack a mechanism")


def say_restored(n_lost: int) -> None:
    """Say that files of committed parts were lost; their scores are made again, or their units run again."""
    if n_lost:
        typer.echo(f"files of {n_lost} finished parts or of fits on them are lost or cut off: they are computed again")


def say_fits(n_added: int) -> None:
    """Say how many fits were added to units that were done before."""
    if n_added:
        typer.echo(f"{n_added} fits added from stored contributions")


def say_results(resolved: ResolvedPlan, missing: MissingWork, outcomes: Sequence[Outcome], out: str) -> None:
    """Count what is done."""
    n_failed = sum(outcome.status == "failed" for outcome in outcomes)
    n_not_run = len({unit.unit_id for unit in missing.units} - {outcome.unit_id for outcome in outcomes})
    n_units = len(resolved.units)
    rest = f", {n_not_run} not run" if n_not_run else ""
    typer.echo(f"results in {out}: {n_units - n_failed - n_not_run} of {n_units} units done, {n_failed} failed{rest}")


def warn_of_active_sweeps(others: Sequence[ActiveSweep]) -> None:
    """Warn that another sweep writes here: what both compute is computed twice and kept once."""
    for other in others:
        typer.echo(
            f"warning: another sweep is writing to this folder ({other.line}). Results stay valid, but units in both "
            "are computed twice; stop one of the two if that is not intended",
            err=True,
        )


def list_failures(failed: Sequence[Outcome], shown: int = 20) -> None:
    """Name the units that failed, on standard error, and where their tracebacks are."""
    for outcome in failed[:shown]:
        typer.echo(f"failed: {outcome.label}: {outcome.error_class}: {outcome.error}", err=True)
    if len(failed) > shown:
        typer.echo(f"... and {len(failed) - shown} more; all are rows of the units table with status failed", err=True)
    if logs := [outcome.log for outcome in failed if outcome.log]:
        typer.echo(f"tracebacks are in {logs[0].rpartition('/')[0]}", err=True)
