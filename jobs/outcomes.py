"""How units end: done, or failed with a class, a message, a log, and whether another attempt may succeed."""

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
from jobs.work import CheckpointWork, WorkUnit

VERSIONS = f"method {METHOD_VERSION}, schema {SCHEMA_VERSION}, " + ", ".join(
    f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "tokenizers", "numpy")
)

ErrorKind = Literal["permanent", "transient", "memory"]
_TRANSIENT = {
    "WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "ObjectLostError", "TaskUnschedulableError",
    "RpcError", "RuntimeEnvSetupError", "OutOfDiskError",
}  # fmt: skip
"""Errors of Ray, by name: a worker was killed, a node was lost, or a consequence of either."""
_TRANSIENT_ERRNO = {errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH}
"""Errors of shared filesystems that recover."""
_MEMORY = {"OutOfMemoryError", "MemoryError"}
_MEMORY_TEXTS = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Outcome:
    """How one unit ended.

    Attributes:
        unit_id, label: which one, and in words.
        status: `done`, `failed`, or `retried`: it failed and runs again.
        error_class, error: of a unit that failed; the first line of its message.
        log: where its traceback is.
        error_kind: whether another attempt may succeed, and whether it needs less memory.
        seconds: by phase, of a unit that was computed.
    """

    unit_id: str
    label: str
    status: str
    error_class: str | None = None
    error: str | None = None
    log: str | None = None
    error_kind: ErrorKind = "permanent"
    seconds: Mapping[str, float] = field(default_factory=dict)


def error_kind(error: BaseException) -> ErrorKind:
    """Whether the same unit may succeed in another attempt, and whether with less memory.

    What a person must fix (a plan, a checkpoint, numbers that fail their check) is permanent, and so is every error
    that is not known.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error).lower()
    if names & _MEMORY or (isinstance(error, RuntimeError) and any(words in text for words in _MEMORY_TEXTS)):
        return "memory"
    if isinstance(error, UserError):
        return "transient" if isinstance(error, Unreachable) else "permanent"
    if names & _TRANSIENT or is_transient(error) or getattr(error, "errno", None) in _TRANSIENT_ERRNO:
        return "transient"
    return "permanent"


def record_failures(
    store: ResultStore, work: CheckpointWork, failed: Sequence[tuple[WorkUnit, BaseException]]
) -> list[Outcome]:
    """Write the failed units of a checkpoint, each with its number of runs and a log; returns their outcomes."""
    outcomes = []
    for _, of_task in groupby(failed, key=lambda pair: pair[0].task):
        rows = []
        for unit, error in of_task:
            outcome = _failure(store, unit, error)
            record = {
                **unit.keys,
                "error_class": outcome.error_class,
                "error": outcome.error,
                "versions": VERSIONS,
                "attempts": work.retries.runs(unit),
                "created": datetime.now(UTC),
            }
            rows.append(table("units", record, {"status": ["failed"]}))
            outcomes.append(outcome)
        write_failures(store, pa.concat_tables(rows))
    return outcomes


def _failure(store: ResultStore, unit: WorkUnit, error: BaseException) -> Outcome:
    """The outcome of a unit that failed, its traceback kept in a log."""
    trace = redact("".join(traceback.format_exception(error)))
    return Outcome(
        unit_id=unit.unit_id,
        label=str(unit),
        status="failed",
        error_class=type(error).__name__,
        error=redact(first_line(error)),
        log=str(write_log(store, f"{unit.unit_id}.txt", f"{unit}\n{trace}")),
        error_kind=error_kind(error),
    )
