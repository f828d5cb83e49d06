"""`pythia-emergence COMMAND`, or `python -m jobs COMMAND`: all commands, each imported when it is run."""

import subprocess
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from json import loads
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dynamics.command_line import imported

DISTRIBUTION = "pythia-emergence"
COMMANDS = {
    "plan": ("jobs.plan:app", "Say what a sweep would do and cost; `plan init`: a new plan"),
    "doctor": ("jobs.doctor:app", "Try the Hub for a plan, before a first real sweep"),
    "sweep": ("jobs.sweep:app", "Run the units of a plan that results lack; again: resume"),
    "status": ("jobs.status:app", "Count done, running, failed and missing units; time left"),
    "analyse": ("analysis.__main__:app", "Print one analysis of results, and save it as CSV"),
    "draw": ("figures.__main__:app", "Draw one figure, or all of them and the page that shows them"),
    "derive": ("jobs.derive:app", "Score and fit again from stored contributions, without models"),
    "verify": ("jobs.verify:app", "Check every file, unit and plan of results"),
    "compact": ("jobs.compact:app", "Copy results into few large files"),
    "pretrain": ("jobs.pretrain:app", "Pretrain the embedded reference suite again"),
}
"""Name -> its app as `module:name`, and a line of help; in the order in which they are used."""


class Commands(TyperGroup):
    """Commands that are listed without being imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, imported(COMMANDS[name][0]) if name and listed else listed, rest


app = typer.Typer(cls=Commands, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(version())
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show version and commit, and exit.")
    ] = False,
) -> None:
    """When in pretraining does each head and MLP learn a task? COMMAND --help says more."""


def version() -> str:
    """Name, version and, where they are known, the commit it was installed from or runs from."""
    try:
        installed = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return f"{DISTRIBUTION}, not installed{_in_brackets(_commit_of_checkout())}"
    return f"{DISTRIBUTION} {installed.version}{_in_brackets(_commit_of_checkout() or _commit_of_install(installed))}"


def _commit_of_checkout() -> str:
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git here, or a checkout that it does not trust
        return ""


def _commit_of_install(installed: Distribution) -> str:
    """The commit that pip recorded for an installation from a repository."""
    record = loads(installed.read_text("direct_url.json") or "{}")
    return record.get("vcs_info", {}).get("commit_id", "")[:12]


def _in_brackets(commit: str) -> str:
    return f" (commit {commit})" if commit else ""


def _listed() -> None:
    """What a command is before it is imported."""


for _name, (_, _line) in COMMANDS.items():
    app.command(_name, help=_line)(_listed)

if __name__ == "__main__":
    app()
