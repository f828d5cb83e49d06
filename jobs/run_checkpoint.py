"""One checkpoint, all its missing units, from start to finish: a plain function, independent of the executor."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import numpy as np
import pyarrow as pa
import torch

from dynamics.checkpoints import Checkpoint
from dynamics.controls import controlled_rows
from dynamics.decomposition import Decomposition, decompose
from dynamics.errors import StoreError
from dynamics.forward.memory import peak_resident_bytes
from dynamics.gate import check_unit
from dynamics.identity import METHOD_VERSION, identity_hash
from dynamics.partition import PARTITION_SEED
from dynamics.prompts import PromptSet
from dynamics.results.file_names import Part, part_id
from dynamics.results.store import ResultStore, write_units
from dynamics.results.tables import table, unit_tables
from dynamics.tasks import Task, TaskRows
from dynamics.unit_arrays import UnitArrays
from jobs.open_checkpoint import OpenCheckpoint, open_checkpoint
from jobs.outcomes import VERSIONS, Outcome, record_failures
from jobs.rescoring import add_fits
from jobs.run_baselines import run_baselines
from jobs.run_mechanisms import run_mechanisms
from jobs.unit_prompts import unit_prompts
from jobs.unit_rows import unit_rows
from jobs.work import CheckpointWork, RunSettings, WorkUnit


@dataclass(frozen=True)
class FinishedUnit:
    """A unit's arrays, its rows of the result tables, and its row of `units` but for its part and its runs."""

    unit: WorkUnit
    arrays: UnitArrays
    tables: dict[str, pa.Table]
    record: dict[str, object]


def run_checkpoint(work: CheckpointWork, store: ResultStore) -> list[Outcome]:
    """Open the checkpoint once and run its units task by task, committing each task when it is done.

    Whatever goes wrong with a unit or with the checkpoint is an outcome, never an exception.

    Raises:
        StoreError: the store cannot be written, so that nothing can be recorded.
    """
    torch.set_num_threads(work.settings.n_threads)
    with ExitStack() as until_done:
        try:
            opened = until_done.enter_context(open_checkpoint(work))
        except Exception as error:  # it concerns this checkpoint only and must not stop the others
            return record_failures(store, work, [(unit, error) for unit in work.all_units])
        outcomes: list[Outcome] = []
        # a part for each control: a task's ten controls in one part would take ten times the memory
        for _, units in groupby(work.units, key=lambda unit: (unit.task, unit.control)):
            outcomes += _run_task(opened, list(units), work, store)
        added = run_baselines(opened, work, store) + run_mechanisms(opened, work, store)
        return outcomes + record_failures(store, work, added)


def _run_task(
    opened: OpenCheckpoint, units: Sequence[WorkUnit], work: CheckpointWork, store: ResultStore
) -> list[Outcome]:
    """All units of one task and control, written as one part; failed ones are recorded apart."""
    finished: list[FinishedUnit] = []
    failed: list[tuple[WorkUnit, Exception]] = []
    task = work.settings.tasks[units[0].task]
    rows: TaskRows | None = None
    for unit in units:
        try:
            rows = rows or controlled_rows(task, unit_rows(unit, task, work.settings.data), unit.control)
            finished.append(_run_unit(opened, unit, rows, work.settings))
        except Exception as error:  # one unit's failure must not stop the others
            failed.append((unit, error))
    if finished:
        failed += _commit(finished, work, store)
    unfitted = {unit for unit, _ in failed}
    done = [Outcome(f.unit.unit_id, str(f.unit), "done", seconds=_seconds(f.record)) for f in finished]
    return [o for o, f in zip(done, finished, strict=True) if f.unit not in unfitted] + record_failures(
        store, work, failed
    )


def _commit(
    finished: Sequence[FinishedUnit], work: CheckpointWork, store: ResultStore
) -> list[tuple[WorkUnit, Exception]]:
    """Write the units of one task as a part, then their fits, from the arrays in memory; returns what was not fitted.

    Units come first: what a fit that fails, or a kill, leaves out is added later from stored contributions.
    """
    name = part_id(f.unit.unit_id for f in finished)
    records = [
        table("units", {**f.record, "part": name, "attempts": work.retries.runs(f.unit)}, {"status": ["done"]})
        for f in finished
    ]
    tables = {key: pa.concat_tables([f.tables[key] for f in finished]) for key in finished[0].tables}
    write_units(store, pa.concat_tables(records), tables)
    part = Part(work.checkpoint.model, work.checkpoint.step, finished[0].unit.task, name)
    try:
        add_fits(store, part, work.settings.fits, [f.arrays for f in finished])
    except StoreError:
        raise
    except Exception as error:  # the units are stored; a fit that fails must not cost their forward passes
        return [(f.unit, error) for f in finished]
    return []


def _run_unit(opened: OpenCheckpoint, unit: WorkUnit, rows: TaskRows, settings: RunSettings) -> FinishedUnit:
    """Build the prompts, run and split them, check the split and score it."""
    task = settings.tasks[unit.task]
    prompts = unit_prompts(opened, unit, task, rows)
    started = time.perf_counter()
    split = decompose(opened.model, prompts, token_budget=settings.token_budget, projections=opened.projections)
    check_unit(split.error, split.forward_error, unit.dtype)
    decomposed = time.perf_counter()
    arrays = _arrays(unit, prompts, split, rows)
    tables = unit_tables(arrays)
    measured = {
        "device": opened.device,
        "load_seconds": opened.load_seconds,
        "forward_seconds": decomposed - started,
        "score_seconds": time.perf_counter() - decomposed,
        "peak_bytes": _peak_bytes(opened.device),
        "flags": _flags(opened.checkpoint, prompts),
        "notes": list(opened.checkpoint.notes),
        "tokenizer": None if opened.checkpoint.tokenizer is None else str(opened.checkpoint.tokenizer),
    }
    record = {
        **_record(unit, prompts, split),
        **_task_record(task, rows, unit),
        **_group_record(arrays, rows),
        **measured,
    }
    return FinishedUnit(unit, arrays, tables, record)


def _arrays(unit: WorkUnit, prompts: PromptSet, split: Decomposition, rows: TaskRows) -> UnitArrays:
    return UnitArrays(
        keys=unit.keys,
        components=split.components,
        split=prompts.split,
        example_id=prompts.example_id,
        gold=np.array(prompts.gold),
        contributions=split.contributions,
        constant=split.constant,
        full=split.full,
        n_shots_used=prompts.n_shots_used,
        skipped=prompts.skipped,
        groups=rows.groups,
    )


def _record(unit: WorkUnit, prompts: PromptSet, split: Decomposition) -> dict[str, object]:
    """The unit's row of `units`, without what its task and this run add."""
    return {
        **unit.keys,
        "decomposition_error": split.error,
        "forward_error": split.forward_error,
        "content_hash": unit.checkpoint.content_hash,
        "task_hash": unit.task_hash,
        "label_words": " ".join(prompts.label_words),
        "n_test": prompts.split.count("test"),
        "n_test_asked": unit.n_test,
        "n_train": prompts.split.count("train"),
        "partition_seed": PARTITION_SEED,
        "n_shots_used": prompts.n_shots_used,
        "n_skipped": len(prompts.skipped),
        "versions": VERSIONS,
        "forward_id": forward_id(unit, prompts),
        "created": datetime.now(UTC),
    }


def _task_record(task: Task, rows: TaskRows, unit: WorkUnit) -> dict[str, object]:
    """Facts of the task that analyses need."""
    return {
        "task_source": rows.source or task.source,
        "contrasts_with": task.contrasts_with(unit.template.name),
        "demonstrations_of": task.demonstrations_of,
    }


def _group_record(arrays: UnitArrays, rows: TaskRows) -> dict[str, object]:
    """How many groups the test examples are of, and what was done so that no group is on both sides."""
    test = [name for split, name in zip(arrays.split, arrays.example_id, strict=True) if split == "test"]
    n_groups = len({arrays.groups.get(name, name) for name in test})
    return {"n_groups": n_groups, "n_moved": rows.n_moved, "n_dropped": rows.n_dropped}


def _flags(checkpoint: Checkpoint, prompts: PromptSet) -> list[str]:
    """Flags of the checkpoint, then of the prompts."""
    of_prompts = (("shared_pool", prompts.shares_pool), ("bos", prompts.bos))
    return [*checkpoint.flags, *(name for name, applies in of_prompts if applies)]


def forward_id(unit: WorkUnit, prompts: PromptSet) -> str:
    """Hash (16 hex) of what decides the contributions; never of batch size, device or K."""
    return identity_hash(
        {
            "content_hash": unit.checkpoint.content_hash,
            "setup_hash": unit.checkpoint.setup_hash,
            "dtype": unit.dtype,
            "control": unit.control,
            "prompts": prompts.digest,
            "method_version": METHOD_VERSION,
            **unit.checkpoint.named_tokenizer,
        }
    )


def _seconds(record: Mapping[str, object]) -> dict[str, float]:
    """Phase -> seconds of a unit."""
    return {name.removesuffix("_seconds"): float(str(record[name])) for name in ("forward_seconds", "score_seconds")}


def _peak_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return peak_resident_bytes()
