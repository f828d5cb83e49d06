"""Arguments of commands that read a plan: PLAN, which may be the name of a shipped plan, and --set."""

from pathlib import Path

import typer

from jobs.shipped_plans import shipped_plans


def _plans(incomplete: str) -> list[str]:
    """Shipped plans and TOML files whose names begin like that, for the shell."""
    folder, _, start = incomplete.rpartition("/")
    here = Path(folder or ("/" if incomplete.startswith("/") else "."))
    shown = f"{folder}/" if "/" in incomplete else ""
    paths = sorted(here.iterdir()) if here.is_dir() else []
    files = [
        f"{shown}{path.name}{'/' if path.is_dir() else ''}"
        for path in paths
        if path.name.startswith(start) and (path.is_dir() or path.suffix == ".toml")
    ]
    return [*(name for name in shipped_plans() if name.startswith(incomplete)), *files]


PLAN = typer.Argument(
    metavar="PLAN", help="TOML plan, or the name of one in jobs/plans/, as `reference`", autocompletion=_plans
)
SET = typer.Option(
    "--set",
    metavar="KEY=VALUE",
    help="another value than the plan's, as tasks.0.n_test=200; may be repeated (docs/plans.md)",
)
