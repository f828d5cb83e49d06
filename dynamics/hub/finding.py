"""Steps on the Hub: the revisions that a plan requests, resolved and checked against each other and the errata."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dynamics.errors import CheckpointError, unknown
from dynamics.grids import DEFAULT_PATTERN, FINISHED, StepName, Steps, select_steps, steps_by_name
from dynamics.hub.errata import Findings, audit
from dynamics.hub.listing import HubRevision, list_refs, resolve

Missing = Literal["refuse", "skip"]


@dataclass(frozen=True)
class HubStep:
    """One step of a model on the Hub: the name of its revision, its files, and its known faults."""

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
) -> list[HubStep]:
    """The requested steps of a repository, in order.

    Costs one request for the refs, and one for each commit that was not listed before.

    Args:
        repo: `owner/name`.
        steps: a named grid, a range or a list.
        pattern: how the repository names its revisions.
        allow_pickle: use `.bin` weights where a revision has no others.
        missing: whether a step without a branch or usable weights is an error (`refuse`) or left out (`skip`).
        revision: the single branch or tag to use, for a model without published steps; it becomes step `FINISHED`.

    Raises:
        CheckpointError: a step is missing or unusable (with the reason), or the Hub cannot be reached.
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
    pairs = [(available[step].name, refs[available[step].name]) for step in listed]
    usable, reasons = resolve(repo, pairs, allow_pickle=allow_pickle)
    unusable = [reason for step in requested if (reason := reasons.get(available[step].name))]
    if unusable and missing == "refuse":
        more = f" (and {len(unusable) - 1} more such steps)" if len(unusable) > 1 else ""
        raise CheckpointError(f'{unusable[0]}{more}; missing = "skip" leaves all such steps out')
    by_name = {revision.revision: revision for revision in usable}
    revisions = {step: by_name[available[step].name] for step in listed if available[step].name in by_name}
    findings = audit(revisions)
    return [HubStep(available[step], revisions[step], findings[step]) for step in requested if step in revisions]


def _single_step(repo: str, refs: Mapping[str, str], revision: str) -> dict[int, StepName]:
    """A single revision, as the step of a finished model."""
    if revision not in refs:
        raise CheckpointError(unknown(f"revision of {repo}", revision, sorted(refs)))
    return {FINISHED: StepName(FINISHED, revision, None)}
