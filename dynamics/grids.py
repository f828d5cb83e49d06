"""Step grids: named grids, ranges, numbers of tokens, and steps in the names of revisions. No network, no disk."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log2

from dynamics.errors import PlanError
from dynamics.suites import Layout, Stage, suite_of, suites

DEFAULT_PATTERN = "step{step}"
FINISHED = 1
"""The step recorded for a model without published steps, whose number of training steps is not known."""

_FIELD = re.compile(r"\{([^{}]*)\}")
_STEP_FIELDS = {"step": 1, "thousands": 1000}
_TOKEN_FIELDS = {"B": 10**9, "T": 10**12}
_TOKENS = re.compile(r"\{n\}([BT])(?![A-Za-z0-9{])")
_PATTERN_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATH_PATTERN_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_NEAR = 0.25
"""A checkpoint is at a number of tokens where it has seen up to this share of them more or less."""


@dataclass(frozen=True)
class AtTokens:
    """Steps by their training tokens: for each number the checkpoint that is nearest to it."""

    tokens: tuple[int, ...]


Steps = str | Sequence[int] | range | AtTokens


@dataclass(frozen=True)
class StepName:
    """A step and the name of its revision, with its training tokens where the name or the suite gives them.

    `note` says where the step comes from, if not from the name.
    """

    step: int
    name: str
    tokens_seen: int | None
    note: str | None = None


def name_pattern(text: str, *, of_paths: bool = False) -> re.Pattern[str]:
    """Compile a pattern such as `step{step}`, `stage1-step{step}-tokens{n}B` or `step-{thousands}k-token-{n}B`.

    Args:
        text: the pattern: `{step}`, or `{thousands}` for steps in thousands; `{n}B` or `{n}T` for tokens.
        of_paths: whether it may contain slashes.

    Raises:
        PlanError: the step is missing or repeated, another field, a `{n}` that is no number of tokens, or characters
            that names cannot have.
    """
    fields = sorted(_FIELD.findall(text))
    literal = _FIELD.sub("0", text)
    allowed = _PATH_PATTERN_TEXT if of_paths else _PATTERN_TEXT
    with_step = [sorted([step, *rest]) for step in _STEP_FIELDS for rest in ([], ["n"])]
    if fields not in with_step or not allowed.fullmatch(literal) or ".." in literal:
        raise PlanError(
            f"pattern {text!r} must hold {{step}} once (or {{thousands}}: steps in thousands), may hold {{n}} once "
            f"(tokens, as in tokens{{n}}B), and otherwise letters, digits, '.', '_' and '-'"
            f"{', and / between folders' if of_paths else ''}; for example 'stage1-step{{step}}-tokens{{n}}B'"
        )
    if "n" in fields and not _TOKENS.search(text):
        raise PlanError(
            f"pattern {text!r}: {{n}} is the number of training tokens in billions, followed by B, as in tokens{{n}}B, "
            "or in trillions, followed by T; write any other number out, one model entry for each, for example "
            "'stage1-step{step}'"
        )
    unit = found[1] if (found := _TOKENS.search(text)) else ""
    pieces = re.split(r"(\{[a-z]+\})", text)
    groups = {"{n}": unit, **{f"{{{field}}}": field for field in _STEP_FIELDS}}
    return re.compile("".join(rf"(?P<{groups[p]}>\d+)" if p in groups else re.escape(p) for p in pieces))


def steps_by_name(model: str, names: Iterable[str], stage: Stage | str = DEFAULT_PATTERN) -> dict[int, StepName]:
    """Step -> checkpoint, for the names that fit; other names are ignored.

    `tokens_seen` is what the name says where it does, else what the stage's, or the model's suite's, tokens per step
    make of the step, else None.

    Args:
        model: model id, for messages and for its suite's tokens per step.
        names: of revisions, folders or repositories.
        stage: the stage of a suite, or a pattern.

    Raises:
        PlanError: a pattern is malformed, or two names of one pattern give the same step; of two patterns of a stage,
            the first one's name is used.
    """
    names = list(names)
    known = as_stage(model, stage) if isinstance(stage, str) else stage
    compiled = [name_pattern(text, of_paths=known.layout != "revisions") for text in known.patterns]
    by_pattern = [
        [_in_run(known, name, match.groupdict()) for name in sorted(names) if (match := pattern.fullmatch(name))]
        for pattern in compiled
    ]
    step_names: dict[int, StepName] = {}
    for found in by_pattern:
        for first, second in pairwise(sorted(found, key=lambda name: name.step)):
            if first.step == second.step:
                raise PlanError(
                    f"{model} has {first.name!r} and {second.name!r} for step {first.step}; give a narrower pattern"
                )
        step_names = {name.step: name for name in found} | step_names
    return step_names


def as_stage(model: str, pattern: str, layout: Layout = "revisions") -> Stage:
    """A stage whose checkpoints a plan names by a pattern, with the suite's tokens per step where they surely hold.

    That is where the suite has one stage, whose steps count from the start of the run, or the pattern of its first.
    """
    suite = suite_of(model)
    per_step = None
    if suite is not None:
        first, *later = suite.stages_of(model)
        holds = not first.unverified and (not later or pattern in first.patterns)
        per_step = first.tokens_per_step if holds else None
    return Stage(patterns=(pattern,), layout=layout, tokens_per_step=per_step)


def _in_run(stage: Stage, name: str, fields: Mapping[str, str]) -> StepName:
    """A checkpoint whose name has these fields, with step and tokens counted from the start of the run."""
    (own,) = (int(fields[field]) * factor for field, factor in _STEP_FIELDS.items() if field in fields)
    named = [int(fields[unit]) * factor for unit, factor in _TOKEN_FIELDS.items() if unit in fields]
    return in_run(stage, own, name, named[0] if named else tokens_at(stage, own))


def in_run(stage: Stage, step: int, name: str, tokens: int | None) -> StepName:
    """A checkpoint of a stage, whose step and tokens count from the stage's start, as one of the run."""
    return StepName(stage.first_step + step, name, None if tokens is None else stage.first_tokens + tokens)


def tokens_at(stage: Stage, step: int) -> int | None:
    """Training tokens of a step of a stage, counted from its start; None where its tokens per step are not known."""
    return None if stage.tokens_per_step is None else step * stage.tokens_per_step


def with_tokens(
    names: Mapping[int, StepName], tokens_per_step: int | None, stage: Stage | None = None
) -> dict[int, StepName]:
    """The same checkpoints, with these tokens per step, of their stage, in place of what is known of them."""
    if tokens_per_step is None:
        return dict(names)
    first_step, first_tokens = (0, 0) if stage is None else (stage.first_step, stage.first_tokens)
    return {
        step: replace(name, tokens_seen=first_tokens + (step - first_step) * tokens_per_step)
        for step, name in names.items()
    }


def select_steps(
    steps: Steps,
    model: str,
    available: Collection[int] | Mapping[int, StepName],
    *,
    strict: bool = True,
    begin: int = 0,
) -> list[int]:
    """The requested steps that are available, sorted.

    Args:
        steps: a named grid (`named_grid`), a range, a list, or numbers of tokens.
        model: model id.
        available: the steps that exist; with their tokens where steps are requested by tokens.
        strict: whether missing steps are an error instead of being left out.
        begin: the step from which named grids count (`named_grid`).

    Raises:
        PlanError: the model has no such grid, or steps are missing; names each with the nearest available ones.
    """
    if isinstance(steps, AtTokens):
        return _at_tokens(steps, model, available, strict=strict)
    requested = named_grid(steps, model, available, begin) if isinstance(steps, str) else sorted(set(steps))
    if strict and (missing := missing_steps(steps, model, available, begin)):
        raise PlanError(_missing_steps_message(model, missing, available))
    return [step for step in requested if step in available]


def missing_steps(steps: Steps, model: str, available: Collection[int], begin: int = 0) -> list[int]:
    """The requested steps that are not available, sorted; none of those requested by tokens (`far_tokens`)."""
    if isinstance(steps, AtTokens):
        return []
    requested = named_grid(steps, model, available, begin) if isinstance(steps, str) else sorted(set(steps))
    return [step for step in requested if step not in available]


def _at_tokens(
    steps: AtTokens, model: str, available: Collection[int] | Mapping[int, StepName], *, strict: bool
) -> list[int]:
    """For each number of tokens the step that is nearest to it, if it is near."""
    seen = _tokens_seen(available)
    if not seen:
        raise PlanError(
            f"{model}: the training tokens of its steps are not known, so `tokens` cannot choose them; give "
            "tokens_per_step, or `steps`"
        )
    nearest = _nearest_to_tokens(steps, seen)
    far = far_tokens(steps, available)
    if far and (strict or len(far) == len(nearest)):
        listed = ", ".join(f"{t:.3g} (nearest: step {nearest[t]} with {seen[nearest[t]]:.3g})" for t in far[:8])
        or_skip = ', or add missing = "skip"' if strict and len(far) < len(nearest) else ""
        raise PlanError(
            f"{model} has no checkpoint within {_NEAR:.0%} of {len(far)} of the numbers of tokens: {listed}; change "
            f"`tokens`{or_skip}"
        )
    return sorted({step for tokens, step in nearest.items() if tokens not in far})


def _missing_steps_message(model: str, missing: Sequence[int], available: Collection[int], shown: int = 8) -> str:
    """One line with the missing steps and the nearest available ones."""
    listed = ", ".join(f"{step} (nearest: {_nearest(step, available)})" for step in missing[:shown])
    more = f" and {len(missing) - shown} more" if len(missing) > shown else ""
    return (
        f"{model} has no revision for {len(missing)} of the requested steps: {listed}{more}; "
        'change `steps`, or add missing = "skip"'
    )


def far_tokens(steps: Steps, available: Collection[int] | Mapping[int, StepName]) -> list[int]:
    """The requested numbers of tokens that no available checkpoint is near; none where steps are requested."""
    if not isinstance(steps, AtTokens):
        return []
    seen = _tokens_seen(available)
    nearest = _nearest_to_tokens(steps, seen)
    return [tokens for tokens, step in nearest.items() if abs(seen[step] - tokens) > _NEAR * tokens]


def _nearest_to_tokens(steps: AtTokens, seen: Mapping[int, int]) -> dict[int, int]:
    return {tokens: min(seen, key=lambda step: (abs(seen[step] - tokens), step)) for tokens in steps.tokens}


def _tokens_seen(available: Collection[int] | Mapping[int, StepName]) -> dict[int, int]:
    """Step -> tokens, of the checkpoints whose tokens are known."""
    names = available if isinstance(available, Mapping) else {}
    return {step: name.tokens_seen for step, name in names.items() if name.tokens_seen is not None}


def named_grid(grid: str, model: str, available: Collection[int], begin: int = 0) -> list[int]:
    """The steps of a named grid, sorted.

    Of a suite with a grid of this name, its steps that the model should have, whether they are available or not. Of any
    other model, available ones: `all`; `log`, the nearest to every power of two, with the first and the last; and of
    suites `paper` and `dense`, the nearest to the steps of Pythia's grids as shares of the training until the last
    available step. Powers and shares count from `begin`, so that a later stage is not all at the end of a grid. Steps
    that are the nearest to several points, as beside a gap, are there once.

    Raises:
        PlanError: there is no such grid.
    """
    suite = suite_of(model)
    if suite is not None and grid in suite.grids:
        published = suite.published_steps(model)
        return sorted(set(suite.grids[grid]) & set(available if published is None else published))
    published = None if suite is None else suite.published_steps(model)
    if grid == "all" and published is not None:
        return sorted(published)
    if grid == "all":
        return sorted(available)
    of_pythia = next(suite for suite in suites() if suite.name == "pythia").grids
    if grid == "log" and available:
        counted = {step - begin for step in available}
        first, last = min(counted), max(counted)
        powers = (2**k for k in range(max(first, 1).bit_length() - 1, last.bit_length() + 1))
        return sorted({begin + s for s in (first, last, *(_nearest_of(power, counted, log2) for power in powers))})
    if suite is not None and grid in of_pythia and available:
        shares = [step / max(of_pythia["all"]) for step in of_pythia[grid]]
        counted = {step - begin for step in available}
        return sorted({begin + _nearest_of(share * max(counted), counted, float) for share in shares})
    names = sorted({"all", "log", *(() if suite is None else ("paper", "dense", *suite.grids))})
    raise PlanError(
        f"{model} has no grid {grid!r}; give {', '.join(names)}, a list such as [0, 512], or "
        "{ from = 0, to = 1000, every = 100 }"
    )


def _nearest_of(value: float, available: Collection[int], scale: Callable[[float], float]) -> int:
    """The available step nearest to a value on a scale, the lower of two; step 0 counts as 0.5 where it is a log's."""
    return min(available, key=lambda step: (abs(scale(max(step, 0.5)) - scale(max(value, 0.5))), step))


def _nearest(step: int, available: Collection[int]) -> str:
    """The nearest available steps below and above, as text."""
    below = max((s for s in available if s < step), default=None)
    above = min((s for s in available if s > step), default=None)
    return " and ".join(str(s) for s in (below, above) if s is not None) or "none"
