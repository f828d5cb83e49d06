"""`python -m jobs.verify OUT`: whether every planned unit is stored, once, complete and valid."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dynamics.command_line import command, user_errors_exit_2
from dynamics.errors import StoreError

if TYPE_CHECKING:
    from dynamics.results.audit.problems import Audit

SHOWN = 20


def verify(
    out: Annotated[str, typer.Argument(metavar="OUT", help="results: a folder, or an s3:// or gs:// URI")],
    quick: Annotated[bool, typer.Option("--quick", help="footers and keys only: no checksums, no sums")] = False,
    with_repair: Annotated[bool, typer.Option("--repair", help="delete broken parts; the sweep restores them")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Check every file, every unit and every plan of a results folder; nothing is changed without --repair.

    Exit code 0: everything is valid; 1: problems, each with its remedy; 2: there are no results to read.
    """
    with user_errors_exit_2():
        from dynamics.results.audit.folder import audit_results, repair
        from dynamics.results.store import open_unmarked
        from jobs.active_sweeps import active_sweeps

        store = open_unmarked(out)
        if with_repair and store.compacted:
            raise StoreError(f"{out} is a compacted copy; repair the original and compact it again")
        sweeps = active_sweeps(store)
        if with_repair and sweeps:
            raise StoreError(f"a sweep is writing to {out} ({sweeps[0].line}); repair after it has ended")
        report = audit_results(store, quick=quick)
        deleted = repair(store, report.problems) if with_repair else []
    if as_json:
        typer.echo(json.dumps({**asdict(report), "deleted": deleted}, indent=2))
    else:
        notes = [f"note: units may be missing because of an active sweep: {sweep.line}" for sweep in sweeps]
        if quick:
            notes.append("note: --quick read footers and keys only; checksums and sums were not checked")
        typer.echo("\n".join([*notes, *lines(report, out, deleted)]))
    if report.problems:
        raise typer.Exit(1)


def lines(report: "Audit", out: str, deleted: list[str]) -> list[str]:
    """An audit as text."""
    text = [f"{out}: {report.units} finished units in {report.files} files, {report.bytes / 1e6:.1f} MB"]
    text += [f"note: {r.count} {r.kind}: {r.what}; the first: {r.where}" for r in report.remarks]
    for problem in report.problems[:SHOWN]:
        text += [f"problem ({problem.kind}): {problem.where}: {problem.what}"]
    if len(report.problems) > SHOWN:
        text.append(f"... and {len(report.problems) - SHOWN} more; --json lists all")
    if deleted:
        text.append(f"deleted {len(deleted)} files; give the same sweep command again")
    else:
        text += [f"remedy: {remedy.replace('OUT', out)}" for remedy in dict.fromkeys(p.remedy for p in report.problems)]
    return [*text, "valid" if not report.problems else f"{len(report.problems)} problems"]


app = command(verify)

if __name__ == "__main__":
    app()
