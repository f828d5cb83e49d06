"""Command lines: how each is made, and how an error meant for the user ends one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from dynamics.errors import UserError, first_line


def command(function: Callable[..., None]) -> typer.Typer:
    """A command line of one function: its parameters are arguments and options, its docstring is the help text."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(function)
    return app


@contextmanager
def user_errors_exit_2() -> Iterator[None]:
    """End with one line on standard error and exit code 2 at a `UserError`, or a file that cannot be used."""
    try:
        yield
    except (UserError, OSError) as error:
        typer.echo(f"error: {error if isinstance(error, UserError) else first_line(error)}", err=True)
        raise typer.Exit(2) from error
