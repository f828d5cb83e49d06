"""The revisions of a repository that a plan asks for: resolved, checked against each other and against the errata."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dynamics.errors import CheckpointError, unknown
from dynamics.grids import DEFAULT_PATTERN, FINISHED, StepName, Steps, select_steps, steps_by_name
from dynamics.hub.errata import Findings, audit
from dynamics.hub.listing import HubRevision, list_refs, resolve

Missing = Literal["refuse", "skip"]


@dataclass(frozen=True)
class Found:
    """A step of a repository: its revision's name, its files, and what is known to be wrong with it."""

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
) -> list[Found]:
    """The steps asked for, in order; one request for the refs, and one per commit never listed before.

    Args:
        repo: `owner/name`.
        steps: named grid, range or list.
        pattern: how the repository names its revisions.
        allow_pickle: use `.bin` where a revision has nothing else.
        missing: whether steps without a branch or without usable weights are refused or left out.
        revision: the one branch or tag to take, of a model whose steps are not published; it is step `FINISHED`.

    Raises:
        CheckpointError: a step is missing or unusable (each with its reason), or the Hub cannot be asked.
        PlanError: the pattern or the grid is not one.
    """
    refs = list_refs(repo)
    there = steps_by_name(repo, refs, pattern) if revision is None else _only(repo, refs, revision)
    if not there:
        raise CheckpointError(
            f"no branch of {repo} fits the pattern {pattern!r}; it has {', '.join(sorted(refs)[:5])} and others. "
            'Of a model without steps name the branch, as revision = "main"'
        )
    wanted = select_steps(steps, repo, there, strict=missing == "refuse")
    listed = sorted({*wanted, max(there)})  # the last step too: known faults put its files onto earlier ones
    pairs = [(there[step].name, refs[there[step].name]) for step in listed]
    found, refused = resolve(repo, pairs, allow_pickle=allow_pickle)
    unusable = [reason for step in wanted if (reason := refused.get(there[step].name))]
    if unusable and missing == "refuse":
        more = f" (and {len(unusable) - 1} more such steps)" if len(unusable) > 1 else ""
        raise CheckpointError(f'{unusable[0]}{more}; missing = "skip" leaves all such steps out')
    by_name = {revision.revision: revision for revision in found}
    revisions = {step: by_name[there[step].name] for step in listed if there[step].name in by_name}
    findings = audit(revisions)
    return [Found(there[step], revisions[step], findings[step]) for step in wanted if step in revisions]


def _only(repo: str, refs: Mapping[str, str], revision: str) -> dict[int, StepName]:
    """The one revision, as the step of a finished model."""
    if revision not in refs:
        raise CheckpointError(unknown(f"revision of {repo}", revision, sorted(refs)))
    return {FINISHED: StepName(FINISHED, revision, None)}
