"""`python -m jobs.verify OUT`: whether every planned unit is there, once, whole and sound."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from dynamics.command_line import command, user_errors_exit_2
from dynamics.errors import StoreError
from dynamics.results.audit.findings import Audit
from dynamics.results.audit.folder import audit, repair
from dynamics.results.store import open_store
from jobs.active_sweeps import drivers

SHOWN = 20


def verify(
    out: Annotated[str, typer.Argument(metavar="OUT", help="results: a folder, or an s3:// or gs:// URI")],
    quick: Annotated[bool, typer.Option("--quick", help="footers and keys only: no checksums, no sums")] = False,
    mend: Annotated[bool, typer.Option("--repair", help="delete broken parts, for the sweep to compute again")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Check every file, every unit and every plan of a results folder; nothing is changed without --repair.

    Exit code 0: sound; 1: problems, each with its remedy; 2: there are no results to read.
    """
    with user_errors_exit_2():
        store = open_store(out)
        if mend and store.compacted:
            raise StoreError(f"{out} is a compacted copy: repair what it was made from, and compact it again")
        at_work = drivers(store)
        if mend and at_work:
            raise StoreError(f"a sweep is at work on {out} ({at_work[0].line}); repair when it has ended")
        found = audit(store, quick=quick)
        deleted = repair(store, found.problems) if mend else []
    if as_json:
        typer.echo(json.dumps({**asdict(found), "deleted": deleted}, indent=2))
    else:
        notes = [f"note: at work, so that units may be missing still: {driver.line}" for driver in at_work]
        typer.echo("\n".join([*notes, *lines(found, out, deleted)]))
    if found.problems:
        raise typer.Exit(1)


def lines(found: Audit, out: str, deleted: list[str]) -> list[str]:
    """An audit as text."""
    text = [f"{out}: {found.units} finished units in {found.files} files, {found.bytes / 1e6:.1f} MB"]
    text += [f"note: {r.count} {r.kind}: {r.what}; the first: {r.where}" for r in found.remarks]
    for problem in found.problems[:SHOWN]:
        text += [f"problem ({problem.kind}): {problem.where}: {problem.what}"]
    if len(found.problems) > SHOWN:
        text.append(f"... and {len(found.problems) - SHOWN} more; --json lists all")
    if deleted:
        text.append(f"deleted {len(deleted)} files; give the same sweep command again")
    else:
        text += [f"remedy: {remedy.replace('OUT', out)}" for remedy in dict.fromkeys(p.remedy for p in found.problems)]
    return [*text, "sound" if not found.problems else f"{len(found.problems)} problems"]


app = command(verify)

if __name__ == "__main__":
    app()
