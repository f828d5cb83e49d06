"""How units end: done, or failed with a class, a first line, a log, and whether the same again may end better."""

import errno
import importlib.metadata
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Literal

import pyarrow as pa

from dynamics.errors import Unreachable, UserError, first_line
from dynamics.hub.names import redact
from dynamics.hub.retries import is_transient
from dynamics.identity import METHOD_VERSION
from dynamics.results.metadata import write_log
from dynamics.results.schema import SCHEMA_VERSION
from dynamics.results.store import ResultStore, write_failures
from dynamics.results.tables import table
from jobs.units import CheckpointWork, WorkUnit

VERSIONS = f"method {METHOD_VERSION}, schema {SCHEMA_VERSION}, " + ", ".join(
    f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "tokenizers", "numpy")
)

Kind = Literal["stays", "passes", "memory"]
_PASSING = {
    "WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "ObjectLostError", "TaskUnschedulableError",
    "RpcError", "RuntimeEnvSetupError", "OutOfDiskError",
}  # fmt: skip
"""Of Ray, by name: a worker killed, a node lost, or what either leaves behind."""
_PASSING_ERRNO = {errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH}
"""Of shared filesystems that come back."""
_MEMORY = {"OutOfMemoryError", "MemoryError"}
_MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Outcome:
    """How one unit ended.

    Attributes:
        unit_id, label: which one, and in words.
        status: `done`, `failed`, or `retried`: it failed and is tried again.
        error_class, error: of a unit that failed, and the first line of it.
        log: where its traceback is.
        kind: whether the same again may end better: the error stays, passes, or was of memory.
        seconds: per phase, of a unit that was computed.
    """

    unit_id: str
    label: str
    status: str
    error_class: str | None = None
    error: str | None = None
    log: str | None = None
    kind: Kind = "stays"
    seconds: Mapping[str, float] = field(default_factory=dict)


def kind_of(error: BaseException) -> Kind:
    """Whether the same unit may end better when it is run again, and whether with less memory.

    What a person must mend (a plan, a checkpoint, numbers that fail their check) stays, and so does what is not known.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    said = str(error).lower()
    if names & _MEMORY or (isinstance(error, RuntimeError) and any(words in said for words in _MEMORY_WORDS)):
        return "memory"
    if isinstance(error, UserError):
        return "passes" if isinstance(error, Unreachable) else "stays"
    if names & _PASSING or is_transient(error) or getattr(error, "errno", None) in _PASSING_ERRNO:
        return "passes"
    return "stays"


def record_failures(
    store: ResultStore, work: CheckpointWork, failed: Sequence[tuple[WorkUnit, BaseException]]
) -> list[Outcome]:
    """Write the units of a checkpoint that failed, with the count of their attempts and a log each; and say it."""
    outcomes = []
    for _, of_task in groupby(failed, key=lambda pair: pair[0].task):
        rows = []
        for unit, error in of_task:
            first = redact(first_line(error))
            record = {**unit.keys, "error_class": type(error).__name__, "error": first, "versions": VERSIONS}
            record |= {"attempts": attempts(work, unit), "created": datetime.now(UTC)}
            rows.append(table("units", record, {"status": ["failed"]}))
            trace = redact("".join(traceback.format_exception(error)))
            log = str(write_log(store, f"{unit.unit_id}.txt", f"{unit}\n{trace}"))
            name = type(error).__name__
            outcomes.append(Outcome(unit.unit_id, str(unit), "failed", name, first, log, kind_of(error)))
        write_failures(store, pa.concat_tables(rows))
    return outcomes


def attempts(work: CheckpointWork, unit: WorkUnit) -> int:
    """How often a unit was run, this time included."""
    return work.attempts.get(unit.unit_id, 0) + 1
