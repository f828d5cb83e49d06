"""Work units: the cells of a plan's grid, found, identified and grouped by checkpoint; no model is opened."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from dynamics.checkpoints import Checkpoint, find_checkpoints, random_init
from dynamics.controls import NONE, RANDOM_INIT, SHUFFLED_LABELS, control_name
from dynamics.errors import CheckpointError, PlanError
from dynamics.hub.errata import QUARANTINED
from dynamics.identity import METHOD_VERSION, short_hash
from dynamics.methods.baselines import PromptingBaseline
from dynamics.methods.fits import Fit
from dynamics.partition import PARTITION_SEED
from dynamics.results.schema import PLANNED
from dynamics.tasks import Task, Template, fingerprint
from jobs.plan import ModelPlan, Resources, StepRange, SweepPlan, TaskPlan


@dataclass(frozen=True)
class WorkUnit:
    """One cell of the grid: a checkpoint answering one prompt set."""

    checkpoint: Checkpoint
    task: str
    task_hash: str
    template: Template
    demo_seed: int
    n_shots: int
    n_test: int
    n_train: int
    dtype: str
    control: str = NONE

    @property
    def keys(self) -> dict[str, object]:
        """The columns that every row of the unit has, in every table."""
        c = self.checkpoint
        return {
            "unit_id": self.unit_id,
            "model": c.model,
            "revision": c.revision,
            "step": c.step,
            "tokens_seen": c.tokens_seen,
            "commit_sha": c.commit_sha,
            "dtype": self.dtype,
            "control": self.control,
            "task": self.task,
            "template": self.template.name,
            "demo_seed": self.demo_seed,
            "n_shots": self.n_shots,
        }

    @property
    def cell(self) -> tuple[object, ...]:
        """What identifies the unit to a reader: two units of one store may not share it."""
        c = self.checkpoint
        return (c.model, c.step, self.dtype, self.control, self.task, self.template.name, self.demo_seed, self.n_shots)

    @cached_property
    def unit_id(self) -> str:
        """Hash (16 hex) of everything known before the model is opened that decides the unit's numbers."""
        c = self.checkpoint
        settings = (*self.cell, c.content_hash, c.setup_hash, self.task_hash, self.n_test, self.n_train)
        text = json.dumps([*settings, astuple(self.template), PARTITION_SEED, METHOD_VERSION])
        return short_hash(text)

    def __str__(self) -> str:
        control = "" if self.control in (NONE, self.checkpoint.revision) else f" {self.control}"
        return f"{self.checkpoint}{control} {self.task}/{self.template.name} seed {self.demo_seed} {self.n_shots}-shot"


@dataclass(frozen=True)
class CheckpointWork:
    """All units of one checkpoint that one worker runs on one load.

    Attributes:
        units: those without results.
        token_budget: padded tokens per batch; None to fit free memory.
        owed: units, with or without results, and the baselines that they lack.
        encoder: folder of the sentence encoder; None where the checkpoint itself embeds.
        run: identifies the sweep among those that share a cache.
        disk_bytes: budget of the node's cache; None for the free space.
        keep: leave fetched files in the cache.
        refusal: why the checkpoint's files could not be fetched ahead; None where they were, or need not be.
        resources: what the worker asks of a node.
        attempt: of this sweep, from 1.
        attempts: how often units (unit_id) were run before, in all sweeps; left out where never.
    """

    checkpoint: Checkpoint
    units: tuple[WorkUnit, ...]
    device: str
    token_budget: int | None
    n_threads: int
    tasks: Mapping[str, Task]
    data: Path | None
    fits: tuple[Fit, ...] = ()
    run: str = ""
    disk_bytes: int | None = None
    keep: bool = False
    refusal: CheckpointError | None = None
    owed: tuple["MissingBaselines", ...] = ()
    encoder: Path | None = None
    resources: Resources = field(default_factory=Resources)
    attempt: int = 1
    attempts: Mapping[str, int] = field(default_factory=dict)

    @property
    def asked(self) -> tuple[WorkUnit, ...]:
        """Every unit that something is computed for."""
        return tuple(dict.fromkeys((*self.units, *(unit for unit, _ in self.owed))))


MissingBaselines = tuple[WorkUnit, tuple[PromptingBaseline, ...]]
"""A unit and the baselines of reweighting that its results lack."""


def plan_checkpoints(plan: SweepPlan) -> list[Checkpoint]:
    """All checkpoints a plan names, quarantined ones too, in order; after each model's own its random ones.

    Raises:
        PlanError: a grid or pattern that is none, or a missing step.
        CheckpointError: an unknown model, or a checkpoint that cannot be used.
    """
    seeds = plan.seeds_of_controls if RANDOM_INIT in plan.controls else ()
    found = [_checkpoints(model) for model in plan.models]
    return [c for own in found for c in (*own, *(random_init(first, seed) for first in own[:1] for seed in seeds))]


def to_run(plan: SweepPlan, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints without those in quarantine, unless the plan runs them."""
    anyway = {model.id for model in plan.models if model.quarantined == "run"}
    return [c for c in checkpoints if QUARANTINED not in c.flags or c.model in anyway]


def expand(plan: SweepPlan, checkpoints: Sequence[Checkpoint] | None = None) -> list[WorkUnit]:
    """All units of a plan, in the order checkpoint, task, control, template, shots, seed.

    Args:
        plan: the grid.
        checkpoints: those to run; found and freed of quarantined ones where not given.

    Raises:
        PlanError: an unknown task or template, or two entries that mean the same cell.
        CheckpointError: an unknown model or step.
    """
    checkpoints = to_run(plan, plan_checkpoints(plan)) if checkpoints is None else checkpoints
    tasks = [_checked(cell, plan) for cell in plan.tasks]
    units = [
        WorkUnit(
            checkpoint, task.name, task_hash, template, seed, n_shots, cell.n_test, cell.n_train, plan.dtype, control
        )
        for checkpoint in checkpoints
        for cell, task, task_hash in tasks
        for control in _controls(plan, checkpoint)
        for template in (task.templates if cell.templates == "all" else map(task.template, cell.templates))
        for n_shots in cell.n_shots
        for seed in cell.seeds
    ]
    cells = {unit.cell: unit for unit in units}
    if len(cells) < len(units):
        twice = next(unit for unit in units if cells[unit.cell] is not unit)
        raise PlanError(
            f"plan {plan.name} asks twice for {twice}; name each model, task, seed and number of shots once"
        )
    return units


def planned_table(plan: SweepPlan, units: Sequence[WorkUnit]) -> pa.Table:
    """The plan's units: their keys, and the fits and prompting baselines that it asks of them; schema `PLANNED`."""
    fit_ids = [fit.fit_id for fit in plan.fits.all] + [baseline.fit_id for baseline in plan.baselines]
    return pa.Table.from_pylist([{**unit.keys, "fit_ids": fit_ids} for unit in units], schema=PLANNED)


def group(
    plan: SweepPlan, units: Sequence[WorkUnit], run: str = "", owed: Sequence[MissingBaselines] = ()
) -> list[CheckpointWork]:
    """Units, and those owed baselines, by checkpoint, in order; `run` identifies the sweep."""
    by_checkpoint: dict[Checkpoint, list[WorkUnit]] = {}
    for unit in (*units, *(unit for unit, _ in owed)):
        by_checkpoint.setdefault(unit.checkpoint, []).append(unit)
    to_run = {unit.unit_id for unit in units}
    owed_by: dict[Checkpoint, list[MissingBaselines]] = {}
    for pair in owed:
        owed_by.setdefault(pair[0].checkpoint, []).append(pair)
    return [
        CheckpointWork(
            checkpoint,
            tuple(unit for unit in dict.fromkeys(of) if unit.unit_id in to_run),
            plan.device,
            None if plan.token_budget == "auto" else plan.token_budget,
            n_threads=max(1, int(plan.resources_of(checkpoint.model).num_cpus)),
            tasks={unit.task: plan.task_by_name[unit.task] for unit in of},
            data=plan.data_folder,
            fits=plan.fits.all,
            run=run,
            disk_bytes=disk_bytes(plan),
            keep=plan.hub.keep,
            owed=tuple(owed_by.get(checkpoint, ())),
            encoder=plan.encoder_folder,
            resources=plan.resources_of(checkpoint.model),
        )
        for checkpoint, of in by_checkpoint.items()
    ]


def disk_bytes(plan: SweepPlan) -> int | None:
    """The budget of each node's cache, in bytes."""
    return None if plan.hub.disk_gb is None else int(plan.hub.disk_gb * 1e9)


def _checkpoints(model: ModelPlan) -> list[Checkpoint]:
    steps = model.steps
    return find_checkpoints(
        model.id,
        range(steps.first, steps.last + 1, steps.every) if isinstance(steps, StepRange) else steps,
        model.folder,
        model.tokens_per_step,
        pattern=model.pattern,
        allow_pickle=model.allow_pickle,
        missing=model.missing,
        revision=model.revision,
    )


def _controls(plan: SweepPlan, checkpoint: Checkpoint) -> list[str]:
    """What the `control` column says of a checkpoint's units: drawn weights are a control as they are."""
    if checkpoint.init_seed is not None:
        return [control_name(RANDOM_INIT, checkpoint.init_seed)]
    shuffled = plan.seeds_of_controls if SHUFFLED_LABELS in plan.controls else ()
    return [NONE, *(control_name(SHUFFLED_LABELS, seed) for seed in shuffled)]


def _checked(cell: TaskPlan, plan: SweepPlan) -> tuple[TaskPlan, Task, str]:
    task = plan.task_by_name[cell.name]
    for template in () if cell.templates == "all" else cell.templates:
        task.template(template)
    return cell, task, fingerprint(task, task.load(plan.data_folder))
