"""Standard and PromptS beside the units of a sweep: which are lacking, and running them on an open model.

They are rows of `prompt_scores` under their unit's id, each with its own fit_id, in a file of its own beside the part
that holds the unit, as fits are. So the unit is what it was: one that was done without them is not computed again, a
new K runs only that K, and `jobs.derive` leaves them alone.
"""

from collections.abc import Sequence
from itertools import groupby

import polars as pl
import pyarrow as pa
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dynamics.controls import controlled_rows
from dynamics.identity import short_hash
from dynamics.methods.baselines import PromptingBaseline
from dynamics.methods.nearest import Embed, EmbeddingCache, checkpoint_embedder, encoder_embedder
from dynamics.methods.prompting import PromptInputs, baseline_scores
from dynamics.partition import select_rows
from dynamics.prompts import fitting_rows
from dynamics.results.store import Part, ResultStore, finished_units, read_part, read_units, scan, write_fits
from dynamics.results.tables import table
from dynamics.tasks import TaskRows
from jobs.units import CheckpointWork, MissingBaselines, WorkUnit


def missing_baselines(
    store: ResultStore | None, units: Sequence[WorkUnit], baselines: Sequence[PromptingBaseline]
) -> list[MissingBaselines]:
    """The units that lack some of the baselines, done or not, each with what it lacks; without a store all lack all."""
    if not baselines:
        return []
    if store is None:
        return [(unit, tuple(baselines)) for unit in units]
    done = read_units(store).filter(status="done")
    there: set[tuple[object, ...]] = set()
    if len(done):
        scores = scan(store, "prompt_scores").filter(
            pl.col("fit_id").is_in([baseline.fit_id for baseline in baselines])
        )
        there = set(scores.select("unit_id", "fit_id").collect().iter_rows())
    lacking = [(unit, tuple(r for r in baselines if (unit.unit_id, r.fit_id) not in there)) for unit in units]
    return [(unit, left) for unit, left in lacking if left]


def run_missing_baselines(
    store: ResultStore, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, work: CheckpointWork
) -> list[tuple[WorkUnit, Exception]]:
    """Run what the checkpoint's finished units are owed, task by task; returns what failed.

    A unit that did not finish is owed nothing: its failure is known, and the next run comes back to both.
    """
    if not work.owed:
        return []
    part_of = finished_units(store, work.checkpoint.model, work.checkpoint.step)
    owed = _still_owed(store, [pair for pair in work.owed if pair[0].unit_id in part_of], part_of)
    if not owed:
        return []
    try:
        embed = _embedder(model, tokenizer, work)
    except Exception as error:  # an encoder that cannot be opened concerns all units and must not stop the sweep
        return [(unit, error) for unit, _ in owed]
    failed: list[tuple[WorkUnit, Exception]] = []
    for _, of_task in groupby(owed, key=lambda pair: pair[0].task):
        failed += _run_task(store, model, tokenizer, list(of_task), part_of, embed, work)
    return failed


def _still_owed(
    store: ResultStore, owed: Sequence[MissingBaselines], part_of: dict[str, str]
) -> list[MissingBaselines]:
    """What neither an attempt that was cut short nor another sweep has written meanwhile."""
    parts = {Part(u.checkpoint.model, u.checkpoint.step, u.task, part_of[u.unit_id]) for u, _ in owed}
    scores = [read_part(store, "prompt_scores", part).select("unit_id", "fit_id") for part in parts]
    there = {row for frame in scores for row in frame.iter_rows()}
    left = [(unit, tuple(r for r in baselines if (unit.unit_id, r.fit_id) not in there)) for unit, baselines in owed]
    return [(unit, baselines) for unit, baselines in left if baselines]


def _embedder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, work: CheckpointWork) -> Embed:
    if work.encoder is None:
        return checkpoint_embedder(model, tokenizer, token_budget=work.token_budget)
    return encoder_embedder(work.encoder, device=str(model.device), token_budget=work.token_budget)


def _run_task(
    store: ResultStore,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    owed: Sequence[MissingBaselines],
    part_of: dict[str, str],
    embed: Embed,
    work: CheckpointWork,
) -> list[tuple[WorkUnit, Exception]]:
    """The baselines of one task's units, whose rows are embedded once for all of them; one file for each part."""
    found: dict[str, list[pa.Table]] = {}
    failed: list[tuple[WorkUnit, Exception]] = []
    vectors = EmbeddingCache(embed)
    rows: TaskRows | None = None
    for unit, baselines in owed:
        try:
            rows = rows or work.tasks[unit.task].load(work.data)
            scored = _run_unit(unit, baselines, model, tokenizer, rows, vectors, work)
            found.setdefault(part_of[unit.unit_id], []).append(scored)
        except Exception as error:  # one unit's failure must not stop the others
            failed.append((unit, error))
    for name, tables in found.items():
        rows_of_part = pa.concat_tables(tables)
        part = Part(work.checkpoint.model, work.checkpoint.step, owed[0][0].task, name)
        write_fits(store, part, _file_name(rows_of_part), {"prompt_scores": rows_of_part})
    return failed


def _run_unit(
    unit: WorkUnit,
    baselines: Sequence[PromptingBaseline],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TaskRows,
    vectors: EmbeddingCache,
    work: CheckpointWork,
) -> pa.Table:
    task = work.tasks[unit.task]
    rows = controlled_rows(task, rows, unit.control)
    chosen = select_rows(
        task, rows, demo_seed=unit.demo_seed, n_shots=unit.n_shots, n_test=unit.n_test, n_train=unit.n_train
    )
    context = model.config.max_position_embeddings
    name, seed = unit.template.name, unit.demo_seed
    chosen = fitting_rows(task, name, tokenizer, chosen, demo_seed=seed, max_length=context)
    inputs = PromptInputs(task, name, tokenizer, chosen, seed, context)
    scored = baseline_scores(model, inputs, baselines, vectors, token_budget=work.token_budget)
    return table("prompt_scores", unit.keys, {name: [row[name] for row in scored] for name in scored[0]})


def _file_name(rows: pa.Table) -> str:
    """Hash (8 hex) of the units and settings in a file: the same again replaces it."""
    pairs = sorted(zip(rows["unit_id"].to_pylist(), rows["fit_id"].to_pylist(), strict=True))
    return short_hash(repr(pairs), 8)
