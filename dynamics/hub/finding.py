"""Steps on the Hub: the revisions that a plan requests, resolved and checked against each other and the errata."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dynamics.errors import CheckpointError, unknown
from dynamics.grids import DEFAULT_PATTERN, FINISHED, StepName, Steps, missing_steps, select_steps, steps_by_name
from dynamics.hub.errata import NO_STEP, Findings, audit
from dynamics.hub.listing import HubRevision, list_refs, resolve
from dynamics.hub.waiting import say

Missing = Literal["refuse", "skip"]
Formats = Mapping[int, Sequence[HubRevision]]
"""Step -> its revision in each format, in order of preference."""
OTHER_FORMAT = "other_format"
"""Flag of a step whose preferred files are, or may be, another step's, so that those of another format are used."""
_N_SHOWN = 3


@dataclass(frozen=True)
class HubStep:
    """One step of a model on the Hub: the name of its revision, the files that are used, and their known faults."""

    name: StepName
    revision: HubRevision
    findings: Findings


def find_on_hub(
    repo: str,
    steps: Steps = "all",
    *,
    pattern: str = DEFAULT_PATTERN,
    allow_pickle: bool = False,
    missing: Missing = "refuse",
    revision: str | None = None,
    own_tokenizer: bool = True,
) -> list[HubStep]:
    """The requested steps of a repository, in order, each in the first of its formats that no fault is known of.

    Costs one request for the refs, and one for each commit that was not listed before: those of the requested steps and
    of the last one, and of all steps where a requested one has a doubtful format and another one.

    Args:
        repo: `owner/name`.
        steps: a named grid, a range or a list.
        pattern: how the repository names its revisions.
        allow_pickle: use `.bin` weights where a revision has no others.
        missing: whether a step without a branch or usable weights is an error (`refuse`) or left out (`skip`), which
            is said with the reason.
        revision: the single branch or tag to use, for a model without published steps; it becomes step `FINISHED`.
        own_tokenizer: whether each revision's own tokenizer is used, and so has to be there.

    Raises:
        CheckpointError: a step is missing or unusable (with the reason), all are, or the Hub cannot be reached.
        PlanError: a malformed pattern or an unknown grid.
    """
    refs = list_refs(repo)
    available = steps_by_name(repo, refs, pattern) if revision is None else _single_step(repo, refs, revision)
    if not available:
        raise CheckpointError(
            f"{repo} has no branch that fits the pattern {pattern!r}; it has {', '.join(sorted(refs)[:5])} and others. "
            'Change `pattern`, or name the branch of a model without steps, as revision = "main"'
        )
    requested = select_steps(steps, repo, available, strict=missing == "refuse")
    listed = sorted({*requested, max(available)})  # the last step too: known faults put its files onto earlier ones
    formats, reasons = _formats(repo, refs, available, listed, own_tokenizer)
    reasons |= {step: _only_pickle(formats[step][0]) for step in formats if not _allowed(formats[step], allow_pickle)}
    unusable = {step: reasons[step] for step in requested if step in reasons}
    if unusable and missing == "refuse":
        more = f" (and {len(unusable) - 1} more such steps)" if len(unusable) > 1 else ""
        raise CheckpointError(f'{next(iter(unusable.values()))}{more}; missing = "skip" leaves all such steps out')
    absent = dict.fromkeys(missing_steps(steps, repo, available), "there is no revision of it")
    say_left_out(repo, {**absent, **unusable}, len(requested) - len(unusable))
    steps_of = available if revision is None else steps_by_name(repo, [revision])
    used = [step for step in requested if step not in reasons]
    findings = _compared(repo, refs, available, formats, used, steps_of)
    return [HubStep(available[step], *_choose(formats[step], findings[step], allow_pickle)) for step in used]


def _compared(
    repo: str,
    refs: Mapping[str, str],
    available: Mapping[int, StepName],
    formats: Formats,
    used: Sequence[int],
    steps_of: Mapping[int, StepName],
) -> dict[int, tuple[Findings, ...]]:
    """The findings of the listed steps; those with a doubtful format and another one are compared with all steps."""
    findings = _audit(available, formats, steps_of)
    unsure = [step for step in used if len(formats[step]) > 1 and findings[step][0].doubtful]
    if unsure:
        others, _ = _formats(repo, refs, available, [step for step in available if step not in formats], False)
        compared = _audit(available, {**formats, **others}, steps_of)
        early = [step for step in unsure if step != max(available)]  # the last step may well be main
        findings |= {step: compared[step] for step in unsure}
        findings |= _not_of_main(repo, refs, formats, {step: compared[step] for step in early})
    return findings


def _formats(
    repo: str, refs: Mapping[str, str], available: Mapping[int, StepName], steps: Sequence[int], own_tokenizer: bool
) -> tuple[dict[int, tuple[HubRevision, ...]], dict[int, str]]:
    """The formats of each usable step, and the reason of each other one."""
    names = {available[step].name: step for step in steps}
    usable, reasons = resolve(repo, [(name, refs[name]) for name in names], own_tokenizer=own_tokenizer)
    return {names[name]: usable[name] for name in usable}, {names[name]: reasons[name] for name in reasons}


def _allowed(formats: Sequence[HubRevision], allow_pickle: bool) -> list[HubRevision]:
    return [revision for revision in formats if revision.format != "bin" or allow_pickle]


def _only_pickle(revision: HubRevision) -> str:
    return (
        f"{revision.repo}@{revision.revision} has its weights as pickle (.bin) only; add allow_pickle = true to the "
        "model if you trust it (it is loaded with weights_only=True), or leave the step out"
    )


def _audit(
    available: Mapping[int, StepName], formats: Formats, steps_of: Mapping[int, StepName]
) -> dict[int, tuple[Findings, ...]]:
    """`audit` by the steps in the names of revisions: a model's only revision may be a published step, or none."""
    by_name = {name.name: step for step, name in steps_of.items()}
    published = {step: by_name.get(available[step].name, NO_STEP) for step in formats}
    findings = audit({published[step]: revisions for step, revisions in formats.items()})
    return {step: findings[published[step]] for step in formats}


def _not_of_main(
    repo: str, refs: Mapping[str, str], formats: Formats, findings: Mapping[int, Sequence[Findings]]
) -> dict[int, tuple[Findings, ...]]:
    """The findings, doubtful too for a format with a file of `main`, which need not be that of any step."""
    usable, _ = resolve(repo, [("main", refs["main"])] if "main" in refs else [], own_tokenizer=False)
    of_main = {file.etag for revision in usable.get("main", ()) for file in revision.weights}
    return {
        step: tuple(
            replace(found, doubtful=found.doubtful or any(file.etag in of_main for file in revision.weights))
            for revision, found in zip(formats[step], findings[step], strict=True)
        )
        for step in findings
    }


def _choose(
    formats: Sequence[HubRevision], findings: Sequence[Findings], allow_pickle: bool
) -> tuple[HubRevision, Findings]:
    """The first allowed format, or, where that is doubtful, the first allowed one that is not; with what is said of it.

    Where no format is sound, the first one stays as it is, with the hint that pickle would help where it would.
    """
    sound = [(revision, found) for revision, found in zip(formats, findings, strict=True) if not found.doubtful]
    usable = [(revision, found) for revision, found in sound if revision in _allowed(formats, allow_pickle)]
    first = _allowed(formats, allow_pickle)[0]
    fault = findings[formats.index(first)]
    if not fault.doubtful or not sound:
        return first, fault
    if not usable:
        hint = f"{sound[0][0].weights_name} is not known to be wrong: allow_pickle = true would use it"
        return first, replace(fault, notes=(*fault.notes, hint))
    chosen, found = usable[0]
    reason = f"{chosen.weights_name} used instead of {first.weights_name}: {'; '.join(fault.notes)}"
    return chosen, replace(found, flags=(*found.flags, OTHER_FORMAT), notes=(reason, *_new(found.notes, fault.notes)))


def _new(notes: Sequence[str], said: Sequence[str]) -> tuple[str, ...]:
    return tuple(note for note in notes if note not in said)


def say_left_out(model: str, reasons: Mapping[int, str], n_remaining: int) -> None:
    """Say on standard error which steps of a model are left out because of `missing = "skip"`, and why.

    Args:
        model: its id.
        reasons: step -> why it is left out.
        n_remaining: steps that are not.

    Raises:
        CheckpointError: none remains.
    """
    if not reasons:
        return
    shown = [f"step {step}: {reasons[step]}" for step in sorted(reasons)[:_N_SHOWN]]
    more = f" and {len(reasons) - _N_SHOWN} more" if len(reasons) > _N_SHOWN else ""
    line = f"{'; '.join(shown)}{more}"
    if not n_remaining:
        raise CheckpointError(f'{model}: missing = "skip" leaves no step of those requested: {line}')
    say(f'{model}: missing = "skip" leaves out {len(reasons)} of {len(reasons) + n_remaining} steps: {line}')


def _single_step(repo: str, refs: Mapping[str, str], revision: str) -> dict[int, StepName]:
    """A single revision, as the step of a finished model."""
    if revision not in refs:
        raise CheckpointError(unknown(f"revision of {repo}", revision, sorted(refs)))
    return {FINISHED: StepName(FINISHED, revision, None)}
