"""Ways of doing one thing, timed in turns; what comes out is ratios."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        name: what was measured.
        on: the model's shape, the prompts, the number of runs.
        value: a ratio, a share or an exponent.
        target: what it should be at most (or at least, where `at_least`); None where it is only reported.
        note: what else was seen.
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
        """For JSON."""
        return {**asdict(self), "value": round(self.value, 4), "met": self.met}


@dataclass(frozen=True)
class Times:
    """Seconds of each run of each way."""

    wall: dict[str, list[float]]
    cpu: dict[str, list[float]]

    def ratio(self, way: str, to: str) -> float:
        """Median seconds of one way over median seconds of another."""
        return statistics.median(self.wall[way]) / statistics.median(self.wall[to])

    def note(self, way: str, to: str) -> str:
        """The same in seconds of processor time, which other processes touch less, and the spread over runs."""
        cpu = statistics.median(self.cpu[way]) / statistics.median(self.cpu[to])
        runs = sorted(a / b for a, b in zip(self.wall[way], self.wall[to], strict=True))
        return f"cpu time {cpu:.3f}; runs {runs[0]:.3f} to {runs[-1]:.3f}"


def in_turns(ways: Mapping[str, Callable[[], object]], runs: int) -> Times:
    """Run every way once in each of `runs` rounds, after one round that does not count."""
    times = Times({way: [] for way in ways}, {way: [] for way in ways})
    for round_ in range(-1, runs):
        for way, run in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if round_ >= 0:
                times.wall[way].append(time.perf_counter() - wall)
                times.cpu[way].append(time.process_time() - cpu)
    return times
