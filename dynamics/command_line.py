"""Command lines: making one from a function, and ending it with exit code 2 at a user's error, 130 at an interrupt.

A module with a command imports what the command runs inside its function, so that `--help`, and the refusal of a wrong
plan, wait for no library that they do not need.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any

import typer
from typer.core import TyperCommand

from dynamics.errors import UserError, first_line
from dynamics.hub.waiting import end_reports

INTERRUPTED = 130
FRESH = (
    "compute anew what is kept. Tables are kept in RESULTS/analysis/cache, or in the user's cache folder where results "
    "are remote or read-only, until the results, the code or a library change"
)
WORKERS = "processes for what takes long; default: one a core"
"""Help of options that `analysis` and `figures` share."""


def command(function: Callable[..., None], **variants: str) -> typer.Typer:
    """The command line of a function: its parameters are arguments and options, its docstring is the help text.

    Args:
        function: what it runs.
        variants: first argument -> `module:app` of the command line that takes over after that word.
    """

    class Command(TyperCommand):
        """The function's command, or a variant's."""

        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            if args and args[0] in variants:
                return imported(variants[args[0]]).make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
            return super().make_context(info_name, args, parent, **extra)

        def invoke(self, ctx: Any) -> Any:
            return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=Command)(function)
    return app


def imported(target: str) -> TyperCommand:
    """The command of a `module:app`."""
    found = typer.main.get_command(resolve_name(target))
    assert isinstance(found, TyperCommand)
    return found


@contextmanager
def user_errors_exit_2() -> Iterator[None]:
    """End with one line on standard error: exit code 2 at a `UserError` or a file's `OSError`, 130 at an interrupt."""
    try:
        with interrupt_exits_130():
            yield
    except (UserError, OSError) as error:
        typer.echo(f"error: {error if isinstance(error, UserError) else first_line(error)}", err=True)
        raise typer.Exit(2) from error


@contextmanager
def interrupt_exits_130(remedy: str = "") -> Iterator[None]:
    """End with one line on standard error and exit code 130 at an interrupt (SIGINT), whatever the block waits for."""
    interrupts_end_waits()
    try:
        yield
    except (KeyboardInterrupt, typer.Abort):  # Abort: at a question
        end_reports()
        typer.echo(f"interrupted; {remedy}" if remedy else "interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None


def interrupts_end_waits() -> None:
    """Let SIGINT end a wait for a thread or a lock. To be called again after the first import of Polars.

    Polars installs a handler when it is imported, under which such a wait goes on after the signal.
    """
    signal.siginterrupt(signal.SIGINT, True)
