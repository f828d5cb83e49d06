"""Every single file of a results folder, lost or changed: verify names it, and the same sweep restores its rows."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

import analysis
from dynamics.errors import StoreError
from dynamics.results.file_names import ADDED, OPTIONAL
from dynamics.results.schema import TABLES
from jobs.derive import app as derive_app
from jobs.sweep import app as sweep_app
from jobs.verify import app as verify_app
from tests.jobs.test_verify import ROWS
from tests.models import write_plan

FITTED = ["prompt_scores", "reweightings"]
FILES = {
    "store.json": "store.json",
    "plan": "plans/*.toml",
    "planned units": "plans/*.units.parquet",
    **{
        f"{table} of step {step}": f"{table}/*/step={step}/sentiment-" + "[0-9a-f]" * 16 + ".parquet"
        for table in TABLES
        if table not in OPTIONAL
        for step in (0, 4)
    },
    **{f"fits in {table} of step {step}": f"{table}/*/step={step}/*.*.parquet" for table in FITTED for step in (0, 4)},
    **{f"{table} of step {step}": f"{table}/*/step={step}/*.*.parquet" for table in ADDED for step in (0, 4)},
}
"""Name -> the one file of the folder that matches."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, suite_folder: Path) -> Path:
    """Results of two steps and one task, with fits that have weights and with mechanisms; read only."""
    root = tmp_path_factory.mktemp("swept")
    tasks = [{"name": "sentiment", "templates": ["plain"], "demo_seeds": 2, "n_test": 12, "n_train": 10}]
    measured = {"mechanisms": ["copying", "ablation"], "ablation": {"k": 1}}
    write_plan(root / "plan.toml", suite_folder, tasks=tasks, fits={"n_labelled": [8]}, **measured)
    assert sweep(root / "plan.toml", root / "out").exit_code == 0
    return root / "out"


@pytest.fixture
def out(swept: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return shutil.copytree(swept, tmp_path / "out")


def sweep(plan: Path, out: Path) -> Result:
    return CliRunner().invoke(sweep_app, [str(plan), "--out", str(out), "--executor", "inline"])


def verify(out: Path, *options: str) -> Result:
    return CliRunner().invoke(verify_app, [str(out), *options])


def rows_of(out: Path) -> dict[str, list[tuple]]:
    return {table: analysis.load(out, table).sort(keys).collect().rows() for table, keys in ROWS.items()}


def one(out: Path, name: str) -> Path:
    (path,) = out.glob(FILES[name])
    return path


def flip(share: float) -> Callable[[Path], None]:
    """Change a bit of the byte at this share of a file."""

    def apply(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(share * (len(data) - 1))] ^= 1
        path.write_bytes(data)

    return apply


CHANGES: dict[str, Callable[[Path], object]] = {
    "lost": Path.unlink,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "a bit": flip(0.3),
}
NAMED_ONLY: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "nested": lambda path: path.write_bytes(b"[" * 100_000),
    **{f"a bit at {share}": flip(share) for share in (0.0, 0.5, 0.95)},
}


def test_the_list_names_every_file_once(swept: Path) -> None:
    assert sorted(one(swept, name) for name in FILES) == sorted(path for path in swept.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_lost_or_changed_file_is_named_and_restored(out: Path, swept: Path, name: str, change: str) -> None:
    CHANGES[change](path := one(out, name))
    found = verify(out)
    assert found.exit_code == 1, found.output
    if path.exists():
        assert path.name in found.output
    if change != "lost":  # what is lost, the same sweep restores alone
        assert verify(out, "--repair").exit_code == 1
    restored = sweep(swept.parent / "plan.toml", out)
    assert restored.exit_code == 0, restored.output
    assert verify(out).exit_code == 0, verify(out).output
    assert rows_of(out) == rows_of(swept)


@pytest.mark.parametrize("change", NAMED_ONLY)
def test_a_changed_file_is_named(out: Path, change: str) -> None:
    for path in (one(out, name) for name in FILES if not name.endswith("4")):
        whole = path.read_bytes()
        NAMED_ONLY[change](path)
        found = verify(out)
        assert found.exit_code == 1, (path, found.output)
        assert path.name in found.output
        quick = verify(out, "--quick")
        assert quick.exit_code in (0, 1), (path, quick.output)
        path.write_bytes(whole)


@pytest.mark.parametrize("table", TABLES)
def test_no_table_is_read_from_a_changed_file(out: Path, table: str) -> None:
    path = min((out / table).rglob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[pq.read_metadata(path).row_group(0).column(0).data_page_offset + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=f"{path.name} is changed since it was written"):
        analysis.load(out, table)


@pytest.mark.parametrize("name", ["store.json", "plan"])
def test_derive_reads_no_settings_from_a_changed_file(out: Path, name: str) -> None:
    path = one(out, name)
    path.write_text(path.read_text().replace("8]", "9]").replace('"schema_version": 1', '"schema_version": x'))
    refused = CliRunner().invoke(derive_app, [str(out)])
    assert refused.exit_code == 2
    assert path.name in refused.output
    assert "give the same sweep command again" in refused.output or "the sweep command of that plan" in refused.output


def test_a_marker_of_other_versions_is_named(out: Path, swept: Path) -> None:
    (out / "store.json").write_text('{"schema_version": 1, "identity_version": 1}')
    found = verify(out)
    assert found.exit_code == 1
    assert "says other versions of schema and ids, 1 and 1, than the files, 1 and 2" in found.output
    assert "delete it and give the same sweep command again" in found.output
    (out / "store.json").unlink()
    assert sweep(swept.parent / "plan.toml", out).exit_code == 0
    assert verify(out).exit_code == 0


def test_a_folder_of_files_with_ids_of_another_version_is_not_taken_for_one_of_this(out: Path, swept: Path) -> None:
    for path in out.rglob("*.parquet"):
        path.write_bytes(path.read_bytes().replace(b"identity_version\x18\x012", b"identity_version\x18\x011"))
    (out / "store.json").unlink()
    refused = sweep(swept.parent / "plan.toml", out)
    assert refused.exit_code == 2
    assert "was written with ids of version 1" in refused.output
