"""An estimate of a sweep's hours from one checkpoint: fetch and open it, and run its first unit of every task."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dynamics.errors import PlanError
from dynamics.results.store import open_store, read_units
from jobs.fetching import fetch
from jobs.work import CheckpointWork


@dataclass(frozen=True)
class Timing:
    """Times of one checkpoint: bytes fetched per second (0 where none were), seconds to open it, seconds per unit."""

    checkpoint: str
    bytes_per_second: float
    load_seconds: float
    unit_seconds: dict[str, float]

    def hours(self, works: Sequence[CheckpointWork], workers: int) -> float:
        """Hours for all works on `workers` workers: the longer of fetching and computing, which overlap.

        Other models, and tasks that the measured checkpoint does not lack, are assumed to take as long as the measured
        ones; time plans per model where sizes differ.
        """
        mean = sum(self.unit_seconds.values()) / len(self.unit_seconds)
        units = [self.unit_seconds.get(unit.task, mean) for work in works for unit in work.units]
        compute = (self.load_seconds * len(works) + sum(units)) / workers
        n_bytes = sum(work.checkpoint.remote.n_bytes for work in works if work.checkpoint.remote)
        download = n_bytes / self.bytes_per_second if self.bytes_per_second else 0.0
        return max(compute, download) / 3600

    def line(self) -> str:
        """A description in words."""
        units = ", ".join(f"{task} {seconds:.2f} s" for task, seconds in sorted(self.unit_seconds.items()))
        rate = f"{self.bytes_per_second / 1e6:.1f} MB/s, " if self.bytes_per_second else ""
        return f"measured on {self.checkpoint}: {rate}opening {self.load_seconds:.2f} s, a unit of {units}"


def measure(works: Sequence[CheckpointWork], dtype: str) -> Timing | None:
    """Time the first unit of each task of the checkpoint that lacks most tasks; the results are discarded.

    Returns:
        None where no unit is missing.

    Raises:
        PlanError: a unit failed.
    """
    work = max(works, key=lambda work: len({unit.task for unit in work.units}), default=None)
    if work is None or not work.units:
        return None
    from jobs.run_checkpoint import run_checkpoint  # here, since importing torch takes seconds and few plans are timed

    first_units = {unit.task: unit for unit in reversed(work.units)}
    started = time.perf_counter()
    fetched = fetch(replace(work, units=tuple(first_units[task] for task in sorted(first_units)), baselines=()))
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "out", create=True)
        failed = [outcome for outcome in run_checkpoint(fetched, store) if outcome.status == "failed"]
        if failed:
            raise PlanError(f"--time: {failed[0].label} failed: {failed[0].error}")
        units = read_units(store)
    remote = work.checkpoint.remote
    times = units["forward_seconds"] + units["score_seconds"]
    return Timing(
        checkpoint=f"{work.checkpoint.model} step {work.checkpoint.step} in {dtype}",
        bytes_per_second=remote.n_bytes / seconds if remote else 0.0,
        load_seconds=float(units["load_seconds"][0]),
        unit_seconds=dict(zip(units["task"].to_list(), times.to_list(), strict=True)),
    )
