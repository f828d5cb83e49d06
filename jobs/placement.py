"""Placement of checkpoints: their order, the resources that workers request, and whether nodes and disks suffice."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dynamics.checkpoint_files import weight_files
from dynamics.checkpoints import Checkpoint
from dynamics.errors import PlanError
from dynamics.hub import disk
from jobs.model_plan import Resources
from jobs.sweep_plan import HubPlan
from jobs.work import CheckpointWork

Node = Mapping[str, Any]
"""A node as `ray.nodes()` lists it: `NodeID`, `Alive`, `Resources`, `Labels`."""
_GPU_PROCESS_BYTES, _GPU_PROCESS_LONGEST = 16e9, 32
"""A process on a GPU ends after it has opened this many bytes of weights, or this many checkpoints."""


def weight_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of a checkpoint's weight files; random weights have none."""
    if checkpoint.init_seed is not None:
        return 0
    if checkpoint.remote:
        return sum(file.size for file in checkpoint.remote.weights)
    return sum(path.stat().st_size for path in weight_files(checkpoint.folder or Path(), checkpoint.weights))


def largest_first(works: Sequence[CheckpointWork]) -> list[CheckpointWork]:
    """The models in order of size, so that no long checkpoint is left for the end; a model's steps stay neighbours."""
    size: dict[str, int] = {}
    for work in works:
        model = work.checkpoint.model
        size[model] = max(size.get(model, 0), weight_bytes(work.checkpoint))
    return sorted(works, key=lambda work: -size[work.checkpoint.model])


def ray_options(work: CheckpointWork) -> dict[str, Any]:
    """Options of the Ray task that runs a checkpoint. Ray itself retries nothing: `jobs.attempts` limits retries."""
    requested = work.settings.resources
    options: dict[str, Any] = {"num_cpus": requested.num_cpus, "num_gpus": requested.num_gpus, "max_retries": 0}
    if requested.memory_gb is not None:
        options["memory"] = int(requested.memory_gb * 1e9)
    if requested.labels:
        options["label_selector"] = requested.labels
    return options | {"max_calls": _checkpoints_per_process(work)}


def _checkpoints_per_process(work: CheckpointWork) -> int:
    """0 for no limit. On GPUs a power of two by size: starting a process costs more than opening a small checkpoint."""
    requested = work.settings.resources
    if requested.checkpoints_per_process is not None or not requested.num_gpus:
        return requested.checkpoints_per_process or 0
    n_checkpoints = _GPU_PROCESS_BYTES / max(1, weight_bytes(work.checkpoint))
    return 1 << max(0, int(min(n_checkpoints, _GPU_PROCESS_LONGEST)).bit_length() - 1)


def n_workers(node: Node, requested: Resources) -> int:
    """How many workers with these resources a node can run at once."""
    if not node["Alive"] or not all(matches(node.get("Labels", {}).get(k), v) for k, v in requested.labels.items()):
        return 0
    return int(min(node["Resources"].get(name, 0) // amount for name, amount in _amounts(requested).items()))


def matches(value: str | None, wanted: str) -> bool:
    """Whether a node's label meets `value`, `!value`, `in(a, b)` or `!in(a, b)`."""
    negated, body = wanted.startswith("!"), wanted.removeprefix("!")
    several = re.fullmatch(r"in\((.*)\)", body)
    allowed = {part.strip() for part in several[1].split(",")} if several else {body}
    return (value in allowed) != negated


def check_feasible(works: Sequence[CheckpointWork], nodes: Sequence[Node]) -> None:
    """Check that some node has the resources of each worker: Ray would wait for ever without an error.

    Raises:
        PlanError: with what is requested and what the cluster has.
    """
    for requested in {r.model_dump_json(): r for r in (work.settings.resources for work in works)}.values():
        if not requested.autoscaled and not any(n_workers(node, requested) for node in nodes):
            raise PlanError(
                f"a worker requests {_in_words(_amounts(requested), requested.labels)} of one node, and no node has "
                f"that; the cluster has {_cluster(nodes)}. Lower [resources], or add nodes (autoscaled = true waits "
                "for the cluster to start nodes)"
            )


def check_disk_budget(hub: HubPlan, checkpoints: Sequence[Checkpoint]) -> None:
    """Check that the largest checkpoint, or with `keep` all of them, fit into the disk budget.

    Raises:
        PlanError: with both sizes.
    """
    budget = hub.disk_bytes
    remote = [checkpoint.remote for checkpoint in checkpoints if checkpoint.remote]
    if budget is None or not remote:
        return
    largest = max(remote, key=lambda revision: revision.n_bytes)
    if largest.n_bytes > budget:
        raise PlanError(disk.too_small(largest, budget))
    total = sum({file.etag: file.size for revision in remote for file in revision.files}.values())
    if hub.keep and total > budget:
        raise PlanError(
            f"[hub] keep = true would leave {total / 1e9:.3g} GB in the cache, disk_gb = {budget / 1e9:.3g}; "
            "raise disk_gb or leave keep out"
        )


def _amounts(requested: Resources) -> dict[str, float]:
    amounts = {"CPU": requested.num_cpus, "GPU": requested.num_gpus, "memory": (requested.memory_gb or 0) * 1e9}
    return {name: amount for name, amount in amounts.items() if amount}


def _in_words(resources: Mapping[str, float], labels: Mapping[str, str]) -> str:
    amounts = [f"{resources[name]:g} {name}" for name in ("CPU", "GPU") if resources.get(name)]
    amounts += [f"{resources['memory'] / 1e9:.3g} GB"] if resources.get("memory") else []
    return ", ".join(amounts + [f"{key}={value}" for key, value in sorted(labels.items())])


def _cluster(nodes: Sequence[Node], shown: int = 4) -> str:
    kinds = Counter(
        _in_words({**node["Resources"], "GPU": node["Resources"].get("GPU", 0)}, _own_labels(node)) or "nothing"
        for node in nodes
        if node["Alive"]
    )
    several = [f"{count} x ({kind})" for kind, count in kinds.most_common()]
    return ", ".join(several[:shown]) + (" ..." if len(several) > shown else "")


def _own_labels(node: Node) -> dict[str, str]:
    return {key: value for key, value in node.get("Labels", {}).items() if key != "ray.io/node-id"}
