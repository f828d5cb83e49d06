"""Cost of every analysis on a large results folder: seconds and peak memory, each in a process of its own; JSON.

    python -m tests.benchmarks.scale_store OUT
    python -m tests.benchmarks.bench_scale OUT [NAME ...] [--one-more]

Every table is computed anew. `--one-more` measures it twice again: from what was kept, and after one more checkpoint.
Analyses that are one query are asked in DuckDB too, over the same files and with the same rule of which rows count;
the same number of rows must come back.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from analysis import ANALYSES
from analysis.reweighting_gain import METHODS
from tests.benchmarks.scale_store import add_checkpoint
from tests.test_querying import snippets

_MEASURED = """
import json, sys, time
began = time.perf_counter()
{body}
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
seconds = time.perf_counter() - began
print(json.dumps({{"seconds": round(seconds, 1), "peak_mib": round(peak), "rows": n_rows}}))
"""
_POLARS = """
import analysis
from analysis.cache.parallel import mapping, processes
if __name__ == "__main__":
    with processes(int(sys.argv[4])) as in_processes, mapping(in_processes):
        n_rows = len(analysis.run(sys.argv[1], sys.argv[2], fresh=sys.argv[3] == "fresh"))
"""
_DUCKDB = """
import duckdb
connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")
connection.execute(sys.argv[1])
*before, query = sys.argv[2].split(";")
for statement in before:
    connection.execute(statement)
n_rows = connection.sql(query).to_arrow_table().num_rows
"""
CURVE = "model, dtype, control, task, n_shots"
SAME_IN_SQL = {
    "component_heatmap": f"""
        SELECT {CURVE}, step, component, kind, layer, head, avg(accuracy) AS accuracy, stddev(accuracy) AS sd,
               count(*) AS n_prompts, any_value(n_examples) AS n_examples, 1 / any_value(len(label_share)) AS chance
        FROM finished('component_scores') WHERE split = 'test' GROUP BY ALL ORDER BY ALL""",
    "reweighting_gain": f"""
        WITH test AS (SELECT * FROM finished('prompt_scores') WHERE split = 'test'),
             "full" AS (SELECT unit_id, accuracy AS "full" FROM test WHERE method = 'full')
        SELECT {CURVE}, step, method, variant, n_labelled, avg(accuracy) AS accuracy, stddev(accuracy) AS sd,
               avg(accuracy - "full") AS gain, stddev(accuracy - "full") AS gain_sd, count(accuracy) AS n_prompts
        FROM test LEFT JOIN "full" USING (unit_id)
        WHERE method IN ({", ".join(map(repr, METHODS))}) GROUP BY ALL ORDER BY ALL""",
    "weights": f"""
        CREATE TEMP TABLE w AS
        SELECT {CURVE}, variant, n_labelled, template, demo_seed, step, component, weight, train_loss, epochs
        FROM finished('reweightings');
        CREATE TEMP TABLE final AS
        SELECT {CURVE}, variant, n_labelled, template, demo_seed, component, weight AS final
        FROM w SEMI JOIN (SELECT {CURVE}, variant, n_labelled, max(step) AS step FROM w GROUP BY ALL)
        USING ({CURVE}, variant, n_labelled, step);
        WITH prompt AS (
            SELECT {CURVE}, variant, n_labelled, template, demo_seed, step,
                   avg((abs(weight) <= 0.01)::INT) AS zero, avg((weight < -0.01)::INT) AS negative,
                   sum(abs(weight)) ** 2 / sum(weight ** 2) AS n_effective,
                   sum(abs(weight)) FILTER (contains(component, 'H')) / sum(abs(weight)) AS on_heads,
                   sum(weight * final) / sqrt(sum(weight ** 2) * sum(final ** 2)) AS cosine,
                   sum((weight - 1) * (final - 1))
                       / sqrt(sum((weight - 1) ** 2) * sum((final - 1) ** 2)) AS change_cosine,
                   any_value(train_loss) AS train_loss, any_value(epochs) AS epochs
            FROM w JOIN final USING ({CURVE}, variant, n_labelled, template, demo_seed, component) GROUP BY ALL)
        SELECT {CURVE}, variant, n_labelled, step, avg(zero), avg(negative), avg(n_effective), avg(on_heads),
               avg(cosine), avg(change_cosine), avg(train_loss), avg(epochs),
               stddev(zero), stddev(negative), stddev(n_effective), stddev(on_heads),
               stddev(cosine), stddev(change_cosine), stddev(train_loss), stddev(epochs), count(*)
        FROM prompt GROUP BY ALL ORDER BY ALL""",
}


def measure(name: str, results: Path, workers: int) -> dict[str, object]:
    """Seconds (imports and opening included), peak resident MiB and rows of one analysis, or its error."""
    measured = _run(_POLARS, name, str(results), "fresh", str(workers))
    if name in SAME_IN_SQL and "failed" not in measured:
        views = snippets()[1][2].replace("demo/results", str(results))
        measured["duckdb"] = _run(_DUCKDB, views, SAME_IN_SQL[name])
    return {"name": name, **measured}


def _run(body: str, *arguments: str) -> dict[str, object]:
    code = _MEASURED.format(body=body.strip())
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def measure_again(name: str, results: Path, workers: int) -> dict[str, object]:
    """The same from what was kept, and after one more checkpoint of the same shape."""
    again = _run(_POLARS, name, str(results), "kept", str(workers))
    add_checkpoint(results)
    return {"again": again, "one_more": _run(_POLARS, name, str(results), "kept", str(workers))}


def main(
    results: Path,
    names: Annotated[list[str] | None, typer.Argument(help="analyses; all unless given")] = None,
    one_more: Annotated[
        bool, typer.Option("--one-more", help="measure them again, and after a checkpoint more")
    ] = False,
    workers: Annotated[int, typer.Option(help="processes of each")] = 1,
) -> None:
    """Measure analyses one after another."""
    for name in names or ANALYSES:
        measured = measure(name, results, workers)
        typer.echo(json.dumps({**measured, **(measure_again(name, results, workers) if one_more else {})}))


if __name__ == "__main__":
    typer.run(main)
