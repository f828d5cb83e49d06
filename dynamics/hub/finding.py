"""Steps on the Hub: the revisions that a plan requests, resolved and checked against each other and the errata."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dynamics.errors import CheckpointError
from dynamics.grids import StepName, Steps, far_tokens, missing_steps, select_steps
from dynamics.hub.errata import NO_STEP, Findings, audit
from dynamics.hub.layouts import HubRun
from dynamics.hub.listing import HubRevision, resolve
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
    run: HubRun,
    steps: Steps = "all",
    *,
    allow_pickle: bool = False,
    missing: Missing = "refuse",
    own_tokenizer: bool = True,
) -> list[HubStep]:
    """The requested steps of a run, in order, each in the first of its formats that no fault is known of.

    Costs one request for each commit that was not listed before: those of the requested steps and of the last one, and
    of all steps where a requested one has a doubtful format and another one.

    Args:
        run: where its steps are (`dynamics.hub.layouts.find_run`).
        steps: a named grid, a range, a list, or numbers of tokens.
        allow_pickle: use `.bin` weights where a revision has no others.
        missing: whether a step without a revision or usable weights is an error (`refuse`) or left out (`skip`), which
            is said with the reason.
        own_tokenizer: whether each revision's own tokenizer is used, and so has to be there.

    Raises:
        CheckpointError: a step is missing or unusable (with the reason), all are, or the Hub cannot be reached.
        PlanError: an unknown grid.
    """
    requested = select_steps(steps, run.id, run.names, strict=missing == "refuse", begin=run.grids_begin)
    listed = sorted({*requested, max(run.names)})  # the last step too: known faults put its files onto earlier ones
    formats, reasons = _formats(run, listed, own_tokenizer)
    reasons |= {step: _only_pickle(formats[step][0]) for step in formats if not _allowed(formats[step], allow_pickle)}
    unusable = {step: reasons[step] for step in requested if step in reasons}
    if unusable and missing == "refuse":
        more = f" (and {len(unusable) - 1} more such steps)" if len(unusable) > 1 else ""
        raise CheckpointError(f'{next(iter(unusable.values()))}{more}; missing = "skip" leaves all such steps out')
    absent = dict.fromkeys(missing_steps(steps, run.id, run.names, run.grids_begin), "there is no revision of it")
    say_left_out(run.id, {**absent, **unusable}, len(requested) - len(unusable))
    say_far(run.id, far_tokens(steps, run.names))
    used = [step for step in requested if step not in reasons]
    findings = _compared(run, formats, used)
    return [HubStep(run.names[step], *_choose(formats[step], findings[step], allow_pickle)) for step in used]


def _compared(run: HubRun, formats: Formats, used: Sequence[int]) -> dict[int, tuple[Findings, ...]]:
    """The findings of the listed steps; those with a doubtful format and another one are compared with all steps."""
    findings = _audit(run, formats)
    unsure = [step for step in used if len(formats[step]) > 1 and findings[step][0].doubtful]
    if unsure:
        others, _ = _formats(run, [step for step in run.names if step not in formats], False)
        compared = _audit(run, {**formats, **others})
        early = [step for step in unsure if step != max(run.names)]  # the last step may well be main
        findings |= {step: compared[step] for step in unsure}
        findings |= _not_of_main(run, formats, {step: compared[step] for step in early})
    return findings


def _formats(
    run: HubRun, steps: Sequence[int], own_tokenizer: bool
) -> tuple[dict[int, tuple[HubRevision, ...]], dict[int, str]]:
    """The formats of each usable step, and the reason of each other one."""
    step_of = {run.commits[step]: step for step in steps}
    usable, reasons = resolve(list(step_of), own_tokenizer=own_tokenizer)
    return {step_of[commit]: usable[commit] for commit in usable}, {
        step_of[commit]: reasons[commit] for commit in reasons
    }


def _allowed(formats: Sequence[HubRevision], allow_pickle: bool) -> list[HubRevision]:
    return [revision for revision in formats if revision.format != "bin" or allow_pickle]


def _only_pickle(revision: HubRevision) -> str:
    return (
        f"{revision.repo}@{revision.revision} has its weights as pickle (.bin) only; add allow_pickle = true to the "
        "model if you trust it (it is loaded with weights_only=True), or leave the step out"
    )


def _audit(run: HubRun, formats: Formats) -> dict[int, tuple[Findings, ...]]:
    """`audit` by the steps in the names of revisions: a model's only revision may be a published step, or none."""
    published = {step: run.published.get(step, NO_STEP) for step in formats}
    findings = audit({published[step]: revisions for step, revisions in formats.items()})
    return {step: findings[published[step]] for step in formats}


def _not_of_main(
    run: HubRun, formats: Formats, findings: Mapping[int, Sequence[Findings]]
) -> dict[int, tuple[Findings, ...]]:
    """The findings, doubtful too for a format with a file of `main`, which need not be that of any step."""
    usable, _ = resolve([] if run.main is None else [run.main], own_tokenizer=False)
    of_main = {
        file.etag for formats_of_main in usable.values() for revision in formats_of_main for file in revision.weights
    }
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


def say_far(model: str, tokens: Sequence[int]) -> None:
    """Say on standard error which numbers of tokens are left out because no checkpoint of a model is near."""
    if tokens:
        listed = ", ".join(f"{number:.3g}" for number in tokens[:_N_SHOWN])
        more = f" and {len(tokens) - _N_SHOWN} more" if len(tokens) > _N_SHOWN else ""
        say(f'{model}: missing = "skip" leaves out tokens {listed}{more}: no checkpoint is near')
