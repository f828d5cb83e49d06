"""Exceptions whose message is meant for the user: the value, what is allowed, the remedy.

UserError(ValueError)
├── PlanError          a plan or a command line that cannot be run
├── PromptError        a prompt that would not ask what its task means
├── CheckpointError    a checkpoint that is incomplete, damaged or unknown
│   ├── NoRepository   the Hub has no such repository, or does not show it
│   └── Unreachable    the Hub or the network failed; the same may succeed later
├── UnsupportedModel   a model for which the decomposition is not known to be exact
├── FailedCheck        numbers that failed a check of their computation
├── StoreError         results that cannot be read or written
└── LostProcess        a process that ended without a result
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Base of all errors meant for the user; the message is one line and says what to do."""


class PlanError(UserError):
    """A plan or a command line that cannot be run."""


class PromptError(UserError):
    """A prompt that would not ask what its task means; names the task, the template and the words."""


class CheckpointError(UserError):
    """A checkpoint that is incomplete, damaged, or unknown."""


class NoRepository(CheckpointError):
    """The Hub has no repository of this name, or does not show it without another token."""


class Unreachable(CheckpointError):
    """The Hub or the network did not answer in time; the same request may succeed later."""


class UnsupportedModel(UserError):
    """A model for which the decomposition is not known to be exact."""


class FailedCheck(UserError):
    """Parts that do not sum to the logits, or a batched forward pass that differs from the model's own."""


class StoreError(UserError):
    """Results that cannot be read or written."""


class LostProcess(UserError):
    """A worker process ended without a result, as the system ends those for which it has no memory."""


def unknown(kind: str, value: object, allowed: Iterable[object], *, shown: int = 12) -> str:
    """Message such as `unknown task 'sentimnt'; did you mean 'sentiment'? Allowed: sentiment, topic, wordmap`."""
    names = [str(name) for name in allowed]
    near = get_close_matches(str(value), names, 1) or _containing(str(value), names)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"unknown {kind} {value!r}{hint} Allowed: {', '.join(names[:shown])}{rest}"


def _containing(value: str, names: list[str]) -> list[str]:
    """The shortest name that contains a value of three or more characters, whatever the case; none where none does."""
    found = [name for name in names if len(value) >= 3 and value.lower() in name.lower()]
    return [min(found, key=lambda name: (len(name), name))] if found else []


def first_line(error: BaseException | str, length: int | None = None) -> str:
    """The first line of an error's text, or the name of its class where it has none; cut to `length` characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:length]


def one_line(error: BaseException | str) -> str:
    """The whole text of an error on one line, with the name of its class where the text alone says little."""
    text = " ".join(str(error).split()).rstrip(".!")
    bare = not isinstance(error, str) and (len(text) < 12 or isinstance(error, KeyError))
    return f"{type(error).__name__} {text}".strip() if bare else text
