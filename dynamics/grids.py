"""Step grids: named grids, ranges, and steps in the names of revisions. Pure: no network, no disk."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from dynamics.errors import PlanError
from dynamics.suites import suite_of

DEFAULT_PATTERN = "step{step}"
FINISHED = 1
"""The step recorded for a model without published steps, whose number of training steps is not known."""

_FIELD = re.compile(r"\{([^{}]*)\}")
_FIELDS = {"step": r"(?P<step>\d+)", "n": r"(?P<n>\d+)"}
_BILLIONS = re.compile(r"\{n\}B(?![A-Za-z0-9{])")
_PATTERN_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Steps = str | Sequence[int] | range


@dataclass(frozen=True)
class StepName:
    """A step and the name of its revision, with its training tokens where the name or the suite gives them.

    `note` says where the step comes from, if not from the name.
    """

    step: int
    name: str
    tokens_seen: int | None
    note: str | None = None


def name_pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern such as `step{step}` or `stage1-step{step}-tokens{n}B`.

    Raises:
        PlanError: `{step}` is missing or repeated, another field, a `{n}` that is no number of billions, or characters
            that revision names cannot have.
    """
    fields = _FIELD.findall(text)
    literal = _FIELD.sub("0", text)
    if sorted(fields) not in (["step"], ["n", "step"]) or not _PATTERN_TEXT.fullmatch(literal) or ".." in literal:
        raise PlanError(
            f"pattern {text!r} must hold {{step}} once, may hold {{n}} once (tokens, as in tokens{{n}}B), and "
            "otherwise letters, digits, '.', '_' and '-'; for example 'stage1-step{step}-tokens{n}B'"
        )
    if "n" in fields and not _BILLIONS.search(text):
        raise PlanError(
            f"pattern {text!r}: {{n}} is the number of training tokens in billions, followed by B, as in tokens{{n}}B; "
            "write any other number out, one model entry for each, for example 'stage1-step{step}'"
        )
    pieces = re.split(r"(\{(?:step|n)\})", text)
    return re.compile("".join(_FIELDS[p[1:-1]] if _FIELD.fullmatch(p) else re.escape(p) for p in pieces))


def steps_by_name(model: str, names: Iterable[str], pattern: str = DEFAULT_PATTERN) -> dict[int, StepName]:
    """Step -> revision, for the names that fit the pattern; other names are ignored.

    `tokens_seen` is `{n}` billion where the pattern has that field, from the step where the model is of a known suite,
    else None.

    Raises:
        PlanError: the pattern is malformed, or two names give the same step.
    """
    compiled = name_pattern(pattern)
    step_names: dict[int, StepName] = {}
    for name in sorted(names):
        match = compiled.fullmatch(name)
        if match is None:
            continue
        step = int(match["step"])
        if step in step_names:
            first = step_names[step].name
            raise PlanError(f"{model} has {first!r} and {name!r} for step {step}; give a narrower pattern")
        step_names[step] = StepName(step, name, _tokens_seen(model, step, match.groupdict().get("n")))
    return step_names


def select_steps(steps: Steps, model: str, available: Collection[int], *, strict: bool = True) -> list[int]:
    """The requested steps that are available, sorted.

    Args:
        steps: a named grid of the model's suite (`dynamics/suites/`), a range, or a list. `all` of a suite are its
            published steps, of any other model the available ones.
        model: model id.
        available: the steps that exist.
        strict: whether missing steps are an error instead of being left out.

    Raises:
        PlanError: the model has no such grid, or steps are missing; names each with the nearest available ones.
    """
    requested = _grid_steps(steps, model, available) if isinstance(steps, str) else sorted(set(steps))
    if strict and (missing := missing_steps(steps, model, available)):
        raise PlanError(_missing_steps_message(model, missing, available))
    return [step for step in requested if step in available]


def missing_steps(steps: Steps, model: str, available: Collection[int]) -> list[int]:
    """The requested steps that are not available, sorted; arguments as of `select_steps`."""
    requested = _grid_steps(steps, model, available) if isinstance(steps, str) else sorted(set(steps))
    return [step for step in requested if step not in available]


def _missing_steps_message(model: str, missing: Sequence[int], available: Collection[int], shown: int = 8) -> str:
    """One line with the missing steps and the nearest available ones."""
    listed = ", ".join(f"{step} (nearest: {_nearest(step, available)})" for step in missing[:shown])
    more = f" and {len(missing) - shown} more" if len(missing) > shown else ""
    return (
        f"{model} has no revision for {len(missing)} of the requested steps: {listed}{more}; "
        'change `steps`, or add missing = "skip"'
    )


def _grid_steps(grid: str, model: str, available: Collection[int]) -> list[int]:
    """The steps of a named grid of the model's suite; `all` of any other model are the available ones."""
    suite = suite_of(model)
    grids = {} if suite is None else suite.grids
    if suite is None and grid == "all":
        return sorted(available)
    if suite is None or grid not in grids:
        raise PlanError(
            f"{model} has no grid {grid!r}; give {', '.join(sorted(grids) or ['all'])}, a list such as [0, 512], or "
            "{ from = 0, to = 1000, every = 100 }"
        )
    return sorted(set(grids[grid]) & set(suite.published_steps(model) or ()))


def _tokens_seen(model: str, step: int, billions: str | None) -> int | None:
    return tokens_at(model, step) if billions is None else int(billions) * 10**9


def tokens_at(model: str, step: int) -> int | None:
    """Training tokens at a step of a model of a known suite; None of any other."""
    suite = suite_of(model)
    return None if suite is None else step * suite.tokens_per_step


def _nearest(step: int, available: Collection[int]) -> str:
    """The nearest available steps below and above, as text."""
    below = max((s for s in available if s < step), default=None)
    above = min((s for s in available if s > step), default=None)
    return " and ".join(str(s) for s in (below, above) if s is not None) or "none"
