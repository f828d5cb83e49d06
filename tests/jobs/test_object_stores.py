"""A sweep into a bucket, and all that reads it: the same rows, the same commit, the same refusals as in a folder."""

from pathlib import Path

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

import analysis
import analysis.__main__
import figures.__main__
import jobs.compact
import jobs.derive
import jobs.plan
import jobs.status
import jobs.sweep
import jobs.verify
from dynamics.errors import StoreError
from dynamics.results.places import delete, entries, names, place, read
from dynamics.results.store import open_store, part_files, read_units
from tests.models import write_plan
from tests.s3_server import LocalS3

ORDER = ["unit_id", "split", "component", "example_id", "method", "variant", "n_labelled"]
CLOCK = ["load_seconds", "forward_seconds", "score_seconds", "peak_bytes", "created"]


def rows(out: Path | str, table: str) -> pl.DataFrame:
    """All rows of a table, sorted, without what depends on the clock."""
    found = analysis.load(out, table).collect().drop(CLOCK, strict=False)
    return found.sort([name for name in ORDER if name in found.columns])


def sweep(plan: Path, out: str) -> Result:
    """`python -m jobs.sweep PLAN --out OUT --executor inline`."""
    return CliRunner().invoke(jobs.sweep.app, [str(plan), "--out", out, "--executor", "inline"])


@pytest.fixture
def plan(tmp_path: Path, suite_folder: Path) -> Path:
    """The plan of `results`."""
    return write_plan(tmp_path / "plan.toml", suite_folder)


def test_a_bucket_holds_what_a_folder_holds(s3: LocalS3, plan: Path, results: Path) -> None:
    out = f"s3://{s3.bucket()}/runs/one"
    done = sweep(plan, out)
    assert done.exit_code == 0, done.output
    assert f"results in {out}: 20 of 20 units done" in done.output
    for table in ("contributions", "predictions", "component_scores", "prompt_scores", "reweightings", "units"):
        assert rows(out, table).equals(rows(results, table))
    again = sweep(plan, out)
    assert "20 already done, 0 to run" in again.output
    planned = CliRunner().invoke(jobs.plan.app, [str(plan), "--out", out])
    assert (
        "20 units (2 checkpoints x 10 sets of prompts: tasks, templates, shots and seeds), 20 already done"
        in planned.output
    ), planned.output
    derived = CliRunner().invoke(jobs.derive.app, [out])
    assert (derived.exit_code, derived.output) == (0, "4 parts scored again, 0 fits added\n")
    assert rows(out, "prompt_scores").equals(rows(results, "prompt_scores"))


def test_analyses_and_figures_read_and_write_buckets(s3: LocalS3, plan: Path, results: Path) -> None:
    bucket = s3.bucket()
    assert sweep(plan, f"s3://{bucket}/out").exit_code == 0
    told = CliRunner().invoke(analysis.__main__.app, ["emergence", "--results", f"s3://{bucket}/out"])
    assert f"rows written to s3://{bucket}/out/analysis/emergence.csv" in told.output
    table = pl.read_csv(read(place(f"s3://{bucket}/out/analysis/emergence.csv")))
    assert table["mean"].to_list() == analysis.run("emergence", results)["mean"].to_list()
    drawn = CliRunner().invoke(
        figures.__main__.app, ["emergence", "--results", f"s3://{bucket}/out", "--out", f"s3://{bucket}/figures"]
    )
    assert drawn.exit_code == 0, drawn.output
    written = set(names(place(f"s3://{bucket}/figures")))
    assert {f"emergence.{suffix}" for suffix in ("csv", "png", "svg", "pdf")} <= written
    assert read(place(f"s3://{bucket}/figures/emergence.png")).startswith(b"\x89PNG")


def test_googles_store_holds_it_too(gs: str, plan: Path, results: Path) -> None:
    out = f"gs://{gs}/out"
    done = sweep(plan, out)
    assert done.exit_code == 0, done.output
    assert "20 already done" in sweep(plan, out).output
    assert rows(out, "predictions").equals(rows(results, "predictions"))
    told = CliRunner().invoke(analysis.__main__.app, ["emergence", "--results", out])
    assert f"rows written to {out}/analysis/emergence.csv" in told.output
    refused = sweep(plan, "gs://nobody/out")
    assert (refused.exit_code, refused.output) == (
        2,
        "error: gs://nobody/out/store.json: there is no bucket nobody; create it, or name another\n",
    )


def test_a_death_before_the_commit_leaves_nothing_to_read_and_is_resumed(
    s3: LocalS3, plan: Path, results: Path
) -> None:
    """The store takes every part but those of `units`, as if the driver had died just before."""
    out = f"s3://{s3.bucket()}/out"
    s3.refuse = lambda method, path: (403, "AccessDenied") if method == "PUT" and "/units/" in path else None
    died = sweep(plan, out)
    assert died.exit_code == 2
    assert "access is denied; set AWS_ACCESS_KEY_ID" in died.output
    assert "Traceback" not in died.output
    store = open_store(out)
    assert part_files(store, "predictions")
    assert read_units(store).is_empty()
    with pytest.raises(StoreError, match="holds no finished unit yet"):
        analysis.load(out, "predictions")
    s3.refuse = lambda _method, _path: None
    assert sweep(plan, out).exit_code == 0
    assert rows(out, "predictions").equals(rows(results, "predictions"))


def test_failures_and_their_tracebacks_are_kept_in_the_bucket(
    s3: LocalS3, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"s3://{s3.bucket()}/out"
    monkeypatch.setattr("jobs.run_checkpoint.decompose", lambda *_, **__: 1 / 0)
    failed = sweep(plan, out)
    assert failed.exit_code == 1
    assert f"tracebacks are in {out}/logs" in failed.output
    logs = entries(place(out) / "logs", "*.txt")
    assert len(logs) == len(read_units(open_store(out)).filter(status="failed")) == 20
    assert b"ZeroDivisionError" in read(logs[0].place)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("s3://no-such-bucket/out", "error: s3://no-such-bucket/out: there is no bucket no-such-bucket"),
        ("s3a://bucket/out", "error: unknown address 's3a://'; did you mean 's3://'?"),
    ],
)
@pytest.mark.usefixtures("s3")
def test_a_wrong_address_is_one_line_and_exit_2(plan: Path, out: str, message: str) -> None:
    refused = sweep(plan, out)
    assert refused.exit_code == 2
    assert message in refused.output
    for app, arguments in (
        (analysis.__main__.app, ["emergence", "--results", out]),
        (figures.__main__.app, ["emergence", "--results", out, "--out", out]),
        (jobs.derive.app, [out]),
    ):
        refused = CliRunner().invoke(app, arguments)
        assert (refused.exit_code, refused.output.count("\n")) == (2, 1), refused.output


def test_what_polars_meets_on_its_way_is_one_line_too(s3: LocalS3, plan: Path) -> None:
    """Access that ends between the listing and the reading of a table."""
    out = f"s3://{s3.bucket()}/out"
    assert sweep(plan, out).exit_code == 0
    s3.refuse = lambda method, path: (403, "AccessDenied") if method == "GET" and path.endswith(".parquet") else None
    refused = CliRunner().invoke(analysis.__main__.app, ["emergence", "--results", out])
    assert (refused.exit_code, refused.output.count("\n")) == (2, 1), refused.output
    assert "access is denied" in refused.output
    s3.refuse = lambda method, path: (403, "Denied") if method == "GET" and "/predictions/" in path else None
    refused = CliRunner().invoke(analysis.__main__.app, ["emergence", "--results", out])
    assert (refused.exit_code, refused.output.count("\n")) == (2, 1), refused.output
    assert refused.output.startswith("error: ")


def test_status_verify_and_compact_work_on_buckets(s3: LocalS3, plan: Path, results: Path) -> None:
    bucket = s3.bucket()
    out, few = f"s3://{bucket}/out", f"s3://{bucket}/few"
    sweep(plan, out)
    assert CliRunner().invoke(jobs.status.app, [out]).exit_code == 0
    made = CliRunner().invoke(jobs.compact.app, [out, "--to", few])
    assert made.exit_code == 0, made.output
    for folder in (out, few):
        for options in ([], ["--quick"]):
            sound = CliRunner().invoke(jobs.verify.app, [folder, *options])
            assert sound.exit_code == 0, sound.output
    for table in ("contributions", "predictions", "units"):
        assert rows(few, table).equals(rows(results, table))
    assert "is or lies in" in CliRunner().invoke(jobs.compact.app, [out, "--to", f"{out}/few"]).output
    lost = part_files(open_store(out), "predictions")[0].place
    delete(lost)
    assert "problem (missing rows)" in CliRunner().invoke(jobs.verify.app, [out]).output
    assert "deleted" in CliRunner().invoke(jobs.verify.app, [out, "--repair"]).output
    assert "already done, 6 to run" in sweep(plan, out).output
    assert CliRunner().invoke(jobs.verify.app, [out]).exit_code == 0
