"""What a sweep would do and cost: checkpoints, downloads, disk, memory and results, from listings and configs alone."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dynamics.checkpoints import Checkpoint
from dynamics.errors import CheckpointError, PlanError, Unreachable, UnsupportedModel
from dynamics.folder_checks import check_folder, read_json
from dynamics.forward.memory import BYTES_OF, MAX_TOKENS_CPU, ModelShape, batch_bytes, decomposition_bytes
from dynamics.hub.fetch import fetch_setup, is_cached
from dynamics.hub.listing import API_LIMIT, API_LIMIT_WITH_TOKEN, FILE_LIMIT, FILE_LIMIT_WITH_TOKEN, REQUESTS_PER_FILE
from dynamics.hub.settings import settings
from dynamics.results.store import ResultStore
from dynamics.tracking import check_installed
from jobs.fetching import check_its_tokenizer, check_setup
from jobs.missing import find_missing, work_by_checkpoint
from jobs.placement import check_disk_budget, weight_bytes
from jobs.resolving import ResolvedPlan
from jobs.sweep_plan import SweepPlan
from jobs.timing import Timing, measure
from jobs.work import CheckpointWork, WorkUnit

WORKER_OVERHEAD = 700_000_000
"""Resident bytes of a worker with torch and transformers imported and no model."""
SHORT_PROMPT = 32
"""Tokens that every few-shot prompt has; bounds how many examples a batch holds."""


@dataclass(frozen=True)
class CheckpointReport:
    """One checkpoint: its source, the bytes to fetch, and what is known to be wrong with it."""

    model: str
    revision: str
    step: int
    tokens_seen: int | None
    commit_sha: str
    weights: str
    files_bytes: int
    download_bytes: int
    flags: tuple[str, ...]
    notes: tuple[str, ...]
    runs: bool


@dataclass(frozen=True)
class ModelReport:
    """One model: its size, and the memory of a worker: with a checkpoint open, for a batch, and for splitting it.

    A batch has the plan's token budget; with `auto`, that of a CPU (on a GPU a batch fills half of the free memory).
    Without a config.json (a GGUF file) `n_components` and `n_heads` are 0: not known before the file is opened.
    """

    model: str
    n_checkpoints: int
    n_components: int
    n_heads: int
    worker_bytes: int
    batch_bytes: int = 0
    decomposition_bytes: int = 0


@dataclass(frozen=True)
class Preflight:
    """What a sweep would do.

    `n_baselines` counts the (unit, setting) pairs of Standard and PromptS that are not done, each a pass over a unit's
    test rows; `n_prior_prompts` the prompts of label-free calibrations that are not done, a few for each unit;
    `n_mechanism_passes` the most passes over a unit's prompts for mechanisms that are not done, with one for each unit
    that decomposes it (again), and `n_function_vector_passes` those over a few prompts.
    `download_bytes` counts equal files once and leaves out what the cache has. `api_calls` are those that a
    sweep makes from now on, since listings of commits are kept; `file_requests` is an upper bound. The limits are the
    Hub's, in 5 minutes. `units_per_checkpoint` is None where checkpoints have different numbers of units.
    """

    plan: str
    checkpoints: tuple[CheckpointReport, ...]
    models: tuple[ModelReport, ...]
    n_units: int
    n_done: int
    n_baselines: int
    n_prior_prompts: int
    n_mechanism_passes: int
    n_function_vector_passes: int
    download_bytes: int
    peak_disk_bytes: int
    contributions_bytes: int
    predictions_bytes: int
    api_calls: int
    api_limit: int
    file_requests: int
    file_limit: int
    timing: Timing | None
    hours: float | None
    notes: tuple[str, ...] = ()
    units_per_checkpoint: int | None = None


@dataclass(frozen=True)
class TaskSize:
    """Rows of a task's test set and of its pool, and its labels."""

    n_test: int
    n_pool: int
    n_labels: int

    def n_examples(self, n_test: int, n_train: int) -> int:
        """Examples of a unit: those requested, as far as the task has them."""
        return min(n_test, self.n_test) + min(n_train, self.n_pool)


def preflight(
    resolved: ResolvedPlan, store: ResultStore | None = None, *, timed: bool = False, workers: int = 1
) -> Preflight:
    """Add up what a plan costs that a store does not hold yet.

    Raises:
        PlanError, CheckpointError: the plan cannot run as it is.
    """
    plan = resolved.plan
    check_installed(plan.log)
    missing = find_missing(resolved, store)
    works = work_by_checkpoint(plan, missing, run="preflight")
    check_files([work.checkpoint for work in works])
    check_device(plan, works)
    check_disk_budget(plan.hub, [work.checkpoint for work in works])
    needed = {work.checkpoint for work in works}
    sizes = _task_sizes(plan)
    models = tuple(_model(plan, m, resolved.running, sizes) for m in dict.fromkeys(c.model for c in resolved.running))
    n_components = {model.model: model.n_components for model in models}
    n_heads = {model.model: model.n_heads for model in models}
    timing = measure(works, plan.dtype) if timed else None
    has_token = bool(settings().token)
    baselines = [baseline for _, of_unit in missing.baselines for baseline in of_unit]
    n_predictions = {unit: _n_predictions(unit, n_components, sizes) for unit in missing.units}
    return Preflight(
        plan=plan.name,
        checkpoints=tuple(_checkpoint(c, runs=c in needed) for c in resolved.checkpoints),
        models=models,
        n_units=len(resolved.units),
        n_done=len(resolved.units) - len(missing.units),
        n_baselines=sum(not baseline.is_label_free for baseline in baselines),
        n_prior_prompts=sum(baseline.n_prior_prompts for baseline in baselines),
        n_mechanism_passes=sum(
            1 + sum(mechanism.n_passes(unit.n_train) for mechanism in of_unit) for unit, of_unit in missing.mechanisms
        ),
        n_function_vector_passes=sum(
            mechanism.n_short_passes(n_heads[unit.checkpoint.model])
            for unit, of_unit in missing.mechanisms
            for mechanism in of_unit
        ),
        download_bytes=sum(_to_fetch(needed).values()),
        peak_disk_bytes=peak_disk(plan, works),
        contributions_bytes=sum(n * sizes[unit.task].n_labels * 4 for unit, n in n_predictions.items()),
        predictions_bytes=sum(n_predictions.values()),
        api_calls=len({c.model for c in resolved.checkpoints if c.remote}),
        api_limit=API_LIMIT_WITH_TOKEN if has_token else API_LIMIT,
        file_requests=REQUESTS_PER_FILE * sum(len(c.remote.files) for c in needed if c.remote),
        file_limit=FILE_LIMIT_WITH_TOKEN if has_token else FILE_LIMIT,
        timing=timing,
        hours=None if timing is None else timing.hours(works, workers),
        notes=plan.row_notes,
        units_per_checkpoint=_units_per_checkpoint(resolved.units),
    )


def _units_per_checkpoint(units: Sequence[WorkUnit]) -> int | None:
    """The number of units of every checkpoint; None where they differ, or there are none."""
    counts = set(Counter(unit.checkpoint for unit in units).values())
    return counts.pop() if len(counts) == 1 else None


def check_files(checkpoints: Sequence[Checkpoint]) -> None:
    """Check what can be known of checkpoints before their weights are opened, as a sweep does; of a model on the Hub,
    its config and tokenizer, which are fetched once for all revisions that share them.

    Raises:
        CheckpointError, UnsupportedModel: a checkpoint cannot be opened; names the first, and counts the others.
    """
    faults: list[CheckpointError | UnsupportedModel] = []
    checked: set[tuple[str, str]] = set()
    for checkpoint in checkpoints:
        setup = (checkpoint.model, checkpoint.setup_hash)
        if checkpoint.remote is not None and setup in checked:
            continue
        checked.add(setup)
        try:
            _check_files(checkpoint)
        except Unreachable:
            raise
        except (CheckpointError, UnsupportedModel) as error:
            faults.append(type(error)(f"{checkpoint}: {error}"))
    if faults:
        more = f" (and {len(faults) - 1} more such checkpoints)" if len(faults) > 1 else ""
        raise type(faults[0])(f"{faults[0]}{more}")


def _check_files(checkpoint: Checkpoint) -> None:
    if checkpoint.remote is not None:
        check_setup(checkpoint, fetch_setup(checkpoint.remote))
    else:
        folder = checkpoint.folder or Path()
        check_folder(folder, checkpoint.weights, initialised=checkpoint.init_seed is not None)
        check_its_tokenizer(checkpoint, folder)


def check_device(plan: SweepPlan, works: Sequence[CheckpointWork]) -> None:
    """Check that `device = "cuda"` can be had: of workers that request a GPU from Ray, or else on this machine.

    Raises:
        PlanError: no worker requests a GPU, and this machine has none that torch can use.
    """
    if not plan.device.startswith("cuda") or any(work.settings.resources.num_gpus for work in works):
        return
    import torch  # here, since importing it takes seconds and few plans ask for CUDA without requesting a GPU

    if works and not torch.cuda.is_available():
        raise PlanError(
            f"device = {plan.device!r}, but no worker requests a GPU and torch finds no CUDA on this machine; add "
            'num_gpus = 1 to [resources] for a cluster that has some, or set device = "auto" or "cpu"'
        )


def peak_disk(plan: SweepPlan, works: Sequence[CheckpointWork]) -> int:
    """Bytes that one node's cache may hold: the largest window of checkpoints of one worker, or the budget."""
    sizes = [work.checkpoint.remote.n_bytes if work.checkpoint.remote else 0 for work in works]
    window = len(sizes) if plan.hub.keep else plan.hub.ahead + 1
    peak = max((sum(sizes[i : i + window]) for i in range(len(sizes))), default=0)
    return min(peak, plan.hub.disk_bytes or peak)


def _checkpoint(checkpoint: Checkpoint, *, runs: bool) -> CheckpointReport:
    return CheckpointReport(
        model=checkpoint.model,
        revision=checkpoint.revision,
        step=checkpoint.step,
        tokens_seen=checkpoint.tokens_seen,
        commit_sha=checkpoint.commit_sha,
        weights=checkpoint.weights,
        files_bytes=weight_bytes(checkpoint),
        download_bytes=sum(_to_fetch([checkpoint]).values()) if runs else 0,
        flags=checkpoint.flags,
        notes=checkpoint.notes,
        runs=runs,
    )


def _to_fetch(checkpoints: Iterable[Checkpoint]) -> dict[tuple[str, str], int]:
    """Content -> bytes of the files that the cache lacks; equal files of one repository count once."""
    cache = settings().cache
    return {
        (c.remote.repo, file.etag): file.size
        for c in checkpoints
        if c.remote
        for file in c.remote.files
        if not is_cached(cache, c.remote, file)
    }


def _model(
    plan: SweepPlan, model: str, checkpoints: Sequence[Checkpoint], sizes: Mapping[str, TaskSize]
) -> ModelReport:
    """Sizes from the config of a model's first checkpoint."""
    of_model = [c for c in checkpoints if c.model == model]
    largest = max(weight_bytes(c) for c in of_model)
    if of_model[0].weights == "gguf":
        unpacked = 8 * largest  # 4-bit weights become float32
        return ModelReport(model, len(of_model), 0, 0, unpacked + WORKER_OVERHEAD)
    first = of_model[0]
    folder = fetch_setup(first.remote) if first.remote else first.folder
    config = read_json(folder or Path(), "config.json")
    shape = ModelShape.of(config)
    file_bytes = 4 if config.get("dtype", config.get("torch_dtype")) == "float32" else 2
    # while a checkpoint is opened, both the file's tensors and the model's may be in memory
    worker = largest / file_bytes * (BYTES_OF[plan.dtype] + file_bytes) + WORKER_OVERHEAD
    budget = MAX_TOKENS_CPU if plan.token_budget == "auto" else plan.token_budget
    n_examples = max(sizes[task.name].n_examples(task.n_test, task.n_train) for task in plan.tasks)
    added = decomposition_bytes(
        shape,
        plan.dtype,
        n_examples=n_examples,
        n_labels=max(sizes[task.name].n_labels for task in plan.tasks),
        n_batch=min(n_examples, budget // SHORT_PROMPT),
    )
    batch = batch_bytes(shape, plan.dtype, budget)
    n_heads = shape.n_layers * shape.n_heads
    return ModelReport(model, len(of_model), shape.n_components, n_heads, int(worker), batch, added)


def _task_sizes(plan: SweepPlan) -> dict[str, TaskSize]:
    """The sizes of each task, whose rows are loaded once."""
    tasks = plan.task_by_name
    rows = {name: tasks[name].load(plan.data_folder) for name in sorted(tasks)}
    return {name: TaskSize(len(rows[name].test), len(rows[name].pool), tasks[name].n_labels) for name in rows}


def _n_predictions(unit: WorkUnit, n_components: Mapping[str, int], sizes: Mapping[str, TaskSize]) -> int:
    """Predictions of a unit, of a byte each: one for each example and component."""
    return sizes[unit.task].n_examples(unit.n_test, unit.n_train) * n_components[unit.checkpoint.model]
