"""Everything that refuses, and how a refusal reads: the value, what is allowed, the remedy.

Refusal(ValueError)
├── PlanError          a plan or a call that cannot be run
├── PromptError        a prompt that would not mean what it says
├── CheckpointError    a checkpoint that is incomplete, damaged or unknown
│   └── Unreachable    the Hub or the network failed; the same may succeed later
├── UnsupportedModel   a model the decomposition is not known to hold for
├── DoubtfulUnit       numbers that failed their own check
└── StoreError         results that cannot be read or written
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

import typer


class Refusal(ValueError):
    """Base of all errors meant for people; its message is one line that says what to do."""


class PlanError(Refusal):
    """A plan or a call that cannot be run."""


class PromptError(Refusal):
    """A prompt that would not mean what it says; names the task, the template and the words."""


class CheckpointError(Refusal):
    """A checkpoint that is incomplete, damaged, or unknown."""


class Unreachable(CheckpointError):
    """The Hub or the network failed for as long as was waited; the same may succeed later."""


class UnsupportedModel(Refusal):
    """The decomposition's identity is not known to hold for this model."""


class DoubtfulUnit(Refusal):
    """A unit whose parts do not sum to its logits, or whose forward pass differs from the model's own."""


class StoreError(Refusal):
    """The results folder cannot be used as asked."""


def unknown(kind: str, value: object, allowed: Iterable[object], *, shown: int = 12) -> str:
    """`unknown task 'sentimnt'; did you mean 'sentiment'? Allowed: sentiment, topic, wordmap`."""
    names = [str(name) for name in allowed]
    near = get_close_matches(str(value), names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"unknown {kind} {value!r}{hint} Allowed: {', '.join(names[:shown])}{rest}"


@contextmanager
def refusals_exit_2() -> Iterator[None]:
    """In a command line: a refusal, or a file that cannot be used, is one line on standard error and exit code 2."""
    try:
        yield
    except (Refusal, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        typer.echo(f"error: {error if isinstance(error, Refusal) else lines[0]}", err=True)
        raise typer.Exit(2) from error
