"""Faulty checkpoints: the errata of suites, and weights that several steps share."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache

from dynamics.hub.listing import HubRevision
from dynamics.suites import Erratum, suites

DUPLICATE, QUARANTINED = "duplicate", "quarantined"
NO_STEP = -1
"""The step of a checkpoint whose step is not known: no report of a step concerns it."""
QUARANTINE, EQUAL = "quarantine", "equal"
"""Actions of a report, beside `note`."""


def concerns(erratum: Erratum, step: int, revision: HubRevision) -> bool:
    """Whether a report is about this step, and still applies to its files."""
    everywhere = not erratum.steps and not erratum.ranges
    in_range = any(step in range(first, last + 1, every) for first, last, every in erratum.ranges)
    applies = not erratum.sha256 or any((file.sha256 or "").startswith(erratum.sha256) for file in revision.weights)
    return fnmatchcase(revision.repo, erratum.model) and (everywhere or in_range or step in erratum.steps) and applies


@dataclass(frozen=True)
class Findings:
    """Faults of a step: `flags` as in the `units` table, and one line for each fault in `notes`.

    `doubtful`: the weights may be those of another step, and no report says that the two are equal.
    """

    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    doubtful: bool = False


@cache
def errata() -> tuple[Erratum, ...]:
    """All reports, suite by suite."""
    return tuple(erratum for suite in suites() for erratum in suite.errata)


def audit(formats: Mapping[int, Sequence[HubRevision]]) -> dict[int, tuple[Findings, ...]]:
    """The faults of every format of every step of a model: from the errata, and from comparing hashes across steps.

    A step that shares ALL its weight files with another step is a `duplicate`. A step that shares only some of them is
    a chimera: all its files have correct hashes, but those of one of the two steps do not belong together. Every such
    fault known so far put files of the latest step into earlier ones, so of the steps that share a file the latest is
    used and the others are `quarantined`. Files that a report says are another step's make no other step a duplicate.

    Args:
        formats: step -> the revision in each of its formats, including the last step even if it was not requested.

    Returns:
        Step -> the findings of each format, in the same order.
    """
    holders: dict[tuple[int, str], dict[int, bool]] = defaultdict(dict)
    for step, revisions in formats.items():
        for revision in revisions:
            reported = _is_reported(step, revision)
            for i, file in enumerate(revision.weights):
                holders[i, file.etag][step] = reported
    return {step: tuple(_findings(step, revision, holders) for revision in formats[step]) for step in sorted(formats)}


def _is_reported(step: int, revision: HubRevision) -> bool:
    """Whether a report says that these weights are another step's."""
    return any(erratum.action == QUARANTINE and concerns(erratum, step, revision) for erratum in errata())


def _findings(step: int, revision: HubRevision, holders: Mapping[tuple[int, str], Mapping[int, bool]]) -> Findings:
    """The faults of one format; `holders`: (position, hash) of a weight file -> step -> whether it is reported."""
    reported = _is_reported(step, revision)
    sharing = [
        {other for other, wrong in holders[i, file.etag].items() if other != step and (reported or not wrong)}
        for i, file in enumerate(revision.weights)
    ]
    same = sorted(set.intersection(*sharing))
    partly = sorted(set.union(*sharing) - set(same))
    flags, notes = set(), []
    if same:
        flags.add(DUPLICATE)
        notes.append(f"the same weights as {_steps(same)}")
    if partly:
        files = [file.path for file, others in zip(revision.weights, sharing, strict=True) if others - set(same)]
        notes.append(f"{', '.join(files)} is the same file as in {_steps(partly)}, other files are not")
        if step < max(partly):
            flags.add(QUARANTINED)
    concerning = [erratum for erratum in errata() if concerns(erratum, step, revision)]
    for erratum in concerning:
        notes.append(f"{erratum.text} ({erratum.issue})")
        flags |= {QUARANTINED} if erratum.action == QUARANTINE else set()
    explained = {equal for erratum in concerning if erratum.action == EQUAL for equal in erratum.steps}
    doubtful = QUARANTINED in flags or bool(set(same) - explained)
    return Findings(tuple(sorted(flags)), tuple(notes), doubtful)


def _steps(steps: Sequence[int], shown: int = 6) -> str:
    more = f" and {len(steps) - shown} more" if len(steps) > shown else ""
    return ("step " if len(steps) == 1 else "steps ") + ", ".join(map(str, steps[:shown])) + more
