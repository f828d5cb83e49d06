"""Methods of doing one thing, timed in turns; results are ratios."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        name: name of the measurement.
        on: the model's shape, the prompts, the number of runs.
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
class Times:
    """Seconds of each run of each method."""

    wall: dict[str, list[float]]
    cpu: dict[str, list[float]]

    def ratio(self, method: str, to: str) -> float:
        """Median seconds of one method over median seconds of another."""
        return statistics.median(self.wall[method]) / statistics.median(self.wall[to])

    def note(self, method: str, to: str) -> str:
        """The same in seconds of processor time, which other processes touch less, and the spread over runs."""
        cpu = statistics.median(self.cpu[method]) / statistics.median(self.cpu[to])
        runs = sorted(a / b for a, b in zip(self.wall[method], self.wall[to], strict=True))
        return f"cpu time {cpu:.3f}; runs {runs[0]:.3f} to {runs[-1]:.3f}"


def in_turns(methods: Mapping[str, Callable[[], object]], runs: int) -> Times:
    """Seconds of every method, run once in each of `runs` rounds, after one round that does not count."""
    times = Times({method: [] for method in methods}, {method: [] for method in methods})
    for round_ in range(-1, runs):
        for method, run in methods.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if round_ >= 0:
                times.wall[method].append(time.perf_counter() - wall)
                times.cpu[method].append(time.process_time() - cpu)
    return times
