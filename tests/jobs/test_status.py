"""Status: what plans ask for against what is there, from the results alone; speed and time left."""

import json
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from click.testing import Result
from typer.testing import CliRunner

from dynamics.results.file_names import part_id
from dynamics.results.metadata import save_plan
from dynamics.results.schema import PLANNED
from dynamics.results.store import ResultStore, open_store, write_failures, write_units
from dynamics.results.tables import table
from jobs.active_sweeps import registered
from jobs.status import app
from jobs.sweep_plan import read_plan
from jobs.unit_states import status

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def keys(model: str, step: int, seed: int) -> dict[str, object]:
    """Keys of a planted unit."""
    return {
        "unit_id": f"{model}-{step}-{seed}", "model": model, "revision": f"step{step}", "step": step, "task": "toy",
        "dtype": "float32", "control": "none", "template": "plain", "demo_seed": seed, "n_shots": 4,
    }  # fmt: skip


def plan(store: ResultStore, name: str, units: list[dict[str, object]]) -> None:
    """Keep a plan that asks for these units."""
    save_plan(store, name, f"name = '{name}'", pa.Table.from_pylist(units, schema=PLANNED))


def finish(store: ResultStore, unit: dict[str, object], created: datetime, seconds: float = 1.0) -> None:
    """Commit a unit that took this long; status reads no other table."""
    record = {"part": part_id([str(unit["unit_id"])]), "created": created, "forward_seconds": seconds}
    write_units(store, table("units", {**unit, **record}, {"status": ["done"]}), {})


def fail(store: ResultStore, unit: dict[str, object], error: str) -> None:
    record = {"error_class": "FailedCheck", "error": error, "created": NOW}
    write_failures(store, table("units", {**unit, **record}, {"status": ["failed"]}))


def run(out: Path, *options: str) -> Result:
    """`python -m jobs.status OUT`."""
    return CliRunner().invoke(app, [str(out), *options])


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """Two models of four units: `a` has two done and a failed one, `b` nothing."""
    store = open_store(tmp_path / "out", create=True)
    units = [keys(model, step, seed) for model in "ab" for step in (0, 1) for seed in (0, 1)]
    plan(store, "first", units)
    finish(store, units[0], NOW - timedelta(minutes=3))
    finish(store, units[1], NOW - timedelta(minutes=1))
    fail(store, units[2], "parts miss the logits by nan")
    return store


def test_units_are_counted_by_model_and_state(store: ResultStore) -> None:
    found = status(store, NOW)
    of = {count.name: (count.units, count.done, count.failed, count.missing) for count in found.models}
    assert of == {"a": (4, 2, 1, 1), "b": (4, 0, 0, 4)}
    assert (found.total.units, found.total.done, found.total.failed, found.total.missing) == (8, 2, 1, 5)
    assert [(f.error_class, f.units) for f in found.failures] == [("FailedCheck", 1)]


def test_a_unit_of_two_plans_counts_once_and_one_of_none_is_there(store: ResultStore) -> None:
    plan(store, "second", [keys("a", 1, 1), keys("c", 0, 0)])
    finish(store, keys("d", 0, 0), NOW)
    found = status(store, NOW)
    assert found.total.units == 10
    assert {p.name.split("-")[0]: (p.units, p.missing) for p in found.plans} == {"first": (8, 5), "second": (2, 2)}


def test_what_a_driver_at_work_has_to_do_is_running(store: ResultStore) -> None:
    plan(store, "second", [keys("c", 0, 0)])
    with registered(store, "run1", "first", 6):
        found = status(store, NOW + timedelta(hours=1))
        assert f"active sweep: plan first, host {socket.gethostname()}" in run(store.root).output
    of = {count.name: (count.running, count.missing) for count in found.models}
    assert of == {"a": (1, 0), "b": (4, 0), "c": (0, 1)}
    assert found.eta_seconds is not None
    assert status(store, NOW).total.running == 0


def test_the_rate_is_of_the_last_hour_of_work(store: ResultStore) -> None:
    finish(store, keys("a", 9, 9), NOW - timedelta(days=2))
    assert status(store, NOW).units_per_minute == pytest.approx(0.5)


def test_time_left_weighs_units_by_what_their_model_costs(tmp_path: Path) -> None:
    """Two workers' worth of work a second; a unit of `large` costs ten of `small`."""
    store = open_store(tmp_path / "out", create=True)
    units = [keys(model, 0, seed) for model in ("large", "small") for seed in range(6)]
    plan(store, "p", units)
    finish(store, units[6], NOW - timedelta(seconds=20), seconds=2)
    for seed in range(3):
        finish(store, units[seed], NOW - timedelta(seconds=10), seconds=20)
    finish(store, units[7], NOW, seconds=2)
    finish(store, units[8], NOW, seconds=2)
    work_per_second = (3 * 20 + 2 * 2) / 20
    assert status(store, NOW).eta_seconds == pytest.approx((3 * 20 + 3 * 2) / work_per_second)


def test_a_store_that_nobody_works_on_has_no_end(store: ResultStore) -> None:
    assert status(store, NOW).eta_seconds is not None
    assert status(store, NOW + timedelta(hours=1)).eta_seconds is None


def test_a_plan_kept_without_its_units_is_said(store: ResultStore) -> None:
    next((store.root / "plans").glob("*.units.parquet")).unlink()
    shown = run(store.root)
    assert "its record of units is lost or changed; give its sweep command again to write it" in shown.output
    assert status(store, NOW).total.units == 3


def test_a_plan_with_a_damaged_record_is_named(store: ResultStore) -> None:
    record = next((store.root / "plans").glob("*.units.parquet"))
    record.write_bytes(record.read_bytes()[:-30])
    assert record.name.removesuffix(".units.parquet") in status(store, NOW).unrecorded
    assert "its record of units is lost or changed; give its sweep command again" in run(store.root).output


def test_all_is_not_done_where_a_record_is_lost(results: Path, tmp_path: Path) -> None:
    out = shutil.copytree(results, tmp_path / "out")
    assert run(out).exit_code == 0
    next((out / "plans").glob("*.units.parquet")).unlink()
    assert run(out).exit_code == 1


def test_the_command_reads_in_text_and_json_and_exits_by_what_is_done(store: ResultStore, results: Path) -> None:
    shown = run(store.root)
    assert shown.exit_code == 1
    rows = [line.split() for line in shown.output.splitlines()]
    assert rows[:4] == [
        ["model", "units", "done", "running", "failed", "missing"],
        ["a", "4", "2", "0", "1", "1"],
        ["b", "4", "0", "0", "0", "4"],
        ["all", "8", "2", "0", "1", "5"],
    ]
    assert "failed, 1 units: FailedCheck: parts miss the logits by nan" in shown.output
    done = run(results, "--json")
    assert done.exit_code == 0
    assert json.loads(done.output)["total"] == {
        "name": "all", "units": 20, "done": 20, "running": 0, "failed": 0, "missing": 0,
    }  # fmt: skip
    assert run(store.root / "elsewhere").exit_code == 2


def test_the_record_holds_every_unit_and_what_is_asked_of_it(results: Path) -> None:
    (record,) = (pl.read_parquet(path) for path in (results / "plans").glob("*.units.parquet"))
    assert record.columns == PLANNED.names
    assert len(record) == 20
    asked = [fit.fit_id for fit in read_plan(results.parent / "plan.toml").fits.all]
    assert asked
    assert record["fit_ids"].to_list() == [asked] * 20


def test_status_needs_no_torch() -> None:
    code = "import sys, jobs.unit_states; sys.exit(' '.join({'torch', 'ray'} & set(sys.modules)) or 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
