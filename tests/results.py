"""Reading results in tests, without what depends on the clock or on chance."""

from pathlib import Path

import polars as pl

import analysis

CHANCE = ["load_seconds", "forward_seconds", "score_seconds", "peak_bytes", "created", "attempts"]
_ORDER = ["unit_id", "split", "component", "example_id", "method", "variant", "n_labelled"]


def rows(out: Path, table: str) -> pl.DataFrame:
    """All rows of a table, sorted, without what differs between two runs of one plan."""
    found = analysis.load(out, table).collect().drop(CHANCE, strict=False)
    return found.sort([name for name in _ORDER if name in found.columns])
