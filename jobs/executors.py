"""Executors: checkpoints in this process, or as Ray tasks, until their units are done or out of attempts."""

from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dynamics.errors import StoreError
from jobs.attempts import Job, attempt, recovered_outcomes, with_retry
from jobs.cluster import joined
from jobs.fetching import fetch, fetched_ahead
from jobs.metrics import counters
from jobs.outcomes import Outcome
from jobs.placement import Node, check_feasible, n_workers, ray_options
from jobs.work import CheckpointWork

if TYPE_CHECKING:
    import ray

Results = Generator[tuple[CheckpointWork, list[Outcome]], None, None]
"""Each attempt at a checkpoint as it ends; one with an outcome `retried` is followed by another."""
_MIN_SUBMITTED = 16
"""Tasks that wait for a worker even where the cluster has few: they make an autoscaler start nodes."""
_CANCEL_REQUESTS = 10
"""Each waits a second for the tasks to end; a dead node answers none."""


def run_inline(works: Sequence[CheckpointWork], job: Job, ahead: int = 0) -> Results:
    """One checkpoint after the other, in this process, the next `ahead` being fetched meanwhile; retries at the end."""
    while works:
        retries = []
        for work in fetched_ahead(works, ahead):
            outcomes, retry = with_retry(work, attempt(job, work), job.limits)
            retries += [retry] if retry else []
            yield work, outcomes
        works = retries


def run_ray(works: Sequence[CheckpointWork], job: Job, ahead: int = 0) -> Results:
    """Checkpoints as Ray tasks, as many at once as the cluster's resources allow; results in order of completion.

    A checkpoint of the Hub is assigned to a node and fetched there by a task of its own, which requests no CPU; only
    then its units take a worker of that node. A node has at most `ahead` more checkpoints than workers. Units of a dead
    worker or a lost node go to the end of the queue.

    Joins the cluster that RAY_ADDRESS names (as inside `ray job submit`), else starts a local one and ends it.

    Raises:
        PlanError: no node has the resources that a worker requests, or there is no such cluster.
    """
    with joined():
        import ray

        check_feasible(works, ray.nodes())
        submit, count = _task_submitter(job), counters()
        queue, waiting = deque(works), {}
        try:
            while queue or waiting:
                nodes = ray.nodes()
                while queue and (node := _node_for(queue[0], waiting, nodes, ahead)) is not None:
                    work = queue.popleft()
                    reference, fetched = submit(work, node)
                    waiting[reference] = work, node, fetched
                ready, _ = ray.wait(list(waiting), num_returns=1)
                for reference in ready:
                    work, *_ = waiting.pop(reference)
                    outcomes, retry = with_retry(work, _outcomes(reference, job, work), job.limits)
                    queue.extend([retry] if retry else [])
                    count(work, outcomes)
                    yield work, outcomes
        finally:
            _cancel([*waiting, *(fetched for *_, fetched in waiting.values() if fetched is not None)])


def _cancel(references: "list[ray.ObjectRef]") -> None:
    """End tasks, and wait for that: Ray may lose a request for a task that is just starting, or whose result is freed.

    Of tasks that started as another ended, one in seven went on where requests were sent once and not waited for (4 of
    28; none of 260 with this). The task that fetches a checkpoint is no child of the one that waits for it, so it has
    to be among them.
    """
    import ray

    for _ in range(_CANCEL_REQUESTS):
        if not references:
            return
        for reference in references:
            ray.cancel(reference, force=True)
        _, references = ray.wait(references, num_returns=len(references), timeout=1)


def _task_submitter(job: Job) -> Callable[[CheckpointWork, str], tuple[Any, Any]]:
    """A function that submits a checkpoint's task to a node (`""`: any), after a task that fetches it if needed.

    It gives the references of both; None for that of the second where nothing is fetched.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Ray takes plain functions only, and shows their names
    def run(work: CheckpointWork) -> list[Outcome]:
        return attempt(job, work)

    def fetch_ahead(work: CheckpointWork) -> CheckpointWork:
        return fetch(work)

    fetching: Any = ray.remote(num_cpus=0, max_retries=0)(fetch_ahead)
    remote_functions: dict[str, Any] = {}  # `max_calls` can be set on a remote function only, not on a call

    def submit(work: CheckpointWork, node: str) -> tuple[Any, Any]:
        options = ray_options(work)
        remote = remote_functions.setdefault(repr(options), ray.remote(**options)(run))
        if not node:
            return remote.remote(work), None
        on_node = {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
        fetched = fetching.options(**on_node).remote(work)
        return remote.options(**on_node).remote(fetched), fetched

    return submit


def _node_for(work: CheckpointWork, waiting: Mapping[Any, tuple], nodes: Sequence[Node], ahead: int) -> str | None:
    """The node with most room for another checkpoint of the Hub; `""` for any node; None where there is no room.

    Checkpoints on disk may go to any node: their folder is expected to be visible everywhere.
    """
    slots = {node["NodeID"]: n for node in nodes if (n := n_workers(node, work.settings.resources))}
    if work.checkpoint.remote is None or not slots:
        return "" if len(waiting) < max(_MIN_SUBMITTED, 2 * sum(slots.values())) else None
    n_submitted = Counter(node for _, node, _ in waiting.values())
    room = {node: n + ahead - n_submitted[node] for node, n in slots.items()}
    best = max(sorted(room), key=lambda node: room[node])
    return best if room[best] > 0 or not waiting else None


def _outcomes(reference: "ray.ObjectRef[list[Outcome]]", job: Job, work: CheckpointWork) -> list[Outcome]:
    """The worker's outcomes; where it or its node died, those recovered from the results."""
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(reference)
    except RayError as error:
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, StoreError):  # nothing can be recorded, by any process
            raise cause from error
        return recovered_outcomes(job, work, cause)
