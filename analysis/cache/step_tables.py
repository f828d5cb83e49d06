"""Tables that are the rows of every step's answers, one step after the other: new steps cost what is new."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import polars as pl

from analysis.cache.folders import folder_for_many
from analysis.cache.steps import Arrays, StepWork, read_step, step_files
from analysis.reading.answers import StepAnswers, read_answers
from analysis.reading.groups import GROUP, Group
from analysis.reading.result_tables import valid_rows
from dynamics.errors import StoreError
from dynamics.results.places import Place

_ROWS = "rows"


@dataclass(frozen=True)
class RowsOf:
    """What makes the rows of a step.

    Attributes:
        function: `module:name` of a function from one step's answers to a table.
    """

    function: str


def rows_of_all_steps(results: Place, function: Callable[[StepAnswers], pl.DataFrame]) -> pl.DataFrame:
    """The rows that a function of a module makes of every step of every group, in order.

    Raises:
        StoreError: no finished unit has predictions of components.
    """
    name = f"{function.__module__}:{function.__name__}"
    kind = name.removeprefix("analysis.").replace(":", "-")
    keys = valid_rows(results, "units").select(*GROUP, "step").unique().sort(*GROUP, "step").collect()
    works = [
        StepWork(kind, _rows_of_step, results, Group(*group), step, _ROWS, RowsOf(name))
        for *group, step in keys.iter_rows()
    ]
    with folder_for_many(results, "steps") as folder:
        files = step_files(works, folder, f"steps of {function.__module__.removeprefix('analysis.')}")
        tables = [table for pair in zip(works, files, strict=True) if (table := _table(*pair)) is not None]
    if not tables:
        raise StoreError(f"{results} holds no predictions of heads and MLPs; sweep units that are decomposed")
    return pl.concat(tables)


def _table(work: StepWork, file: Path) -> pl.DataFrame | None:
    arrays = read_step(work, file)
    return pl.read_ipc(BytesIO(arrays[_ROWS].tobytes())) if arrays else None


def _rows_of_step(results: Place, group: Group, step: int, settings: RowsOf) -> Arrays:
    """The rows of a step as the bytes of an Arrow file; nothing of a step without answers of components."""
    function, buffer = resolve_name(settings.function), BytesIO()
    for answers in read_answers(results, group, steps=[step]):
        function(answers).write_ipc(buffer)
        return {_ROWS: np.frombuffer(buffer.getvalue(), np.uint8)}
    return {}
