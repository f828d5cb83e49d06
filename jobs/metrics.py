"""Metrics of a sweep under Ray, for the cluster's Prometheus: units by outcome, seconds by phase."""

from collections.abc import Callable, Sequence

from jobs.outcomes import Outcome
from jobs.work import CheckpointWork

CountOutcomes = Callable[[CheckpointWork, Sequence[Outcome]], None]


def counters() -> CountOutcomes:
    """A function that counts the outcomes of an attempt; Ray exports the counts every few seconds."""
    from ray.util.metrics import Counter

    units = Counter("emergence_units", "units by how an attempt at them ended", ("model", "status"))
    seconds = Counter("emergence_seconds", "seconds of units that are done, by phase", ("model", "phase"))

    def count(work: CheckpointWork, outcomes: Sequence[Outcome]) -> None:
        model = work.checkpoint.model
        for outcome in outcomes:
            units.inc(1, {"model": model, "status": outcome.status})
            for phase, spent in outcome.seconds.items():
                if spent > 0:
                    seconds.inc(spent, {"model": model, "phase": phase})

    return count
