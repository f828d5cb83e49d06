"""Where checkpoints run: in this process, or as Ray tasks. The only module that imports ray."""

import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dynamics.errors import PlanError, StoreError
from jobs.fetching import fetch, fetched
from jobs.plan import Resources
from jobs.run_checkpoint import Outcome
from jobs.units import CheckpointWork

if TYPE_CHECKING:
    import ray

Run = Callable[[CheckpointWork], list[Outcome]]
Results = Iterator[tuple[CheckpointWork, list[Outcome]]]


def run_inline(works: Sequence[CheckpointWork], run: Run, ahead: int = 0) -> Results:
    """One checkpoint after the other, in this process, the next `ahead` being fetched meanwhile."""
    for work in fetched(works, ahead):
        yield work, run(work)


def run_ray(works: Sequence[CheckpointWork], run: Run, resources: Resources, ahead: int = 0) -> Results:
    """Checkpoints as Ray tasks, as many at once as the cluster's resources allow; results in order of completion.

    A checkpoint of the Hub is given to a node and fetched there by a task of its own, which asks for no CPU; only then
    its units take a worker of that node. A node has at most `ahead` more checkpoints than it has workers.

    Joins the cluster that RAY_ADDRESS names (as inside `ray job submit`), else starts a local one and ends it.

    Raises:
        PlanError: no node can ever give what one worker asks for.
    """
    import ray  # here, because importing and starting it takes seconds that a finished sweep need not pay

    ours = not ray.is_initialized()
    if ours:
        _start()
    try:
        _check_feasible(resources)
        remote: Any = ray.remote(num_cpus=resources.num_cpus, num_gpus=resources.num_gpus)(_named("run", run))
        remote_fetch: Any = ray.remote(num_cpus=0)(_named("fetch", fetch))
        queue, waiting = deque(works), {}
        while queue or waiting:
            while queue and (node := _node_for(queue[0], waiting, resources, ahead)) is not None:
                work = queue.popleft()
                on = _on(node)
                given = remote_fetch.options(**on).remote(work) if node else work
                waiting[remote.options(**on).remote(given)] = work, node
            ready, _ = ray.wait(list(waiting), num_returns=1)
            for reference in ready:
                work, _ = waiting.pop(reference)
                yield work, _result(reference, work)
    finally:
        if ours:
            ray.shutdown()


def _named(name: str, function: Callable) -> Callable:
    """A plain function around a partial: Ray takes no other callables, and shows the name."""

    def call(work: CheckpointWork) -> Any:
        return function(work)

    call.__name__ = call.__qualname__ = name
    return call


def _node_for(work: CheckpointWork, waiting: Mapping[Any, tuple], resources: Resources, ahead: int) -> str | None:
    """The node with most room for another checkpoint of the Hub; None where none has room; `""` for any node.

    Files on disk need no node: they are taken to be visible everywhere.
    """
    import ray

    if work.checkpoint.remote is None:
        return ""
    given = Counter(node for _, node in waiting.values())
    room = {
        node["NodeID"]: workers + ahead - given[node["NodeID"]]
        for node in ray.nodes()
        if node["Alive"] and (workers := _workers(node["Resources"], resources))
    }
    best = max(sorted(room), key=lambda node: room[node], default="")
    return best if room.get(best, 1) > 0 or not waiting else None


def _workers(node: Mapping[str, float], resources: Resources) -> int:
    """How many workers of a plan a node can have at once."""
    asked = {"CPU": resources.num_cpus, "GPU": resources.num_gpus}
    return int(min(node.get(name, 0) // amount for name, amount in asked.items() if amount))


def _on(node: str) -> dict[str, Any]:
    """Task options that keep a task on a node; none for any node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)} if node else {}


def _start() -> None:
    import ray

    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    else:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)


def _check_feasible(resources: Resources) -> None:
    """Refuse a demand that no node meets: Ray would wait for ever without an error."""
    import ray

    for name, asked in (("CPU", resources.num_cpus), ("GPU", resources.num_gpus)):
        largest = max((node["Resources"].get(name, 0) for node in ray.nodes() if node["Alive"]), default=0)
        if asked > largest:
            raise PlanError(
                f"the plan asks {asked:g} {name} a worker, the largest node has {largest:g}; lower [resources]"
            )


def _result(reference: "ray.ObjectRef[list[Outcome]]", work: CheckpointWork) -> list[Outcome]:
    """The worker's outcomes; where the worker died, a failed outcome for each unit it was given."""
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(reference)
    except RayError as error:
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, StoreError):  # nothing can be recorded, whichever process found out
            raise cause from error
        first = str(cause).strip().splitlines()[0]
        return [Outcome(u.unit_id, str(u), "failed", type(cause).__name__, first) for u in work.asked]
