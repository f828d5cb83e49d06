"""What an audit finds: problems, which make a folder unsound, and remarks, which do not."""

from dataclasses import dataclass

from dynamics.results.store import Part

REPAIR = "`python -m jobs.verify OUT --repair` removes it; then the same sweep command computes it again"
RESUME = "give the same sweep command again"


@dataclass(frozen=True)
class Removal:
    """What has to go before a sweep computes it again: a part with its fits, one set of its fits, or one file."""

    part: Part
    fits: str | None = None


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        kind: damaged, misplaced, schema, lost, rows, values, error, metadata, double, conflict, missing, failed,
            fits.
        where: file, part or plan.
        what: in words, with numbers.
        remedy: what to do.
        removal: what `repair` takes away; None where that is no remedy.
    """

    kind: str
    where: str
    what: str
    remedy: str
    removal: Removal | None = None


@dataclass(frozen=True)
class Remark:
    """Something worth knowing that harms nothing.

    Attributes:
        kind: temporary, foreign, orphan, raced, unsealed, older or unrecorded.
        where: the first of them.
        what: in words.
        count: how many there are.
    """

    kind: str
    where: str
    what: str
    count: int = 1


@dataclass(frozen=True)
class Audit:
    """What was looked at and found.

    Attributes:
        files, bytes, units: looked at; units that are done.
        problems: all of them; none where the folder is sound.
        remarks: by kind.
    """

    files: int
    bytes: int
    units: int
    problems: tuple[Problem, ...]
    remarks: tuple[Remark, ...]
