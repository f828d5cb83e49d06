"""`python -m jobs.compact OUT --to DIR`: the same rows in few large files."""

import json
from typing import Annotated

import typer

from dynamics.command_line import command, user_errors_exit_2


def compact_results(
    out: Annotated[str, typer.Argument(metavar="OUT", help="results: a folder, or an s3:// or gs:// URI")],
    to: Annotated[str, typer.Option(help="empty or new folder, or URI")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Copy results into few large sorted files, which analyses, figures, verify and DuckDB read as they read OUT.

    OUT is not changed, and its sweeps resume there. Exit code 0: DIR is complete; 2: it could not be written.
    """
    with user_errors_exit_2():
        from dynamics.results.compaction import compact
        from dynamics.results.places import place
        from dynamics.results.store import open_store
        from jobs.submitted import check_absolute

        target = place(to)
        check_absolute("--to", target)
        rows = compact(open_store(out), target)
    if as_json:
        typer.echo(json.dumps({"to": str(target), "rows": rows}, indent=2))
    else:
        typer.echo("\n".join(f"{table}: {n} rows" for table, n in sorted(rows.items())) + f"\ncompacted into {target}")


app = command(compact_results)

if __name__ == "__main__":
    app()
