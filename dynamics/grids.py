"""Step grids: named grids, ranges, and steps in the names of revisions. Pure: no network, no disk."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dynamics.errors import PlanError

PYTHIA_TOKENS_PER_STEP = 2_097_152
POWERS_OF_TWO = (0, *(2**i for i in range(10)))
LINEAR = tuple(range(1000, 143_001, 1000))
GRIDS: Mapping[str, tuple[int, ...]] = {
    "all": POWERS_OF_TWO + LINEAR,
    "paper": (0, 16, 512, *range(5000, 140_001, 5000), 143_000),
    "dense": (*POWERS_OF_TWO, *range(1000, 10_001, 1000), *range(15_000, 140_001, 5000), 143_000),
}
DEFAULT_PATTERN = "step{step}"
FINISHED = 1
"""The step recorded for a model without published steps, whose number of training steps is not known."""

_PYTHIA = re.compile(
    r"EleutherAI/pythia-(?:"
    r"(?:14m|31m)|"
    r"(?:70m|160m|410m|1b|1\.4b|2\.8b|6\.9b|12b)(?:-deduped)?(?P<linear>-v0)?|"
    r"(?:14m|31m|70m|160m|410m)-seed[1-9]|"
    r"160m-(?:data|weight)-seed[1-3])"
)
_FIELD = re.compile(r"\{([^{}]*)\}")
_FIELDS = {"step": r"(?P<step>\d+)", "n": r"(?P<n>\d+)"}
_PATTERN_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Steps = str | Sequence[int] | range


@dataclass(frozen=True)
class StepName:
    """A step and the name of its revision, with its training tokens where the name or the suite gives them."""

    step: int
    name: str
    tokens_seen: int | None


def published_steps(model: str) -> tuple[int, ...] | None:
    """The published steps of a Pythia or PolyPythias model: 154, or the 143 linear ones of `-v0`; else None."""
    match = _PYTHIA.fullmatch(model)
    if match is None:
        return None
    return LINEAR if match["linear"] else GRIDS["all"]


def name_pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern such as `step{step}` or `stage1-step{step}-tokens{n}B`.

    Raises:
        PlanError: `{step}` is missing or repeated, another field, or characters that revision names cannot have.
    """
    fields = _FIELD.findall(text)
    literal = _FIELD.sub("0", text)
    if sorted(fields) not in (["step"], ["n", "step"]) or not _PATTERN_TEXT.fullmatch(literal) or ".." in literal:
        raise PlanError(
            f"pattern {text!r} must hold {{step}} once, may hold {{n}} once (tokens, as in tokens{{n}}B), and "
            "otherwise letters, digits, '.', '_' and '-'; for example 'stage1-step{step}-tokens{n}B'"
        )
    pieces = re.split(r"(\{(?:step|n)\})", text)
    return re.compile("".join(_FIELDS[p[1:-1]] if _FIELD.fullmatch(p) else re.escape(p) for p in pieces))


def steps_by_name(model: str, names: Iterable[str], pattern: str = DEFAULT_PATTERN) -> dict[int, StepName]:
    """Step -> revision, for the names that fit the pattern; other names are ignored.

    `tokens_seen` is `{n}` billion where the pattern has that field, `step * 2,097,152` for Pythia, else None.

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
        steps: `all`, `paper`, `dense`, a range, or a list. Of Pythia a named grid means its published steps; of any
            other model `all` means every available step.
        model: model id.
        available: the steps that exist.
        strict: whether missing steps are an error instead of being left out.

    Raises:
        PlanError: the model has no such grid, or steps are missing; names each with the nearest available ones.
    """
    requested = _grid_steps(steps, model, available) if isinstance(steps, str) else sorted(set(steps))
    missing = [step for step in requested if step not in available]
    if missing and strict:
        raise PlanError(_missing_steps_message(model, missing, available))
    return [step for step in requested if step in available]


def _missing_steps_message(model: str, missing: Sequence[int], available: Collection[int], shown: int = 8) -> str:
    """One line with the missing steps and the nearest available ones."""
    listed = ", ".join(f"{step} (nearest: {_nearest(step, available)})" for step in missing[:shown])
    more = f" and {len(missing) - shown} more" if len(missing) > shown else ""
    return (
        f"{model} has no revision for {len(missing)} of the steps asked for: {listed}{more}; "
        'change `steps`, or add missing = "skip"'
    )


def _grid_steps(grid: str, model: str, available: Collection[int]) -> list[int]:
    """The steps of a named grid."""
    published = published_steps(model)
    if grid not in GRIDS or (published is None and grid != "all"):
        allowed = sorted(GRIDS) if published else ["all"]
        raise PlanError(
            f"{model} has no grid {grid!r}; give {', '.join(allowed)}, a list such as [0, 512], or "
            "{ from = 0, to = 1000, every = 100 }"
        )
    return sorted(available) if published is None else sorted(set(GRIDS[grid]) & set(published))


def _tokens_seen(model: str, step: int, billions: str | None) -> int | None:
    if billions is not None:
        return int(billions) * 10**9
    return step * PYTHIA_TOKENS_PER_STEP if published_steps(model) else None


def _nearest(step: int, available: Collection[int]) -> str:
    """The nearest available steps below and above, as text."""
    below = max((s for s in available if s < step), default=None)
    above = min((s for s in available if s > step), default=None)
    return " and ".join(str(s) for s in (below, above) if s is not None) or "none"
