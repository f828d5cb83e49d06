"""SweepPlan: the grid of a sweep as TOML, validated, with the meaning of every key."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, ValidationError

from dynamics.errors import PlanError, unknown
from dynamics.mechanisms.settings import ABLATION, Mechanism
from dynamics.methods.baselines import CHECKPOINT, PROMPT_SELECTION, STANDARD, PromptingBaseline, encoder_hash
from dynamics.methods.label_free import LABEL_FREE
from dynamics.reference import suite
from dynamics.tasks import Task, fingerprint, get_task
from dynamics.tasks.sources import pinned, repositories
from jobs.fit_plan import FitPlan
from jobs.model_plan import ModelPlan, Resources
from jobs.overrides import overridden
from jobs.plan_values import Count, LocalPath, Seed, Strict, from_plan
from jobs.shipped_plans import plan_path
from jobs.task_plan import CustomTask, CustomTemplate, TaskPlan


class AblationPlan(Strict):
    """How `mechanisms = ["ablation"]` ablates: k of the best and of the worst components, by their mean or by zero."""

    k: Annotated[int, Field(ge=1)] = 5
    replacement: Literal["mean", "zero"] = "mean"


class Limits(Strict):
    """How many failures and retries a sweep allows.

    Attributes:
        attempts: runs of a unit in one sweep, where its worker or node died, memory ran out or the network failed.
        failed: share of units that may fail before the sweep stops.
        after: units that must have ended before that share is tested.
    """

    attempts: Annotated[int, Field(ge=1)] = 3
    failed: Annotated[float, Field(ge=0, le=1)] = 0.5
    after: Annotated[int, Field(ge=1)] = 200


class HubPlan(Strict):
    """Disk space of checkpoints of the Hub, on each node.

    Attributes:
        disk_gb: files that sweeps hold in the cache at once, in 10^9 bytes; None for all free space.
        ahead: checkpoints fetched while others compute, if they fit.
        keep: whether fetched files stay in the cache.
        least_kb_s: a download that is slower for a minute fails, in 10^3 bytes a second; 0 for none.
    """

    disk_gb: Annotated[float, Field(gt=0)] | None = None
    ahead: Count = 2
    keep: bool = False
    least_kb_s: Annotated[float, Field(ge=0)] = 10

    @property
    def disk_bytes(self) -> int | None:
        """`disk_gb` in bytes."""
        return None if self.disk_gb is None else int(self.disk_gb * 1e9)


@dataclass(frozen=True)
class RowsSummary:
    """The hash of a task's rows and label words, and notes on them: what a plan keeps when it has read them."""

    hash: str
    notes: tuple[str, ...]


class SweepPlan(Strict):
    """The grid of a sweep: models x steps x tasks x templates x demonstration seeds x numbers of shots."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    models: Annotated[tuple[ModelPlan, ...], Field(min_length=1)]
    tasks: Annotated[tuple[TaskPlan, ...], Field(min_length=1)]
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    token_budget: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Padded tokens per batch; `auto` fits them to free memory. Changes speed and memory, not results."""
    resources: Resources = Resources()
    limits: Limits = Limits()
    hub: HubPlan = HubPlan()
    fits: FitPlan = FitPlan()
    prompting_baselines: bool = False
    """Whether Standard and PromptS run too, with the K of `fits`."""
    label_free_calibration: bool = False
    """Whether contextual and domain-context calibration run too: a few prompts without content for each unit."""
    mechanisms: tuple[Literal["sequences", "copying", "label_attention", "ablation", "function_vectors"], ...] = ()
    """Mechanisms measured beside the decomposition; `dynamics.mechanisms` explains them."""
    ablation: AblationPlan = AblationPlan()
    controls: tuple[Literal["random_init", "shuffled_labels", "permuted_demonstrations", "abstract_labels"], ...] = ()
    """Controls run beside the checkpoints; `dynamics.controls` explains them."""
    control_seeds: Annotated[int, Field(ge=1, le=1000)] | Annotated[tuple[Seed, ...], Field(min_length=1)] = 1
    """Seeds of every control; 10 means seeds 0 to 9."""
    abstract_label_words: tuple[Annotated[str, Field(min_length=1)], ...] = ("A", "B", "C", "D", "E", "F", "G", "H")
    """Words without a meaning for the tasks, of which `abstract_labels` draws."""
    encoder: LocalPath | None = None
    """Folder of a sentence encoder that finds PromptS's nearest examples, instead of the checkpoint itself."""
    data: LocalPath | None = None
    """Folder that holds the datasets' files, for clusters without network."""
    revisions: dict[str, str] = Field(default_factory=dict)
    """Dataset repository -> the commit to read it at."""
    define: tuple[CustomTask, ...] = ()
    log: Literal["wandb", "mlflow"] | None = None
    """Where a sweep logs its progress and curves too, beside its own results."""
    _folder: Path = PrivateAttr(Path())
    """The plan's folder: paths in it are relative to it. Set by `read_plan`."""
    _text: str = PrivateAttr("")
    _rows: dict[str, RowsSummary] = PrivateAttr(default_factory=dict)
    """Of the tasks whose rows were read, by name."""

    @property
    def text(self) -> str:
        """The TOML it was read from, with what the command line overrides."""
        return self._text

    @cached_property
    def task_by_name(self) -> dict[str, Task]:
        """The tasks of the plan, registered or defined in it, with their repositories at the pinned revisions.

        Raises:
            PlanError: an unknown task, a faulty definition, or a revision of a repository that no task reads.
        """
        defined = {task.name: task.task(self._folder) for task in self.define}
        tasks = {entry.name: pinned(get_task(entry.name, defined), self.revisions) for entry in self.tasks}
        repositories_read = sorted({repo for task in tasks.values() for repo in repositories(task)})
        for repo in self.revisions:
            if repo not in repositories_read:
                raise PlanError(unknown("repository in `revisions`:", repo, repositories_read))
        return tasks

    def rows_of(self, task: str) -> RowsSummary:
        """A summary of a task's rows, which are read once.

        Raises:
            PlanError: they cannot be read, or are not what the task means.
        """
        if task not in self._rows:
            rows = self.task_by_name[task].load(self.data_folder)
            self._rows[task] = RowsSummary(fingerprint(self.task_by_name[task], rows), rows.notes)
        return self._rows[task]

    @property
    def row_notes(self) -> tuple[str, ...]:
        """What the user should look at in the tasks' rows before a sweep."""
        return tuple(f"task {entry.name}: {note}" for entry in self.tasks for note in self.rows_of(entry.name).notes)

    def resources_of(self, model: str) -> Resources:
        """Resources that a worker of a model requests from a node."""
        by_model = {entry.name: entry.resources for entry in self.models}
        return by_model.get(model) or self.resources

    @property
    def seeds_of_controls(self) -> tuple[int, ...]:
        """`control_seeds` as a tuple."""
        return tuple(range(self.control_seeds)) if isinstance(self.control_seeds, int) else self.control_seeds

    @property
    def encoder_folder(self) -> Path | None:
        """`encoder`, relative to the plan's folder."""
        return from_plan(self._folder, self.encoder, "encoder")

    @property
    def data_folder(self) -> Path | None:
        """`data`, relative to the plan's folder."""
        return from_plan(self._folder, self.data, "data")

    @cached_property
    def baselines(self) -> tuple[PromptingBaseline, ...]:
        """Every baseline of every unit that runs prompts of its own: those that the plan turns on.

        Raises:
            CheckpointError: the encoder's folder holds no weights or no tokenizer.
        """
        label_free = tuple(PromptingBaseline(method, 0) for method in LABEL_FREE if self.label_free_calibration)
        return (*self._with_labels, *label_free)

    @property
    def measured(self) -> tuple[Mechanism, ...]:
        """The mechanisms with their settings."""
        return tuple(
            Mechanism(name, self.ablation.k, self.ablation.replacement) if name == ABLATION else Mechanism(name)
            for name in dict.fromkeys(self.mechanisms)
        )

    @property
    def _with_labels(self) -> tuple[PromptingBaseline, ...]:
        if not self.prompting_baselines:
            return ()
        embedder = (CHECKPOINT, "") if self.encoder_folder is None else _encoder_variant(self.encoder_folder)
        by_k = [
            (PromptingBaseline(STANDARD, k), PromptingBaseline(PROMPT_SELECTION, k, *embedder))
            for k in self.fits.n_labelled
        ]
        return tuple(baseline for pair in by_k for baseline in pair)


def _encoder_variant(folder: Path) -> tuple[str, str]:
    """Variant and hash of an encoder; the variant ends in some of the hash, since folders may share a name."""
    content_hash = encoder_hash(folder)
    return f"{folder.name}-{content_hash[:8]}", content_hash


def read_plan(path: Path, overrides: Sequence[str] = ()) -> SweepPlan:
    """Read and validate a plan.

    Args:
        path: its file, or the name of a shipped plan.
        overrides: `KEY=VALUE` each, in place of the file's values; see `jobs.overrides`.

    Raises:
        PlanError: no such file, not TOML, a key or value that is not allowed, an unknown task or template, or a
            model's folder that is not in the plan's folder but in the working directory.
        CheckpointError: a model without a folder that is neither embedded nor named as on the Hub.
    """
    file = plan_path(path)
    name = " --set ".join([f"{file} with" if overrides else str(file), *overrides])
    try:
        text = overridden(file.read_text(encoding="utf-8"), overrides)
    except UnicodeDecodeError as error:
        raise PlanError(f"{file} is not valid TOML: {error}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{file} is not valid TOML: {error}") from error
    plan = parse_plan(text, name)
    plan = plan.model_copy(update={"models": tuple(_placed(file.parent, model) for model in plan.models)})
    plan._folder, plan._text = file.parent, text
    for model in plan.models:
        if model.folder is None and "/" not in model.id:
            suite.check_embedded(model.id)
    for entry in plan.tasks:
        task = plan.task_by_name[entry.name]
        for template in () if entry.templates == "all" else entry.templates:
            task.template(template)
    return plan


def _placed(folder: Path, model: ModelPlan) -> ModelPlan:
    """A model of a plan in this folder, from which its paths count."""
    paths = {"folder": model.folder} | ({"tokenizer": model.tokenizer} if isinstance(model.tokenizer, Path) else {})
    return model.model_copy(update={key: from_plan(folder, path, key) for key, path in paths.items()})


def parse_plan(text: str, name: str) -> SweepPlan:
    """Validate a plan's text; `name` is what messages call it.

    Raises:
        PlanError: not TOML, or a key or value that is not allowed.
    """
    try:
        return SweepPlan.model_validate(tomllib.loads(text.removeprefix("\ufeff")))
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{name} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise PlanError(f"{name}: {_first_problem(error)}") from error


_ALLOWED = {
    "steps": "'all' or another named grid, a list as [0, 512], or { from = 0, to = 1000, every = 100 }",
    "tokens": "a list as [1e9, 1e10], or { from = 0, to = 1e11, every = 1e10 }",
}
"""What these keys of a model may be."""


def _first_problem(error: ValidationError) -> str:
    """The first validation error as one line.

    Unknown keys come first, with the nearest allowed one, since they may be typos; then what our own validators say,
    since a value that may be of several kinds does not fit the other kinds either.
    """
    problems = error.errors()
    unknown_keys = [p for p in problems if p["type"] == "extra_forbidden" and len(p["loc"]) <= 3]
    first = [*unknown_keys, *(p for p in problems if p["type"] == "value_error"), *problems][0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and where.count(".") < 3:
        return unknown("key", first["loc"][-1], _allowed_keys(first["loc"][:-1])) + f" (at {where})"
    key = ".".join(where.split(".")[:3])
    if (allowed := _ALLOWED.get(key.rpartition(".")[2])) is not None:
        where = key
        if first["type"] != "value_error":
            given = "" if first["type"] == "missing" else f" = {first['input']!r}"
            return f"{key}{given}: give {allowed}"
    if first["type"] == "missing":
        return f"{where} is missing"
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason.replace("a valid tuple", "a list, as [1, 2]").replace("a valid dictionary", "a table")
    return f"{where} = {first['input']!r}: {reason}"


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    tables = {
        "models": ModelPlan,
        "tasks": TaskPlan,
        "resources": Resources,
        "limits": Limits,
        "hub": HubPlan,
        "fits": FitPlan,
        "define": CustomTask,
    }
    if "templates" in location:
        return list(CustomTemplate.model_fields)
    return list(tables[str(location[0])].model_fields if location else SweepPlan.model_fields)
