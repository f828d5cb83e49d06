"""Standard, PromptS and label-free calibrations on an open checkpoint, for the units of a sweep that lack them.

They are rows of `prompt_scores` with the id of their unit and a fit_id of their own, in a file of their own beside the
part that holds the unit, as fits are. So the unit's own rows do not change: a unit that was done without them is not
computed again, a new K runs only that K, and `jobs.derive` leaves them alone. Label-free calibrations take the full
model's logits of the test rows from the stored contributions, and run prompts without content only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import pyarrow as pa

from dynamics.controls import controlled_rows, controlled_selection
from dynamics.identity import short_hash
from dynamics.methods.baselines import PROMPT_SELECTION, PromptingBaseline
from dynamics.methods.content_free import FieldTexts, calibration_scores, texts_by_field
from dynamics.methods.nearest import Embed, EmbeddingCache, checkpoint_embedder, encoder_embedder
from dynamics.methods.prompting import PromptInputs, baseline_scores
from dynamics.partition import select_rows
from dynamics.prompts import fitting_rows
from dynamics.results.contributions import read_label_logits
from dynamics.results.file_names import Part
from dynamics.results.store import ResultStore, finished_units, read_part, write_fits
from dynamics.results.tables import table
from dynamics.tasks import TaskRows
from dynamics.unit_arrays import LabelLogits
from jobs.missing import without_stored
from jobs.open_checkpoint import OpenCheckpoint
from jobs.unit_rows import unit_rows
from jobs.work import CheckpointWork, MissingBaselines, RunSettings, WorkUnit

Failures = list[tuple[WorkUnit, Exception]]


def run_baselines(opened: OpenCheckpoint, work: CheckpointWork, store: ResultStore) -> Failures:
    """Run the baselines that the checkpoint's finished units lack, task by task; returns what failed.

    Units that did not finish are left out: their failure is recorded, and the next sweep runs both.
    """
    if not work.baselines:
        return []
    part_names = finished_units(store, work.checkpoint.model, work.checkpoint.step)
    missing = _not_stored(store, [pair for pair in work.baselines if pair[0].unit_id in part_names], part_names)
    if not missing:
        return []
    try:
        embed = _embedder(opened, work.settings, missing)
    except Exception as error:  # an encoder that cannot be opened concerns all units and must not stop the sweep
        return [(unit, error) for unit, _ in missing]
    failed: Failures = []
    for _, of_task in groupby(missing, key=lambda pair: pair[0].task):
        # the rows of a task are embedded once for all its units
        failed += _run_task(opened, list(of_task), part_names, EmbeddingCache(embed), work, store)
    return failed


def _not_stored(
    store: ResultStore, missing: Sequence[MissingBaselines], part_names: Mapping[str, str]
) -> list[MissingBaselines]:
    """The baselines that neither an interrupted attempt nor another sweep has written meanwhile."""
    parts = {_part_of(unit, part_names) for unit, _ in missing}
    scores = [read_part(store, "prompt_scores", part).select("unit_id", "fit_id") for part in parts]
    return without_stored(missing, {row for frame in scores for row in frame.iter_rows()})


def _embedder(opened: OpenCheckpoint, settings: RunSettings, missing: Sequence[MissingBaselines]) -> Embed:
    """The function that embeds; an encoder is opened only where some unit lacks PromptS."""
    methods = {baseline.method for _, baselines in missing for baseline in baselines}
    if settings.encoder is None or PROMPT_SELECTION not in methods:
        return checkpoint_embedder(opened.model, opened.tokenizer, token_budget=settings.token_budget)
    return encoder_embedder(settings.encoder, device=str(opened.model.device), token_budget=settings.token_budget)


@dataclass(frozen=True)
class _TaskInputs:
    """What the baselines of one task's units share, each read where a unit needs it."""

    rows: TaskRows
    vectors: EmbeddingCache
    store: ResultStore
    logits: dict[Part, dict[str, LabelLogits]] = field(default_factory=dict)

    @cached_property
    def texts(self) -> dict[str, FieldTexts]:
        """The texts of the pool rows by field."""
        return texts_by_field(self.rows.pool)

    def logits_of(self, unit: WorkUnit, part: Part) -> LabelLogits:
        """The stored label logits of a unit; those of one part at a time are kept."""
        if part not in self.logits:
            self.logits.clear()
            self.logits[part] = read_label_logits(self.store, part)
        return self.logits[part][unit.unit_id]


def _run_task(
    opened: OpenCheckpoint,
    missing: Sequence[MissingBaselines],
    part_names: Mapping[str, str],
    vectors: EmbeddingCache,
    work: CheckpointWork,
    store: ResultStore,
) -> Failures:
    """The baselines of one task's units, one file for each part."""
    scores_by_part: dict[Part, list[pa.Table]] = {}
    failed: Failures = []
    task = work.settings.tasks[missing[0][0].task]
    shared: _TaskInputs | None = None
    for unit, baselines in missing:
        try:
            shared = shared or _TaskInputs(unit_rows(unit, task, work.settings.data), vectors, store)
            part = _part_of(unit, part_names)
            scores = _run_unit(opened, unit, part, baselines, shared, work.settings)
            scores_by_part.setdefault(part, []).append(scores)
        except Exception as error:  # one unit's failure must not stop the others
            failed.append((unit, error))
    for part, tables in scores_by_part.items():
        scores = pa.concat_tables(tables)
        write_fits(store, part, _file_name(scores), {"prompt_scores": scores})
    return failed


def _run_unit(
    opened: OpenCheckpoint,
    unit: WorkUnit,
    part: Part,
    baselines: Sequence[PromptingBaseline],
    shared: _TaskInputs,
    settings: RunSettings,
) -> pa.Table:
    inputs = _prompt_inputs(opened, unit, shared.rows, settings)
    label_free = [baseline for baseline in baselines if baseline.is_label_free]
    with_labels = [baseline for baseline in baselines if not baseline.is_label_free]
    budget = settings.token_budget
    scores = baseline_scores(opened.model, inputs, with_labels, shared.vectors, token_budget=budget)
    if label_free:
        logits = shared.logits_of(unit, part)
        scores += calibration_scores(opened.model, inputs, label_free, shared.texts, logits, token_budget=budget)
    names = dict.fromkeys(name for row in scores for name in row)
    return table("prompt_scores", unit.keys, {name: [row.get(name) for row in scores] for name in names})


def _prompt_inputs(opened: OpenCheckpoint, unit: WorkUnit, rows: TaskRows, settings: RunSettings) -> PromptInputs:
    """The unit's own rows, of which demonstrations and training rows are those that fit its context."""
    task, template = unit.task_of(settings.tasks[unit.task]), unit.template.name
    selection = select_rows(
        task,
        controlled_rows(task, rows, unit.control),
        demo_seed=unit.demo_seed,
        n_shots=unit.n_shots,
        n_test=unit.n_test,
        n_train=unit.n_train,
    )
    selection = controlled_selection(task, selection, unit.control)
    selection = fitting_rows(
        task, template, opened.tokenizer, selection, demo_seed=unit.demo_seed, max_length=opened.max_length
    )
    return PromptInputs(task, template, opened.tokenizer, selection, unit.demo_seed, opened.max_length)


def _part_of(unit: WorkUnit, part_names: Mapping[str, str]) -> Part:
    return Part(unit.checkpoint.model, unit.checkpoint.step, unit.task, part_names[unit.unit_id])


def _file_name(scores: pa.Table) -> str:
    """Hash (8 hex) of the units and settings in a file: the same ones again replace it."""
    pairs = sorted(zip(scores["unit_id"].to_pylist(), scores["fit_id"].to_pylist(), strict=True))
    return short_hash(repr(pairs), 8)
