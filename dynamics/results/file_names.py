"""Names of result files: which part, table and fits a file belongs to, and whether it was written whole.

The rows of a part, and of a set of fits on it, in the folder `OUT/<table>/model=<percent-encoded id>/step=<int>/`:

    <task>-<part>.parquet
    <task>-<part>.<fits>.parquet
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from dynamics.identity import short_hash
from dynamics.results.places import Entry, Place

FITTED = ("prompt_scores", "reweightings")
"""Tables to which fits add rows."""
ADDED = ("mechanisms", "ablations")
"""Tables of which a part has rows only where a plan requests them, in files of their own as fits are."""
OPTIONAL = ("reweightings", *ADDED)
"""Tables in which a part need not have a file."""
_PART_NAME = {
    "units": re.compile(r".+-[0-9a-f]{16}\.parquet"),
    **dict.fromkeys(FITTED, re.compile(r".+-[0-9a-f]{16}(\.[0-9a-f]{8})?\.parquet")),
    **dict.fromkeys(ADDED, re.compile(r".+-[0-9a-f]{16}\.[0-9a-f]{8}\.parquet")),
}


@dataclass(frozen=True)
class Part:
    """The units of one (checkpoint, task) that were computed together, and are committed together."""

    model: str
    step: int
    task: str
    name: str


def part_id(unit_ids: Iterable[str]) -> str:
    """The name of the part that holds these units."""
    return short_hash("\n".join(sorted(unit_ids)))


def fits_name(fit_ids: Iterable[str]) -> str:
    """Name of the file that holds these fits of a part."""
    return short_hash(" ".join(sorted(fit_ids)), 8)


def part_path(root: Place, table: str, part: Part, fits: str | None = None) -> Place:
    """The file that holds a part's rows of a table, or those of a set of fits on it."""
    folder = root / table / f"model={quote(part.model, safe='')}" / f"step={part.step}"
    return folder / f"{part.task}-{part.name}{f'.{fits}' if fits else ''}.parquet"


def parse_file(entry: Entry) -> tuple[Part, str | None]:
    """The part whose rows a file holds, by the file's name, and the set of fits where it holds rows of fits."""
    step, model = entry.place.parent.name, entry.place.parent.parent.name
    task, _, rest = entry.place.name.removesuffix(".parquet").rpartition("-")
    name, _, fits = rest.partition(".")
    if task.endswith("-failed"):
        task, name = task.removesuffix("-failed"), f"failed-{name}"
    return Part(unquote(model.removeprefix("model=")), int(step.removeprefix("step=")), task, name), fits or None


def is_part_file(table: str, entry: Entry) -> bool:
    """Whether a file has the name of a part, or of fits in a table that has them; a copy by hand often has not."""
    return _PART_NAME.get(table, _PART_NAME["units"]).fullmatch(entry.place.name) is not None


def cut_off(entry: Entry) -> str | None:
    """What is wrong with the size or the end of a Parquet file; None where both are right."""
    if entry.size == 0:
        return "empty (0 bytes)"
    return "cut off or not Parquet" if entry.size < 12 or _last_bytes(entry.place) != b"PAR1" else None


def _last_bytes(where: Place) -> bytes:
    """The last 4 bytes of a file, `PAR1` in Parquet. Objects are not read, since they are put whole."""
    if not isinstance(where, Path):
        return b"PAR1"
    with where.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return file.read()
