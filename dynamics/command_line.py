"""Command lines: making one from a function, and ending it with exit code 2 at a user's error, 130 at an interrupt."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from dynamics.errors import UserError, first_line
from dynamics.hub.waiting import end_reports

INTERRUPTED = 130


def command(function: Callable[..., None]) -> typer.Typer:
    """The command line of a function: its parameters are arguments and options, its docstring is the help text."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(function)
    return app


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
    # Polars installs a handler under which a wait for a thread or a lock goes on after the signal.
    signal.siginterrupt(signal.SIGINT, True)
    try:
        yield
    except KeyboardInterrupt:
        end_reports()
        typer.echo(f"interrupted; {remedy}" if remedy else "interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
