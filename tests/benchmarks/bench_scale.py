"""What every analysis costs on a large results folder: seconds and peak memory, each in a process of its own; JSON.

    python -m tests.benchmarks.scale_store OUT
    python -m tests.benchmarks.bench_scale OUT [NAME ...]

`--duckdb` adds, for analyses that are one query, the same query in DuckDB over the same files.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from analysis import ANALYSES

_MEASURED = """
import json, sys, time
began = time.perf_counter()
import analysis
table = analysis.run(sys.argv[1], sys.argv[2])
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
seconds = time.perf_counter() - began
print(json.dumps({"seconds": round(seconds, 1), "peak_mib": round(peak), "rows": len(table)}))
"""


def measure(name: str, results: Path) -> dict[str, object]:
    """Seconds (imports and opening included), peak resident MiB and rows of one analysis, or what it refused."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, name, str(results)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"name": name, "failed": done.stderr.strip().splitlines()[-1]}
    return {"name": name, **json.loads(done.stdout)}


def main(
    results: Path,
    names: Annotated[list[str] | None, typer.Argument(help="analyses; all unless given")] = None,
) -> None:
    """Measure analyses one after another."""
    for name in names or ANALYSES:
        typer.echo(json.dumps(measure(name, results)))


if __name__ == "__main__":
    typer.run(main)
