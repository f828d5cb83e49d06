"""One checkpoint, all its missing units, start to finish: a plain function, whoever calls it."""

import hashlib
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dynamics.checkpoints import load_model, load_tokenizer
from dynamics.controls import controlled_rows
from dynamics.decomposition import FORWARD_TOLERANCE, TOLERANCE, Decomposition, Readouts, decompose
from dynamics.errors import DoubtfulUnit
from dynamics.forward.memory import peak_resident_bytes
from dynamics.prompts import PARTITION_SEED, PromptSet, build_prompts
from dynamics.results.schema import METHOD_VERSION
from dynamics.results.store import Part, ResultStore, part_id, write_units
from dynamics.results.tables import UnitArrays, table, unit_tables
from dynamics.tasks import TaskRows
from jobs.derive import derive
from jobs.fetching import at_hand
from jobs.outcomes import VERSIONS, Outcome, attempts, record_failures
from jobs.prompting import run_owed
from jobs.units import CheckpointWork, WorkUnit


@dataclass(frozen=True)
class _Finished:
    """A unit's tables, and its row of `units` but for the part that will hold it."""

    unit: WorkUnit
    tables: dict[str, pa.Table]
    record: dict[str, object]


def run_checkpoint(work: CheckpointWork, store: ResultStore) -> list[Outcome]:
    """Open the checkpoint once and run its units task by task, committing each task as it is done.

    Never raises for what goes wrong with a unit or with the checkpoint: that is what outcomes are for. A store that
    cannot be written does raise, since nothing could be recorded.
    """
    torch.set_num_threads(work.n_threads)
    started = time.perf_counter()
    device = resolve_device(work.device)
    with ExitStack() as until_done:
        try:
            checkpoint = until_done.enter_context(at_hand(work))
            model = load_model(checkpoint, dtype=work.asked[0].dtype, device=device)
            tokenizer = load_tokenizer(checkpoint)
        except Exception as error:  # whatever it was, it concerns this checkpoint and must not stop the others
            return record_failures(store, work, [(unit, error) for unit in work.asked])
        shared = {"device": device, "load_seconds": time.perf_counter() - started}
        readouts: Readouts = {}
        outcomes: list[Outcome] = []
        # a part for each control: a task's ten controls at once would be ten times the memory
        for _, units in groupby(work.units, key=lambda unit: (unit.task, unit.control)):
            outcomes += _run_task(store, model, tokenizer, list(units), readouts, work, shared)
        return outcomes + record_failures(store, work, run_owed(store, model, tokenizer, work))


def resolve_device(device: str) -> str:
    """`auto` is CUDA where there is one, else the CPU."""
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _run_task(
    store: ResultStore,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    units: list[WorkUnit],
    readouts: Readouts,
    work: CheckpointWork,
    shared: dict[str, object],
) -> list[Outcome]:
    """All units of one task and control on an open model, written as one part; failed ones recorded apart."""
    done: list[_Finished] = []
    failed: list[tuple[WorkUnit, Exception]] = []
    rows: TaskRows | None = None
    for unit in units:
        try:
            task = work.tasks[unit.task]
            rows = rows or controlled_rows(task, task.load(work.data), unit.control)
            done.append(_run_unit(unit, model, tokenizer, rows, readouts, work, shared))
        except Exception as error:  # one unit's failure must not stop the others
            failed.append((unit, error))
    if done:
        part = part_id(finished.unit.unit_id for finished in done)
        records = [table("units", {**f.record, "part": part}, {"status": ["done"]}) for f in done]
        tables = {name: pa.concat_tables([f.tables[name] for f in done]) for name in done[0].tables}
        write_units(store, pa.concat_tables(records), tables)
        derive(store, Part(work.checkpoint.model, work.checkpoint.step, units[0].task, part), work.fits)
    finished = [Outcome(f.unit.unit_id, str(f.unit), "done", seconds=_seconds(f.record)) for f in done]
    return finished + record_failures(store, work, failed)


def _run_unit(
    unit: WorkUnit,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TaskRows,
    readouts: Readouts,
    work: CheckpointWork,
    shared: dict[str, object],
) -> _Finished:
    """Build the prompts, run and split them, check the split, score it."""
    task = work.tasks[unit.task]
    prompts = build_prompts(
        task,
        unit.template.name,
        tokenizer,
        demo_seed=unit.demo_seed,
        n_shots=unit.n_shots,
        n_test=unit.n_test,
        n_train=unit.n_train,
        rows=rows,
        max_length=model.config.max_position_embeddings,
    )
    started = time.perf_counter()
    split = decompose(model, prompts, token_budget=work.token_budget, readouts=readouts)
    gate(split, unit.dtype)
    ran = time.perf_counter()
    tables = unit_tables(
        UnitArrays(
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
        )
    )
    measured = {
        "forward_seconds": ran - started,
        "score_seconds": time.perf_counter() - ran,
        "peak_bytes": _peak_bytes(str(shared["device"])),
        "task_source": rows.source or task.source,
        "contrasts_with": task.contrasts_with(unit.template.name),
        "demonstrations_of": task.demonstrations_of,
        "attempts": attempts(work, unit),
    }
    return _Finished(unit, tables, {**_record(unit, prompts, split), **shared, **measured})


def _record(unit: WorkUnit, prompts: PromptSet, split: Decomposition) -> dict[str, object]:
    """The unit's row of `units`, but for what depends on the run."""
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
        "flags": _flags(unit, prompts),
        "versions": VERSIONS,
        "forward_id": forward_id(unit, prompts),
        "created": datetime.now(UTC),
    }


def _flags(unit: WorkUnit, prompts: PromptSet) -> list[str]:
    """What a reader should know of the checkpoint, then of the prompts."""
    of_prompts = (("shared_pool", prompts.shares_pool), ("bos", prompts.bos))
    return [*unit.checkpoint.flags, *(name for name, on in of_prompts if on)]


def gate(split: Decomposition, dtype: str) -> None:
    """Refuse a unit whose parts do not sum to its logits, or whose logits are not the model's own.

    Written as `not (error <= tolerance)`, so that NaN fails.

    Raises:
        DoubtfulUnit: with both errors and what the dtype allows.
    """
    parts, forward = TOLERANCE[dtype], FORWARD_TOLERANCE[dtype]
    if not (split.error <= parts and split.forward_error <= forward):
        raise DoubtfulUnit(
            f"parts miss the logits by {split.error:.2e} ({dtype} allows {parts:.0e}) and the batched pass misses the "
            f"model's own by {split.forward_error:.2e} ({forward:.0e}). The unit is not written: check the family and "
            "the checkpoint"
        )


def forward_id(unit: WorkUnit, prompts: PromptSet) -> str:
    """Hash (16 hex) of what decides the contributions; never of batch size, device or K."""
    checkpoint = unit.checkpoint
    parts = (checkpoint.content_hash, checkpoint.setup_hash, unit.dtype, unit.control, prompts.digest, METHOD_VERSION)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _seconds(record: Mapping[str, object]) -> dict[str, float]:
    """Phase -> seconds of a unit."""
    return {name.removesuffix("_seconds"): float(str(record[name])) for name in ("forward_seconds", "score_seconds")}


def _peak_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return peak_resident_bytes()
