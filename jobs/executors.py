"""Where checkpoints run: in this process, or as Ray tasks. The only module that imports ray."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from dynamics.errors import PlanError
from jobs.fetching import fetched
from jobs.plan import CheckpointWork, Resources
from jobs.run_checkpoint import Outcome

if TYPE_CHECKING:
    import ray

Run = Callable[[CheckpointWork], list[Outcome]]
Results = Iterator[tuple[CheckpointWork, list[Outcome]]]


def run_inline(works: Sequence[CheckpointWork], run: Run, ahead: int = 0) -> Results:
    """One checkpoint after the other, in this process, the next `ahead` being fetched meanwhile."""
    for work in fetched(works, ahead):
        yield work, run(work)


def run_ray(works: Sequence[CheckpointWork], run: Run, resources: Resources) -> Results:
    """Checkpoints as Ray tasks, as many at once as the cluster's resources allow; results in order of completion.

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

        @ray.remote(num_cpus=resources.num_cpus, num_gpus=resources.num_gpus)
        def remote(work: CheckpointWork) -> list[Outcome]:
            return run(work)

        waiting = {remote.remote(work): work for work in works}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            for reference in ready:
                work = waiting.pop(reference)
                yield work, _result(reference, work)
    finally:
        if ours:
            ray.shutdown()


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
        first = str(cause).strip().splitlines()[0]
        return [Outcome(u.unit_id, str(u), "failed", type(cause).__name__, first, str(error)) for u in work.units]
