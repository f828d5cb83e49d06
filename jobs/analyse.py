"""`python -m jobs.analyse NAME --results URI`: one analysis, its steps computed by the workers of a Ray cluster.

For results in an object store, which every node can read; on one machine, `python -m analysis` uses its cores. The
same table either way.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer

from analysis import ANALYSES, run
from analysis.cache.parallel import mapping, n_cores, processes, with_progress
from dynamics.command_line import command, user_errors_exit_2
from dynamics.results.places import place, put
from jobs.cluster import joined


def main(
    name: Annotated[str, typer.Argument(help=f"one of: {', '.join(ANALYSES)}")],
    results: Annotated[str, typer.Option(help="s3:// or gs:// URI of results, or a folder that all nodes can read")],
    out: Annotated[str | None, typer.Option(help="folder or URI for NAME.csv; default RESULTS/analysis")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="compute anew what is kept")] = False,
) -> None:
    """Compute one analysis on the Ray cluster that RAY_ADDRESS names, or on a local one, and save it as CSV."""
    with user_errors_exit_2():
        with joined(), processes(n_cores()) as in_processes, mapping(on_ray, here=in_processes):
            table = run(name, results, fresh=fresh)
        csv = (place(out) if out else place(results) / "analysis") / f"{name}.csv"
        put(csv, table.write_csv().encode())
    typer.echo(f"{len(table)} rows written to {csv}")


def on_ray(function: Callable[[Any], Any], items: Sequence[Any], what: str) -> Iterator[Any]:
    """Each item as a Ray task of one CPU; results in the order of the items."""
    return with_progress(_tasks(function, items), len(items), what)


def _tasks(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Twice as many at once as there are CPUs, so that results that wait for their turn do not fill the memory."""
    import ray

    task: Any = ray.remote(num_cpus=1)(_call)
    n_at_once = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting: deque[Any] = deque()
    try:
        for item in items:
            waiting.append(task.remote(function, item))
            if len(waiting) >= n_at_once:
                yield ray.get(waiting.popleft())
        while waiting:
            yield ray.get(waiting.popleft())
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _call(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)


app = command(main)

if __name__ == "__main__":
    app()
