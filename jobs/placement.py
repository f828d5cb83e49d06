"""Which checkpoint goes first, what its worker asks of a node, and which nodes can give it; no Ray."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dynamics.checkpoints import Checkpoint
from dynamics.errors import PlanError
from jobs.plan import Resources
from jobs.units import CheckpointWork

Node = Mapping[str, Any]
"""A node as `ray.nodes()` lists it: `NodeID`, `Alive`, `Resources`, `Labels`."""
_GPU_PROCESS_BYTES, _GPU_PROCESS_LONGEST = 16e9, 32
"""A process on a GPU ends after it has opened this many bytes of weights, or this many checkpoints."""


def weight_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of a checkpoint's files of weights; drawn ones have none."""
    if checkpoint.init_seed is not None:
        return 0
    if checkpoint.remote:
        return sum(file.size for file in checkpoint.remote.weights)
    return sum(path.stat().st_size for path in (checkpoint.folder or Path()).glob(f"*.{checkpoint.weights}"))


def largest_first(works: Sequence[CheckpointWork]) -> list[CheckpointWork]:
    """The models in order of size, so that no long checkpoint is left for the end; a model's steps stay neighbours."""
    size: dict[str, int] = {}
    for work in works:
        model = work.checkpoint.model
        size[model] = max(size.get(model, 0), weight_bytes(work.checkpoint))
    return sorted(works, key=lambda work: -size[work.checkpoint.model])


def ray_options(work: CheckpointWork) -> dict[str, Any]:
    """Options of the Ray task that runs a checkpoint. Retries are ours, so that they are counted and end."""
    asked = work.resources
    options: dict[str, Any] = {"num_cpus": asked.num_cpus, "num_gpus": asked.num_gpus, "max_retries": 0}
    if asked.memory_gb is not None:
        options["memory"] = int(asked.memory_gb * 1e9)
    if asked.labels:
        options["label_selector"] = asked.labels
    return options | {"max_calls": _checkpoints_per_process(work)}


def _checkpoints_per_process(work: CheckpointWork) -> int:
    """0 for no end. On GPUs a power of two by size: a start costs more than a small checkpoint, a leak less."""
    asked = work.resources
    if asked.checkpoints_per_process is not None or not asked.num_gpus:
        return asked.checkpoints_per_process or 0
    fit = _GPU_PROCESS_BYTES / max(1, weight_bytes(work.checkpoint))
    return 1 << max(0, int(min(fit, _GPU_PROCESS_LONGEST)).bit_length() - 1)


def workers(node: Node, asked: Resources) -> int:
    """How many workers that ask this a node can have at once."""
    if not node["Alive"] or not all(matches(node.get("Labels", {}).get(k), v) for k, v in asked.labels.items()):
        return 0
    return int(min(node["Resources"].get(name, 0) // amount for name, amount in _demand(asked).items()))


def matches(value: str | None, wanted: str) -> bool:
    """Whether a node's label meets `value`, `!value`, `in(a, b)` or `!in(a, b)`."""
    negated, body = wanted.startswith("!"), wanted.removeprefix("!")
    several = re.fullmatch(r"in\((.*)\)", body)
    allowed = {part.strip() for part in several[1].split(",")} if several else {body}
    return (value in allowed) != negated


def check_feasible(works: Sequence[CheckpointWork], nodes: Sequence[Node]) -> None:
    """Refuse a demand that no node meets: Ray would wait for ever without an error.

    Raises:
        PlanError: with what is asked and what the cluster has.
    """
    for asked in {work.resources.model_dump_json(): work.resources for work in works}.values():
        if not asked.autoscaled and not any(workers(node, asked) for node in nodes):
            raise PlanError(
                f"the plan asks {_in_words(_demand(asked), asked.labels)} of one node for a worker, and no node has "
                f"that; the cluster has {_cluster(nodes)}. Lower [resources], or add nodes (autoscaled = true waits "
                "for nodes that appear when they are asked for)"
            )


def _demand(asked: Resources) -> dict[str, float]:
    wanted = {"CPU": asked.num_cpus, "GPU": asked.num_gpus, "memory": (asked.memory_gb or 0) * 1e9}
    return {name: amount for name, amount in wanted.items() if amount}


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
