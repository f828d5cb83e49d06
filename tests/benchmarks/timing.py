"""Methods of doing one thing, timed in turns; results are ratios."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

PRECISION = 0.015
"""Standard error of a ratio, relative to it, at which no further rounds are run."""
SECONDS = 45
"""After these no further round is begun."""


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        name: name of the measurement.
        on: the model's shape and the prompts.
        value: a ratio, a share or an exponent.
        target: what it should be at most (or at least, where `at_least`); None where it is only reported.
        note: further results.
    """

    name: str
    on: str
    value: float
    target: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    @property
    def record(self) -> dict[str, object]:
        """The row as JSON."""
        return {**asdict(self), "value": round(self.value, 4), "met": self.met}


@dataclass(frozen=True)
class Part:
    """A part of what a method does, where all of it takes long; `share` is its share of the work."""

    run: Callable[[], object]
    share: float


@dataclass(frozen=True)
class Times:
    """Seconds of each run of each method; those of a `Part` divided by its share."""

    wall: dict[str, list[float]]
    cpu: dict[str, list[float]]

    @property
    def n_runs(self) -> int:
        """Runs of each method."""
        return len(next(iter(self.wall.values())))

    def ratio(self, method: str, to: str) -> float:
        """Median seconds of one method over median seconds of another."""
        return statistics.median(self.wall[method]) / statistics.median(self.wall[to])

    def note(self, method: str, to: str) -> str:
        """The same in seconds of processor time, which other processes touch less, and the spread over runs."""
        cpu = statistics.median(self.cpu[method]) / statistics.median(self.cpu[to])
        runs = self._by_run(method, to)
        return f"cpu time {cpu:.3f}; {len(runs)} runs, {min(runs):.3f} to {max(runs):.3f}"

    def standard_error(self, method: str, to: str) -> float:
        """Standard error of the mean over runs of the ratio, relative to that mean; of two runs or more."""
        runs = self._by_run(method, to)
        return statistics.stdev(runs) / len(runs) ** 0.5 / statistics.mean(runs)

    def _by_run(self, method: str, to: str) -> list[float]:
        return [a / b for a, b in zip(self.wall[method], self.wall[to], strict=True)]


def in_turns(
    methods: Mapping[str, Callable[[], object] | Sequence[Part]],
    runs: int,
    *,
    least: int = 3,
    warm_up: Callable[[], object] | None = None,
) -> Times:
    """Seconds of every method, run once in each round.

    Rounds end when the ratio of every method to the first one has a standard error of `PRECISION`, or after `SECONDS`.

    Args:
        methods: name -> what to run; or the parts of it, of which each round runs the next one.
        runs: number of rounds at most.
        least: number of rounds at least.
        warm_up: what is run before; None for a round that does not count.
    """
    parts = {method: [Part(run, 1.0)] if callable(run) else list(run) for method, run in methods.items()}
    times = Times({method: [] for method in methods}, {method: [] for method in methods})
    first, *others = methods
    for run in [warm_up] if warm_up else [part[0].run for part in parts.values()]:
        run()
    started = time.perf_counter()
    for n in range(runs):
        for method in methods:
            _time(parts[method][n % len(parts[method])], times.wall[method], times.cpu[method])
        precise = n > 0 and all(times.standard_error(method, first) <= PRECISION for method in others)
        if n + 1 >= least and (precise or time.perf_counter() - started > SECONDS):
            break
    return times


def _time(part: Part, walls: list[float], cpus: list[float]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    part.run()
    walls.append((time.perf_counter() - wall) / part.share)
    cpus.append((time.process_time() - cpu) / part.share)
