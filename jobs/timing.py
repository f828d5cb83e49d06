"""An estimate of a sweep's time from one checkpoint: fetch and open it, and run its first unit of every task."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dynamics.errors import PlanError
from dynamics.results.store import open_store, read_units
from jobs.fetching import fetch
from jobs.run_checkpoint import run_checkpoint
from jobs.units import CheckpointWork


@dataclass(frozen=True)
class Calibration:
    """What one checkpoint took: bytes fetched a second (0 where nothing was), seconds to open it, seconds a unit."""

    checkpoint: str
    bytes_per_second: float
    load_seconds: float
    unit_seconds: dict[str, float]

    def hours(self, works: Sequence[CheckpointWork], workers: int) -> float:
        """Hours for all works on `workers` workers: the longer of fetching and computing, which run side by side.

        Works of other models are taken to cost the same; calibrate a plan per model where sizes differ.
        """
        compute = sum(self.load_seconds + sum(self.unit_seconds[u.task] for u in w.units) for w in works) / workers
        n_bytes = sum(work.checkpoint.remote.n_bytes for work in works if work.checkpoint.remote)
        download = n_bytes / self.bytes_per_second if self.bytes_per_second else 0.0
        return max(compute, download) / 3600

    def line(self) -> str:
        """In words."""
        units = ", ".join(f"{task} {seconds:.2f} s" for task, seconds in sorted(self.unit_seconds.items()))
        rate = f"{self.bytes_per_second / 1e6:.1f} MB/s, " if self.bytes_per_second else ""
        return f"measured on {self.checkpoint}: {rate}opening {self.load_seconds:.2f} s, a unit of {units}"


def calibrate(work: CheckpointWork, dtype: str) -> Calibration:
    """Measure on the first unit of each task of one checkpoint; its results are thrown away.

    Raises:
        PlanError: a unit failed.
    """
    first = {unit.task: unit for unit in reversed(work.units)}
    small = replace(work, units=tuple(first[task] for task in sorted(first)))
    started = time.perf_counter()
    ready = fetch(small)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "out", create=True)
        failed = [outcome for outcome in run_checkpoint(ready, store) if outcome.status == "failed"]
        if failed:
            raise PlanError(f"the calibration failed: {failed[0].label}: {failed[0].error}")
        rows = read_units(store)
    remote = work.checkpoint.remote
    times = rows["forward_seconds"] + rows["score_seconds"]
    return Calibration(
        checkpoint=f"{work.checkpoint.model} step {work.checkpoint.step} in {dtype}",
        bytes_per_second=remote.n_bytes / seconds if remote else 0.0,
        load_seconds=float(rows["load_seconds"][0]),
        unit_seconds=dict(zip(rows["task"].to_list(), times.to_list(), strict=True)),
    )
