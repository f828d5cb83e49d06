"""The doctor against a local Hub: what is sound is said so, each fault has its line with a remedy, none ends it."""

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from jobs.doctor import app
from tests import hub_models as models
from tests.hub_server import FakeHub, Fault

REPO, DATASET = "EleutherAI/pythia-14m", "datasets/stanfordnlp/sst2"
PATH = "data/validation-00000-of-00001.parquet"


def sst2(names: list[str] | None, n: int = 872) -> bytes:
    """The validation split, with the names that `datasets` gives to labels, in words of the test model's tokenizer."""
    table = pl.DataFrame({"sentence": ["good"] * n, "label": [0, 1] * (n // 2)}).to_arrow()
    if names is not None:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pyarrow.parquet.write_table(table, buffer := io.BytesIO())
    return buffer.getvalue()


def examined(hub: FakeHub, folder: Path, dataset: Mapping[str, bytes], tasks: str = "sst2") -> Result:
    """The doctor's lines for two checkpoints and a task."""
    hub.add(DATASET, "main", dataset)
    hub.add(REPO, "step0", models.sharded(0))
    hub.add(REPO, "step1", models.single(1))
    plan = folder / "plan.toml"
    plan.write_text(f'name = "x"\n[[models]]\nid = "{REPO}"\nsteps = [0, 1]\n[[tasks]]\nname = "{tasks}"\n')
    return CliRunner().invoke(app, [str(plan)])


def test_what_is_sound_is_said_so_and_no_weights_are_fetched(hub: FakeHub, tmp_path: Path) -> None:
    hub.store, hub.xet = f"http://localhost:{hub.endpoint.rsplit(':', 1)[1]}", False
    result = examined(hub, tmp_path, {PATH: sst2(["negative", "positive"])})
    lines = result.output
    assert f"ok    dataset stanfordnlp/sst2 (sst2): {PATH} at main" in lines
    assert "content comes from localhost:" in lines
    assert "872 rows" in lines
    assert "negative is 'negative', positive is 'positive'" in lines
    assert f"ok    {REPO}@step1: config.json, tokenizer.json, tokenizer_config.json, hashes as listed" in lines
    assert f"ok    {REPO}@step1 tokenizer: " in lines
    assert not [path for path in hub.files if path.endswith(".safetensors")]
    # the tiny tokenizer knows no word of the task's templates, which is what the last line is for
    assert result.exit_code == 1
    assert f"FAIL  {REPO}@step1 with sst2: task sst2" in lines


FAULTS: Mapping[str, tuple[Mapping[str, bytes], list[Fault], str]] = {
    "labels in another order": ({PATH: sst2(["positive", "negative"])}, [], "labels: .*another order or number"),
    "another label": ({PATH: sst2(["negative", "neutral", "positive"])}, [], "labels: .*another order or number"),
    "other rows": ({PATH: sst2(None, 870)}, [], "870 rows, 872 were published; pin its commit"),
    "no such split": ({"data/other.parquet": sst2(None)}, [], r"neither this file nor .*\[revisions\]"),
    "altered": ({PATH: sst2(None)}, [Fault("flip", "/datasets/.*parquet", times=9)], "twice; the server or a proxy"),
    "a login page": (
        {PATH: sst2(None)},
        [Fault("status", "/refs", status=200, body="<p>Sign in", times=9)],
        "'Sign in'",
    ),
    "refused": (
        {PATH: sst2(None)},
        [Fault("status", "models.*/tree/", status=403, times=9)],
        "FAIL  checkpoints: .*403",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_has_its_line(hub: FakeHub, tmp_path: Path, kind: str) -> None:
    dataset, hub.faults, line = FAULTS[kind]
    hub.faults = [Fault(**fault.__dict__) for fault in hub.faults]
    result = examined(hub, tmp_path, dataset)
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    failed = [said for said in result.output.splitlines() if said.startswith("FAIL")]
    assert any(re.search(line, said) for said in failed), result.output


def test_a_file_found_by_name_is_said(hub: FakeHub, tmp_path: Path) -> None:
    result = examined(hub, tmp_path, {"data/validation.parquet": sst2(None)})
    assert "data/validation.parquet at main" in result.output
    assert f"found by name instead of {PATH}" in result.output
    assert "the file does not name them" in result.output
    assert "of another format" not in result.output


def test_a_file_of_another_format_is_said(hub: FakeHub, tmp_path: Path) -> None:
    result = examined(hub, tmp_path, {"data/validation.parquet": sst2(None), "data/validation.csv": b"x"})
    assert "; not data/validation.csv, of another format" in result.output


def test_a_dataset_that_is_not_on_the_hub_and_a_wrong_plan(hub: FakeHub, tmp_path: Path) -> None:
    result = examined(hub, tmp_path, {}, tasks="mednli")
    assert "FAIL  dataset physionet/mednli (mednli): it is not on the Hub" in result.output
    assert examined(hub, tmp_path, {}, tasks="nothing").exit_code == 2
