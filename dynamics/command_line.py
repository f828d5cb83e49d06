"""Command lines: making one from a function, and ending it with exit code 2 at an error meant for the user."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from dynamics.errors import UserError, first_line


def command(function: Callable[..., None]) -> typer.Typer:
    """The command line of a function: its parameters are arguments and options, its docstring is the help text."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(function)
    return app


@contextmanager
def user_errors_exit_2() -> Iterator[None]:
    """End with one line on standard error and exit code 2 at a `UserError`, or at an `OSError` of a file."""
    try:
        yield
    except (UserError, OSError) as error:
        typer.echo(f"error: {error if isinstance(error, UserError) else first_line(error)}", err=True)
        raise typer.Exit(2) from error
