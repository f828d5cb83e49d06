"""The work of a sweep as data: units, the checkpoint they run on, and how they run. Nothing here opens a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from dynamics.checkpoints import Checkpoint
from dynamics.controls import NONE
from dynamics.errors import UserError
from dynamics.identity import METHOD_VERSION, identity_hash
from dynamics.mechanisms.settings import Mechanism
from dynamics.methods.baselines import PromptingBaseline
from dynamics.methods.fits import Fit
from dynamics.partition import PARTITION_SEED
from dynamics.tasks import Task, Template
from jobs.model_plan import Resources


@dataclass(frozen=True)
class WorkUnit:
    """One cell of a plan's grid: a checkpoint answering one prompt set."""

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
        """The values by which readers tell units apart (`dynamics.results.store.CELL`): no two may share them."""
        c = self.checkpoint
        return (c.model, c.step, self.dtype, self.control, self.task, self.template.name, self.demo_seed, self.n_shots)

    @cached_property
    def unit_id(self) -> str:
        """Hash (16 hex) of everything known before the model is opened that decides the unit's numbers."""
        c = self.checkpoint
        return identity_hash(
            {
                "cell": self.cell,
                "content_hash": c.content_hash,
                "setup_hash": c.setup_hash,
                "task_hash": self.task_hash,
                "template": self.template,
                "n_test": self.n_test,
                "n_train": self.n_train,
                "partition_seed": PARTITION_SEED,
                "method_version": METHOD_VERSION,
                **c.named_tokenizer,
            }
        )

    def task_of(self, task: Task) -> Task:
        """The task with this unit's template, whose label words a control may have replaced."""
        templates = (self.template if other.name == self.template.name else other for other in task.templates)
        return replace(task, templates=tuple(templates))

    def __str__(self) -> str:
        control = "" if self.control in (NONE, self.checkpoint.revision) else f" {self.control}"
        return f"{self.checkpoint}{control} {self.task}/{self.template.name} seed {self.demo_seed} {self.n_shots}-shot"


MissingBaselines = tuple[WorkUnit, tuple[PromptingBaseline, ...]]
"""A unit, and the baselines that its results lack."""


MissingMechanisms = tuple[WorkUnit, tuple[Mechanism, ...]]
"""A unit, and the mechanisms that its results lack."""


@dataclass(frozen=True)
class CacheSettings:
    """A sweep's share of a node's Hub cache.

    Attributes:
        run: identifies the sweep among those that use the same cache.
        disk_bytes: budget; None for all free space.
        keep: whether fetched files stay in the cache.
        least_rate: bytes a second; a slower download fails.
    """

    run: str = ""
    disk_bytes: int | None = None
    keep: bool = False
    least_rate: float = 10_000


@dataclass(frozen=True)
class RunSettings:
    """How all units of a model run.

    Attributes:
        device: as in the plan; `auto` is resolved by the worker.
        token_budget: padded tokens per batch; None to fit free memory.
        tasks: by name.
        data: folder of the datasets; None for the Hub.
        fits: what is fitted to every unit.
        encoder: folder of the sentence encoder; None where the checkpoint embeds.
        cache: of checkpoints of the Hub.
        resources: requested from a node.
    """

    device: str
    token_budget: int | None
    tasks: Mapping[str, Task]
    data: Path | None = None
    fits: tuple[Fit, ...] = ()
    encoder: Path | None = None
    cache: CacheSettings = field(default_factory=CacheSettings)
    resources: Resources = field(default_factory=Resources)

    @property
    def n_threads(self) -> int:
        """Threads of a worker."""
        return max(1, int(self.resources.num_cpus))


@dataclass(frozen=True)
class RetryState:
    """Attempts so far.

    Attributes:
        attempt: number of this attempt at the checkpoint in this sweep, from 1.
        earlier_runs: unit_id -> how often it ran before, in all sweeps; units that never ran are left out.
    """

    attempt: int = 1
    earlier_runs: Mapping[str, int] = field(default_factory=dict)

    def runs(self, unit: WorkUnit) -> int:
        """How often a unit ran, this attempt included."""
        return self.earlier_runs.get(unit.unit_id, 0) + 1


@dataclass(frozen=True)
class CheckpointWork:
    """The units of one checkpoint that one worker runs, having opened the checkpoint once.

    Attributes:
        checkpoint: on disk, or on the Hub and fetched first.
        units: those without results.
        baselines: those to run, of units with or without results.
        mechanisms: those to measure, of units with or without results.
        settings: how they run.
        retries: attempts so far.
        fetch_error: why its files could not be fetched; None where they were, or need not be.
    """

    checkpoint: Checkpoint
    units: tuple[WorkUnit, ...]
    settings: RunSettings
    baselines: tuple[MissingBaselines, ...] = ()
    mechanisms: tuple[MissingMechanisms, ...] = ()
    retries: RetryState = field(default_factory=RetryState)
    fetch_error: UserError | None = None

    @property
    def all_units(self) -> tuple[WorkUnit, ...]:
        """Every unit for which something is computed."""
        return tuple(dict.fromkeys((*self.units, *(unit for unit, _ in (*self.baselines, *self.mechanisms)))))

    def only(self, unit_ids: set[str]) -> "CheckpointWork":
        """The same work on some of its units."""
        return replace(
            self,
            units=tuple(unit for unit in self.units if unit.unit_id in unit_ids),
            baselines=tuple((unit, missing) for unit, missing in self.baselines if unit.unit_id in unit_ids),
            mechanisms=tuple((unit, missing) for unit, missing in self.mechanisms if unit.unit_id in unit_ids),
        )
