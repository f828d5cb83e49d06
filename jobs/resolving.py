"""A plan resolved: every checkpoint, unit, fit and baseline that it means. No model is opened."""

from collections.abc import Sequence
from dataclasses import dataclass

from dynamics.checkpoints import Checkpoint, find_checkpoints, random_init
from dynamics.controls import (
    ABSTRACT_LABELS,
    NONE,
    OF_DEMONSTRATIONS,
    RANDOM_INIT,
    SHUFFLED_LABELS,
    abstract_template,
    control_name,
)
from dynamics.errors import PlanError
from dynamics.hub.errata import QUARANTINED
from dynamics.mechanisms.settings import Mechanism
from dynamics.tasks import Task, Template
from jobs.model_plan import ModelPlan
from jobs.sweep_plan import SweepPlan
from jobs.task_plan import TaskPlan
from jobs.work import WorkUnit


@dataclass(frozen=True)
class ResolvedPlan:
    """A plan and what it means.

    Attributes:
        plan: as it was read.
        checkpoints: all that it names, in order, the control with random weights after each model's own.
        running: those without the quarantined ones, unless the plan runs them.
        units: of the running ones, in the order checkpoint, task, control, template, shots, seed.
    """

    plan: SweepPlan
    checkpoints: tuple[Checkpoint, ...]
    running: tuple[Checkpoint, ...]
    units: tuple[WorkUnit, ...]

    @property
    def quarantined(self) -> list[Checkpoint]:
        """The checkpoints that are left out."""
        running = set(self.running)
        return [checkpoint for checkpoint in self.checkpoints if checkpoint not in running]

    @property
    def mechanisms(self) -> list[tuple[WorkUnit, tuple[Mechanism, ...]]]:
        """The units with the mechanisms to measure on them; those of checkpoints are on the first unit of each."""
        requested, seen = [], set[tuple[object, ...]]()
        for unit in self.units:
            weights = (unit.checkpoint, unit.control, unit.dtype)
            own = tuple(
                mechanism
                for mechanism in self.plan.measured
                if not (mechanism.is_of_checkpoint and weights in seen)
                and not (mechanism.needs_demonstrations and unit.n_shots == 0)
            )
            seen.add(weights)
            requested += [(unit, own)] if own else []
        return requested


def resolve_plan(plan: SweepPlan) -> ResolvedPlan:
    """Find everything a plan names.

    Raises:
        PlanError: an unknown grid, task or template, a missing step, or two entries for the same cell.
        CheckpointError: an unknown model, or a checkpoint that cannot be used.
    """
    checkpoints = find_all(plan)
    running = without_quarantined(plan, checkpoints)
    return ResolvedPlan(plan, tuple(checkpoints), tuple(running), tuple(expand(plan, running)))


def find_all(plan: SweepPlan) -> list[Checkpoint]:
    """All checkpoints of a plan, quarantined ones too; after each model's own, those with random weights."""
    seeds = plan.seeds_of_controls if RANDOM_INIT in plan.controls else ()
    by_model = [_find(model) for model in plan.models]
    return [c for own in by_model for c in (*own, *(random_init(first, seed) for first in own[:1] for seed in seeds))]


def without_quarantined(plan: SweepPlan, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints that run: not those in quarantine, unless their model has `quarantined = "run"`."""
    run_anyway = {model.name for model in plan.models if model.quarantined == "run"}
    return [c for c in checkpoints if QUARANTINED not in c.flags or c.model in run_anyway]


def expand(plan: SweepPlan, checkpoints: Sequence[Checkpoint]) -> list[WorkUnit]:
    """All units of these checkpoints, in the order checkpoint, task, control, template, shots, seed.

    Raises:
        PlanError: an unknown task or template, or two entries that mean the same cell.
    """
    tasks = [(entry, *_task_and_hash(plan, entry)) for entry in plan.tasks]
    units = [
        WorkUnit(
            checkpoint,
            task.name,
            task_hash,
            _template(plan, task, template, control, seed),
            seed,
            n_shots,
            entry.n_test,
            entry.n_train,
            plan.dtype,
            control,
        )
        for checkpoint in checkpoints
        for entry, task, task_hash in tasks
        for control in _controls(plan, checkpoint)
        for template in (task.templates if entry.templates == "all" else map(task.template, entry.templates))
        for n_shots in entry.n_shots
        for seed in entry.seeds
        if n_shots > 0 or not control.startswith(OF_DEMONSTRATIONS)
    ]
    by_cell = {unit.cell: unit for unit in units}
    if len(by_cell) < len(units):
        twice = next(unit for unit in units if by_cell[unit.cell] is not unit)
        raise PlanError(f"plan {plan.name} has {twice} twice; name each model, task, seed and number of shots once")
    return units


def _find(model: ModelPlan) -> list[Checkpoint]:
    return find_checkpoints(
        model.id,
        model.requested,
        model.folder,
        model.tokens_per_step,
        pattern=model.pattern,
        allow_pickle=model.allow_pickle,
        missing=model.missing,
        revision=model.revision,
        tokenizer=model.tokenizer,
        layout=model.layout,
        stage=model.stage,
        unverified=model.unverified,
    )


def _controls(plan: SweepPlan, checkpoint: Checkpoint) -> list[str]:
    """Values of the `control` column of a checkpoint's units; random weights are a control already."""
    if checkpoint.init_seed is not None:
        return [control_name(RANDOM_INIT, checkpoint.init_seed)]
    kinds = [kind for kind in (SHUFFLED_LABELS, *OF_DEMONSTRATIONS) if kind in plan.controls]
    return [NONE, *(control_name(kind, seed) for kind in kinds for seed in plan.seeds_of_controls)]


def _template(plan: SweepPlan, task: Task, template: Template, control: str, demo_seed: int) -> Template:
    """The template of a unit, with other label words under `abstract_labels`."""
    kind, _, seed = control.partition("-")
    if kind != ABSTRACT_LABELS:
        return template
    return abstract_template(task, template, plan.abstract_label_words, demo_seed, int(seed))


def _task_and_hash(plan: SweepPlan, entry: TaskPlan) -> tuple[Task, str]:
    """A task whose templates are known to exist, and the hash of its rows and label words."""
    task = plan.task_by_name[entry.name]
    for template in () if entry.templates == "all" else entry.templates:
        task.template(template)
    return task, plan.rows_of(entry.name).hash
