"""`python -m jobs.plan PLAN`: what a sweep would fetch, skip, need and write, before it does any of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from dynamics.checkpoints import Checkpoint
from dynamics.command_line import command, user_errors_exit_2
from dynamics.errors import CheckpointError, PlanError
from dynamics.forward.memory import BYTES_OF, MAX_TOKENS_CPU, ModelShape, batch_bytes, decomposition_bytes
from dynamics.hub import disk
from dynamics.hub.fetch import fetch_setup, is_cached
from dynamics.hub.listing import API_LIMIT, API_LIMIT_WITH_TOKEN, FILE_LIMIT, FILE_LIMIT_WITH_TOKEN, REQUESTS_PER_FILE
from dynamics.hub.names import settings
from dynamics.results.places import exists, place
from dynamics.results.store import ResultStore, open_store, read_units
from jobs.placement import weight_bytes
from jobs.plan import SweepPlan, read_plan
from jobs.prompting import missing_baselines
from jobs.timing import Calibration, calibrate
from jobs.units import CheckpointWork, WorkUnit, disk_bytes, expand, group, plan_checkpoints, to_run

WORKER_OVERHEAD = 700_000_000
"""Resident bytes of a worker with torch and transformers imported and no model."""
SHORT_PROMPT = 32
"""Tokens that a few-shot prompt surely has; it bounds how many examples a batch holds."""


@dataclass(frozen=True)
class CheckpointReport:
    """One checkpoint: where it is, what it costs to fetch, what is known to be wrong with it."""

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

    A batch is of the plan's token budget; where that is open, of a CPU's (a GPU's fills half of what is free).

    Without a config.json (a GGUF file) the components are not known before it is opened; they count 0 then.
    """

    model: str
    n_checkpoints: int
    n_components: int
    worker_bytes: int
    batch_bytes: int = 0
    decomposition_bytes: int = 0


@dataclass(frozen=True)
class Preflight:
    """What a sweep would do.

    Bytes throughout. `n_baselines` counts the (unit, setting) pairs of Standard and PromptS that are not done, each a
    pass over a unit's test rows; their checkpoints are fetched for them. `download_bytes` counts equal files once and
    leaves out what the cache has. `api_calls` are those a sweep makes from now on, the listings of commits being kept;
    `file_requests` is the most it makes. The limits are the Hub's, in 5 minutes.
    """

    plan: str
    checkpoints: tuple[CheckpointReport, ...]
    models: tuple[ModelReport, ...]
    n_units: int
    n_done: int
    n_baselines: int
    download_bytes: int
    peak_disk_bytes: int
    contributions_bytes: int
    predictions_bytes: int
    api_calls: int
    api_limit: int
    file_requests: int
    file_limit: int
    calibration: Calibration | None
    hours: float | None


def show_plan(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="TOML plan; see jobs/plans/")],
    out: Annotated[str | None, typer.Option(help="results folder or URI, to tell what is done already")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for scripts")] = False,
    calibrated: Annotated[bool, typer.Option("--calibrate", help="run one checkpoint to estimate hours")] = False,
    workers: Annotated[int, typer.Option(min=1, help="workers at once, for the estimate of hours")] = 1,
) -> None:
    """Say what a sweep of a plan would do and cost. No weights are downloaded, except with --calibrate.

    Exit code 0: the plan can run; 2: it cannot, and why.
    """
    with user_errors_exit_2():
        plan = read_plan(plan_file)
        store = open_store(out) if out is not None and exists(place(out)) else None
        found = preflight(plan, store, calibrated=calibrated, workers=workers)
    typer.echo(json.dumps(asdict(found), indent=1) if as_json else "\n".join(describe(found)))


def preflight(
    plan: SweepPlan, store: ResultStore | None = None, *, calibrated: bool = False, workers: int = 1
) -> Preflight:
    """Resolve everything a plan names, and add up what it costs.

    Raises:
        PlanError, CheckpointError: the plan cannot run as it is.
    """
    checkpoints = plan_checkpoints(plan)
    running = to_run(plan, checkpoints)
    units = expand(plan, running)
    done = set() if store is None else set(read_units(store).filter(status="done")["unit_id"])
    missing = [unit for unit in units if unit.unit_id not in done]
    owed = missing_baselines(store, units, plan.baselines)
    works = group(plan, missing, run="preflight", owed=owed)
    check_disk_budget(plan, works)
    needed = {work.checkpoint for work in works}
    cells = _cells(plan)
    models = tuple(_model(plan, model, running, cells) for model in dict.fromkeys(c.model for c in running))
    n_components = {model.model: model.n_components for model in models}
    n_repositories = len({c.model for c in checkpoints if c.remote})
    measured = calibrate(works[0], plan.dtype) if calibrated and works else None
    return Preflight(
        plan=plan.name,
        checkpoints=tuple(_checkpoint(c, runs=c in needed) for c in checkpoints),
        models=models,
        n_units=len(units),
        n_done=len(units) - len(missing),
        n_baselines=sum(len(baselines) for _, baselines in owed),
        download_bytes=sum(_to_fetch(needed).values()),
        peak_disk_bytes=peak_disk(plan, works),
        contributions_bytes=sum(_contributions(unit, n_components[unit.checkpoint.model], cells) for unit in missing),
        predictions_bytes=sum(_predictions(unit, n_components[unit.checkpoint.model], cells) for unit in missing),
        api_calls=n_repositories,
        api_limit=API_LIMIT_WITH_TOKEN if settings().token else API_LIMIT,
        file_requests=REQUESTS_PER_FILE * sum(len(c.remote.files) for c in needed if c.remote),
        file_limit=FILE_LIMIT_WITH_TOKEN if settings().token else FILE_LIMIT,
        calibration=measured,
        hours=None if measured is None else measured.hours(works, workers),
    )


def check_disk_budget(plan: SweepPlan, works: Sequence[CheckpointWork]) -> None:
    """Refuse a disk budget that the largest checkpoint, or with `keep` all of them, exceeds.

    Raises:
        PlanError: with both sizes.
    """
    budget = disk_bytes(plan)
    remote = [work.checkpoint.remote for work in works if work.checkpoint.remote]
    if budget is None or not remote:
        return
    largest = max(remote, key=lambda revision: revision.n_bytes)
    if largest.n_bytes > budget:
        raise PlanError(disk.too_small(largest, budget))
    total = sum({file.etag: file.size for revision in remote for file in revision.files}.values())
    if plan.hub.keep and total > budget:
        raise PlanError(
            f"[hub] keep = true would leave {total / 1e9:.3g} GB in the cache, disk_gb = {budget / 1e9:.3g}; "
            "raise disk_gb or leave keep out"
        )


def peak_disk(plan: SweepPlan, works: Sequence[CheckpointWork]) -> int:
    """Bytes one node's cache may hold at most: the largest run of checkpoints one worker has at once, or the budget."""
    sizes = [work.checkpoint.remote.n_bytes if work.checkpoint.remote else 0 for work in works]
    span = len(sizes) if plan.hub.keep else plan.hub.ahead + 1
    most = max((sum(sizes[i : i + span]) for i in range(len(sizes))), default=0)
    return min(most, disk_bytes(plan) or most)


def describe(found: Preflight) -> list[str]:
    """The report as lines."""
    wrong = [c for c in found.checkpoints if c.flags or c.notes]
    lines = [f"{found.plan}: {found.n_units} units, {found.n_done} already done"]
    if found.n_baselines:
        lines.append(f"  and {found.n_baselines} passes over units' test rows, for Standard and PromptS")
    for model in found.models:
        weights = sorted({c.weights for c in found.checkpoints if c.model == model.model})
        lines.append(
            f"  {model.model}: {model.n_checkpoints} checkpoints ({' and '.join(weights)}), {model.n_components} "
            f"components, about {model.worker_bytes / 1e9:.1f} GB of memory a worker, {model.batch_bytes / 1e9:.2f} "
            f"more for a batch, {model.decomposition_bytes / 1e9:.2f} more to split its logits"
        )
    lines += [f"    {c.revision} {c.commit_sha[:12]} {c.files_bytes / 1e9:.3f} GB" for c in found.checkpoints if c.runs]
    lines += [
        f"to download: {found.download_bytes / 1e9:.3f} GB; on disk at once: {found.peak_disk_bytes / 1e9:.3f} GB"
    ]
    lines += [
        f"requests of a sweep: {found.api_calls} API ({found.api_limit} allowed in 5 minutes), "
        f"up to {found.file_requests} of files ({found.file_limit} allowed in 5 minutes; waits are honoured)"
    ]
    lines += [
        f"results: contributions up to {found.contributions_bytes / 1e9:.3f} GB, predictions up to "
        f"{found.predictions_bytes / 1e9:.3f} GB, before compression"
    ]
    for c in wrong:
        state = f" [{', '.join(c.flags)}]" if c.flags else ""
        left = "" if c.runs or "quarantined" not in c.flags else "; left out"
        lines.append(f"  {c.model} {c.revision}{state}: {'; '.join(c.notes) or 'shares its weights'}{left}")
    if found.hours is not None and found.calibration is not None:
        lines.append(f"estimate: {found.hours:.2f} hours; {found.calibration.line()}")
    return lines


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
    """Content -> bytes of what the cache lacks; equal files of one repository are one."""
    at = settings()
    return {
        (c.remote.repo, file.etag): file.size
        for c in checkpoints
        if c.remote
        for file in c.remote.files
        if not is_cached(at.cache, c.remote, file)
    }


def _model(
    plan: SweepPlan, model: str, checkpoints: Sequence[Checkpoint], cells: Mapping[str, tuple[int, int, int]]
) -> ModelReport:
    """Sizes from the config of a model's first checkpoint."""
    mine = [c for c in checkpoints if c.model == model]
    if mine[0].weights == "gguf":
        unpacked = 8 * max(weight_bytes(c) for c in mine)  # 4-bit weights become float32
        return ModelReport(model, len(mine), 0, unpacked + WORKER_OVERHEAD)
    config = _config(mine[0])
    shape = ModelShape.of(config)
    file_bytes = 4 if config.get("dtype", config.get("torch_dtype")) == "float32" else 2
    n_parameters = max(weight_bytes(c) for c in mine) / file_bytes
    # while it is opened, the file's tensors and the model's may both be in memory
    worker = n_parameters * (BYTES_OF[plan.dtype] + file_bytes) + WORKER_OVERHEAD
    budget = MAX_TOKENS_CPU if plan.token_budget == "auto" else plan.token_budget
    n_examples = max(_n_examples(task.n_test, task.n_train, cells[task.name]) for task in plan.tasks)
    adds = decomposition_bytes(
        shape,
        plan.dtype,
        n_examples=n_examples,
        n_labels=max(cells[task.name][2] for task in plan.tasks),
        n_batch=min(n_examples, budget // SHORT_PROMPT),
    )
    return ModelReport(model, len(mine), shape.n_components, int(worker), batch_bytes(shape, plan.dtype, budget), adds)


def _config(checkpoint: Checkpoint) -> dict:
    folder = fetch_setup(checkpoint.remote) if checkpoint.remote else checkpoint.folder
    try:
        return json.loads(((folder or Path()) / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"config.json of {checkpoint.model}@{checkpoint.revision} cannot be read") from error


def _cells(plan: SweepPlan) -> dict[str, tuple[int, int, int]]:
    """Task -> rows of its test set and of its pool, and labels; each task's rows are loaded once."""
    tasks = plan.task_by_name
    rows = {name: tasks[name].load(plan.data_folder) for name in sorted(tasks)}
    return {name: (len(rows[name].test), len(rows[name].pool), tasks[name].n_labels) for name in rows}


def _predictions(unit: WorkUnit, n_components: int, cells: Mapping[str, tuple[int, int, int]]) -> int:
    """Bytes of a unit's predictions: one for each example and component."""
    return _n_examples(unit.n_test, unit.n_train, cells[unit.task]) * n_components


def _n_examples(n_test: int, n_train: int, cell: tuple[int, int, int]) -> int:
    """Examples of a unit: what was asked, as far as the task has it."""
    return min(n_test, cell[0]) + min(n_train, cell[1])


def _contributions(unit: WorkUnit, n_components: int, cells: Mapping[str, tuple[int, int, int]]) -> int:
    """Bytes of a unit's contributions: a float32 for each example, component and label."""
    return _predictions(unit, n_components, cells) * cells[unit.task][2] * 4


app = command(show_plan)
