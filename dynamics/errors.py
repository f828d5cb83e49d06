"""Everything that refuses, and how a refusal reads: the value, what is allowed, the remedy.

UserError(ValueError)
├── PlanError          a plan or a call that cannot be run
├── PromptError        a prompt that would not mean what it says
├── CheckpointError    a checkpoint that is incomplete, damaged or unknown
│   └── Unreachable    the Hub or the network failed; the same may succeed later
├── UnsupportedModel   a model the decomposition is not known to hold for
├── FailedCheck       numbers that failed their own check
└── StoreError         results that cannot be read or written
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Base of all errors meant for people; its message is one line that says what to do."""


class PlanError(UserError):
    """A plan or a call that cannot be run."""


class PromptError(UserError):
    """A prompt that would not mean what it says; names the task, the template and the words."""


class CheckpointError(UserError):
    """A checkpoint that is incomplete, damaged, or unknown."""


class Unreachable(CheckpointError):
    """The Hub or the network failed for as long as was waited; the same may succeed later."""


class UnsupportedModel(UserError):
    """The decomposition's identity is not known to hold for this model."""


class FailedCheck(UserError):
    """A unit whose parts do not sum to its logits, or whose forward pass differs from the model's own."""


class StoreError(UserError):
    """The results folder cannot be used as asked."""


def unknown(kind: str, value: object, allowed: Iterable[object], *, shown: int = 12) -> str:
    """`unknown task 'sentimnt'; did you mean 'sentiment'? Allowed: sentiment, topic, wordmap`."""
    names = [str(name) for name in allowed]
    near = get_close_matches(str(value), names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"unknown {kind} {value!r}{hint} Allowed: {', '.join(names[:shown])}{rest}"


def first_line(error: BaseException | str, length: int | None = None) -> str:
    """The first line of an error's text, or the name of its class where it has none; cut to `length` characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:length]
