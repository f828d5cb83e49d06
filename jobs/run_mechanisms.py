"""Mechanisms on an open checkpoint, for the units of a sweep that lack them.

They are rows of `mechanisms` and `ablations` with the id of their unit and a fit_id of their own, in files of their own
beside the part that holds the unit, as fits are. So a unit that was done without them is not stored again; its prompts
are built and decomposed again, which costs one pass.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

import pyarrow as pa

from dynamics.controls import SHUFFLED_DEMONSTRATIONS, control_name, controlled_rows
from dynamics.decomposition import decompose
from dynamics.gate import check_unit
from dynamics.identity import short_hash
from dynamics.mechanisms.rows import Measured, mechanism_table
from dynamics.mechanisms.settings import Mechanism
from dynamics.prompts import PromptSet
from dynamics.results.file_names import Part
from dynamics.results.store import ResultStore, finished_units, write_fits
from dynamics.tasks import TaskRows
from jobs.open_checkpoint import OpenCheckpoint
from jobs.unit_prompts import unit_prompts
from jobs.unit_rows import unit_rows
from jobs.work import CheckpointWork, MissingMechanisms, RunSettings, WorkUnit

Failures = list[tuple[WorkUnit, Exception]]


def run_mechanisms(opened: OpenCheckpoint, work: CheckpointWork, store: ResultStore) -> Failures:
    """Measure the mechanisms that the checkpoint's finished units lack, task by task; returns what failed.

    Units that did not finish are left out: their failure is recorded, and the next sweep runs both.
    """
    if not work.mechanisms:
        return []
    part_names = finished_units(store, work.checkpoint.model, work.checkpoint.step)
    missing = [pair for pair in work.mechanisms if pair[0].unit_id in part_names]
    failed: Failures = []
    for _, of_task in groupby(missing, key=lambda pair: (pair[0].task, pair[0].control)):
        failed += _run_task(opened, list(of_task), part_names, work.settings, store)
    return failed


def _run_task(
    opened: OpenCheckpoint,
    missing: Sequence[MissingMechanisms],
    part_names: Mapping[str, str],
    settings: RunSettings,
    store: ResultStore,
) -> Failures:
    """The mechanisms of one task's units, one file for each part and table."""
    tables: dict[tuple[Part, str], list[pa.Table]] = {}
    failed: Failures = []
    task, rows = settings.tasks[missing[0][0].task], None
    for unit, mechanisms in missing:
        try:
            rows = rows or controlled_rows(task, unit_rows(unit, task, settings.data), unit.control)
            part = Part(unit.checkpoint.model, unit.checkpoint.step, unit.task, part_names[unit.unit_id])
            for name, measured in _run_unit(opened, unit, mechanisms, rows, settings):
                tables.setdefault((part, name), []).append(measured)
        except Exception as error:  # one unit's failure must not stop the others
            failed.append((unit, error))
    for (part, name), parts in tables.items():
        measured = pa.concat_tables(parts)
        write_fits(store, part, _file_name(measured), {name: measured})
    return failed


def _run_unit(
    opened: OpenCheckpoint,
    unit: WorkUnit,
    mechanisms: Sequence[Mechanism],
    rows: TaskRows,
    settings: RunSettings,
) -> list[tuple[str, pa.Table]]:
    """Table and rows of each mechanism of a unit."""
    task = settings.tasks[unit.task]

    def shuffled(n_prompts: int) -> PromptSet:
        # all rows first: the longest of them decides how many demonstrations fit
        control = control_name(SHUFFLED_DEMONSTRATIONS, unit.demo_seed)
        return unit_prompts(opened, unit, task, rows, control).first_test(n_prompts)

    prompts = unit_prompts(opened, unit, task, rows)
    split = decompose(opened.model, prompts, token_budget=settings.token_budget, projections=opened.projections)
    check_unit(split.error, split.forward_error, unit.dtype)
    special = set(opened.tokenizer.all_special_ids)
    vocabulary = [i for i in range(min(len(opened.tokenizer), opened.model.config.vocab_size)) if i not in special]
    measured = Measured(opened.model, vocabulary, prompts, split, shuffled, settings.token_budget)
    return [(m.table, mechanism_table(measured, m, unit.keys)) for m in mechanisms]


def _file_name(rows: pa.Table) -> str:
    """Hash (8 hex) of the units and settings in a file: the same ones again replace it."""
    pairs = sorted(set(zip(rows["unit_id"].to_pylist(), rows["fit_id"].to_pylist(), strict=True)))
    return short_hash(repr(pairs), 8)
