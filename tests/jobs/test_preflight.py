"""`jobs.plan` tells what a sweep would do before it does it, and refuses what cannot be done."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dynamics.checkpoints import find_checkpoints
from dynamics.errors import CheckpointError, UnsupportedModel
from dynamics.loading import load_model, load_tokenizer
from dynamics.results.store import open_store, scan
from jobs.plan import app
from jobs.sweep import app as sweep_app
from tests import hub_models as models
from tests.hub_server import FakeHub

REPO = "EleutherAI/pythia-14m"
TASK = '[[tasks]]\nname = "sentiment"\ntemplates = ["plain"]\ndemo_seeds = 2\nn_test = 8\nn_train = 2\n'


def write_plan(path: Path, model: str = "", hub: str = "") -> Path:
    """A plan of two units a checkpoint."""
    path.write_text(f'name = "look"\n[[models]]\nid = "{REPO}"\n{model}\n{TASK}[hub]\n{hub}\n')
    return path


def look(plan: Path, *options: str) -> Result:
    """`python -m jobs.plan`, in this process."""
    return CliRunner().invoke(app, [str(plan), *options])


def report(plan: Path, *options: str) -> dict:
    """Its JSON."""
    result = look(plan, "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def filled(hub: FakeHub) -> FakeHub:
    """Four steps: two alike, one sharded, one with both formats; and the last one."""
    for step, files in enumerate([models.single(0), models.single(0), models.sharded(2), models.both(3)]):
        hub.add(REPO, f"step{step}", files)
    hub.add(REPO, "step143000", models.single(9))
    return hub


@pytest.mark.usefixtures("filled")
def test_what_standard_and_prompts_owe_is_counted_and_its_checkpoints_are_fetched(tmp_path: Path) -> None:
    def plan(*, baselines: bool) -> Path:
        path = write_plan(tmp_path / "plan.toml", "steps = [2]")
        switch = f'device = "cpu"\nprompting_baselines = {str(baselines).lower()}\n'
        path.write_text(switch + path.read_text().replace("[hub]", "[fits]\nn_labelled = [6]\n[hub]"))
        return path

    out = tmp_path / "out"
    swept = CliRunner().invoke(sweep_app, [str(plan(baselines=False)), "--out", str(out), "--executor", "inline"])
    assert swept.exit_code == 0, swept.output
    done = report(plan(baselines=False), "--out", str(out))
    assert (done["n_done"], done["n_baselines"], done["file_requests"]) == (2, 0, 0)
    owed = report(plan(baselines=True), "--out", str(out))
    assert (owed["n_done"], owed["n_baselines"]) == (2, 2 * 2)
    assert owed["file_requests"] > 0
    assert owed["download_bytes"] > 0
    assert "and 4 passes over units' test rows" in look(plan(baselines=True)).output


def test_no_weights_are_downloaded(filled: FakeHub, tmp_path: Path) -> None:
    found = report(write_plan(tmp_path / "plan.toml", "steps = { from = 0, to = 3, every = 1 }"))
    assert set(filled.files) <= set(models.SETUP)
    assert filled.requests["GET refs"] == 1
    assert filled.requests["GET tree"] == 5
    assert found["api_calls"] == 1
    assert found["api_limit"] == 500
    assert [c["commit_sha"] for c in found["checkpoints"]] == [filled.branches[REPO][f"step{i}"] for i in range(4)]
    assert [c["weights"] for c in found["checkpoints"]] == ["safetensors"] * 4
    assert [c["flags"] for c in found["checkpoints"]] == [["duplicate"], ["duplicate"], [], []]
    assert (found["n_units"], found["n_done"]) == (8, 0)


def test_what_it_says_is_what_the_sweep_does(filled: FakeHub, tmp_path: Path) -> None:
    """Bytes of the download, of the disk and of the results before compression."""
    plan = write_plan(tmp_path / "plan.toml", "steps = [0, 1, 2, 3]", "keep = true")
    found = report(plan)
    out = tmp_path / "out"
    before = set((tmp_path / "cache").glob("models--*/blobs/*"))
    filled.reset_counts()
    assert CliRunner().invoke(sweep_app, [str(plan), "--out", str(out), "--executor", "inline"]).exit_code == 0
    assert filled.requests["GET refs"] + filled.requests["GET tree"] == found["api_calls"]
    assert filled.requests["GET file"] + filled.requests["HEAD file"] <= found["file_requests"]
    blobs = set((tmp_path / "cache").glob("models--*/blobs/*")) - before
    assert sum(path.stat().st_size for path in blobs) == found["download_bytes"]
    contributions = scan(open_store(out), "contributions").collect()
    assert contributions["contributions"].list.len().sum() * 4 == found["contributions_bytes"]
    predictions = scan(open_store(out), "predictions").collect()
    assert predictions["predictions"].list.len().sum() == found["predictions_bytes"]
    again = report(plan, "--out", str(out))
    assert (again["n_done"], again["download_bytes"], again["contributions_bytes"]) == (8, 0, 0)


@pytest.mark.usefixtures("filled")
def test_disk_at_once(tmp_path: Path) -> None:
    sizes = [c.remote.n_bytes for c in find_checkpoints(REPO, [0, 1, 2, 3]) if c.remote]
    plan = tmp_path / "plan.toml"
    ahead = write_plan(plan, "steps = [0, 1, 2, 3]", "ahead = 1")
    assert report(ahead)["peak_disk_bytes"] == max(a + b for a, b in pairwise(sizes))
    small = write_plan(plan, "steps = [0, 1, 2, 3]", f"disk_gb = {1.5 * sizes[2] / 1e9!r}")
    assert report(small)["peak_disk_bytes"] == int(1.5 * sizes[2])


@pytest.mark.usefixtures("filled")
def test_memory_of_a_worker_follows_the_files(tmp_path: Path) -> None:
    """The tiny models are float32: four bytes a parameter in the file, four more in memory."""
    (model,) = report(write_plan(tmp_path / "plan.toml", "steps = [0]"))["models"]
    (step,) = (c for c in find_checkpoints(REPO, [0]))
    assert step.remote is not None
    assert model["n_components"] == 1 + 2 * (4 + 1 + 1)
    assert model["worker_bytes"] == 700_000_000 + 2 * step.remote.weights[0].size


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("steps = [0, 5, 142000]", "", r"no revision for 2 .* 5 \(nearest: 3 and 143000\), 142000 \(nearest: 3 and"),
        ('steps = "paper"', "", r"no revision for 30 of the requested steps"),
        ('steps = "early"', "", r"has no grid 'early'; give all, dense, linear, log, paper, a list"),
        ("steps = { from = 0, to = 9, evry = 1 }", "", r"models.0.steps = .*give .* every = 100"),
        ("steps = [-1]", "", r"models.0.steps = .*give 'all'"),
        ("steps = [0]\npatern = 'x'", "", r"did you mean 'pattern'"),
        ("steps = [0]\npattern = 'x'", "", r"pattern 'x' must hold"),
        (
            "steps = [0]",
            "disk_gb = 0.00001",
            r"disk_gb = 1e-05 is less than one checkpoint: .*@step0 takes 0.000101 GB",
        ),
        ("steps = [0, 2]", "disk_gb = 0.00015\nkeep = true", r"keep = true would leave 0.00020\d GB in the cache"),
        ("steps = [0]", "disk_gb = 0", r"disk_gb"),
    ],
)
def test_plans_that_cannot_run(filled: FakeHub, tmp_path: Path, model: str, settings: str, message: str) -> None:
    plan = write_plan(tmp_path / "plan.toml", model, settings)
    out = tmp_path / "out"
    swept = CliRunner().invoke(sweep_app, [str(plan), "--out", str(out), "--executor", "inline"])
    for result in (look(plan), swept):
        assert result.exit_code == 2
        assert re.search(message, result.output), result.output
    assert not [name for name in filled.files if name.endswith(".safetensors")]


def test_pickle_must_be_allowed_by_name(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(REPO, "step0", models.single(0))
    hub.add(REPO, "step1", models.pickled(1))
    hub.add(REPO, "step2", models.pickled(2, 2))
    refused = look(write_plan(tmp_path / "plan.toml", "steps = [0, 1, 2]"))
    assert refused.exit_code == 2
    assert "@step1 has its weights as pickle (.bin) only; add allow_pickle = true" in refused.output
    assert "(and 1 more such steps)" in refused.output
    allowed = report(write_plan(tmp_path / "plan.toml", "steps = [0, 1, 2]\nallow_pickle = true"))
    assert [c["weights"] for c in allowed["checkpoints"]] == ["safetensors", "bin", "bin"]
    skipped = report(write_plan(tmp_path / "plan.toml", 'steps = [0, 1, 2]\nmissing = "skip"'))
    assert [c["step"] for c in skipped["checkpoints"]] == [0]


def test_quarantined_steps_are_listed_and_not_counted(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(REPO, "step0", models.sharded(0))
    hub.add(REPO, "step1000", models.chimera(1, 3))
    hub.add(REPO, "step143000", models.sharded(3))
    result = look(write_plan(tmp_path / "plan.toml", "steps = [0, 1000, 143000]"))
    assert (
        "step1000 [quarantined]: model-00001-of-00002.safetensors is the same file as in step 143000" in result.output
    )
    assert "; skipped" in result.output
    assert "look: 4 units" in result.output
    anyway = report(write_plan(tmp_path / "plan.toml", 'steps = [0, 1000, 143000]\nquarantined = "run"'))
    assert anyway["n_units"] == 6


@pytest.mark.usefixtures("filled")
def test_an_estimate_from_one_checkpoint(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", "steps = [2, 3]")
    one, two = report(plan, "--time"), report(plan, "--time", "--workers", "2")
    measured = one["timing"]
    assert measured["checkpoint"] == f"{REPO} step 2 in float32"
    compute = 2 * (measured["load_seconds"] + 2 * measured["unit_seconds"]["sentiment"])
    sizes = sum(c.remote.n_bytes for c in find_checkpoints(REPO, [2, 3]) if c.remote)
    assert one["hours"] == pytest.approx(max(compute, sizes / measured["bytes_per_second"]) / 3600)
    assert two["hours"] > 0
    assert not list((tmp_path / "cache").glob("models--*/snapshots/*/*.safetensors"))
    assert "estimate: " in look(plan, "--time").output


def test_a_local_plan_needs_no_network(hub: FakeHub, tmp_path: Path) -> None:
    for step in (0, 4):
        (tmp_path / "run" / f"checkpoint-{step}").mkdir(parents=True)
        for name, content in models.pickled(step).items():
            (tmp_path / "run" / f"checkpoint-{step}" / name).write_bytes(content)
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f'name = "local"\n[[models]]\nid = "mine"\nfolder = "{tmp_path / "run"}"\nallow_pickle = true\n{TASK}'
    )
    found = report(plan)
    assert [(c["revision"], c["weights"], c["download_bytes"]) for c in found["checkpoints"]] == [
        ("checkpoint-0", "bin", 0),
        ("checkpoint-4", "bin", 0),
    ]
    said = look(plan).output
    assert "local: 4 units (2 checkpoints x 2 sets of prompts: tasks, templates, shots and seeds), 0 already" in said
    assert "Hub" not in said
    assert "to download" not in said
    swept = CliRunner().invoke(sweep_app, [str(plan), "--out", str(tmp_path / "out"), "--executor", "inline"])
    assert swept.exit_code == 0, swept.output
    assert not hub.requests


def local_plan(path: Path, folder: Path, extra: str = "") -> Path:
    """A plan of the steps in a folder, two units each."""
    path.write_text(f'name = "local"\n{extra}\n[[models]]\nid = "mine"\nfolder = "{folder}"\n{TASK}')
    return path


def write_steps(root: Path, steps: dict[str, dict[str, bytes]]) -> Path:
    """Folders of steps with these files."""
    for name, files in steps.items():
        (root / name).mkdir(parents=True)
        for file, content in files.items():
            (root / name / file).write_bytes(content)
    return root


def without(files: models.Files, *names: str) -> models.Files:
    return {name: content for name, content in files.items() if name not in names}


def with_config(files: models.Files, **changes: object) -> models.Files:
    return files | {"config.json": json.dumps({**json.loads(files["config.json"]), **changes}).encode()}


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
UNUSABLE: dict[str, tuple[Callable[[], models.Files], str]] = {
    "no weights": (models.setup_files, "copy the weights there, or leave the step out"),
    "pickle": (lambda: models.pickled(1), "has its weights as pickle (.bin) only; add allow_pickle = true"),
    "pointer": (lambda: models.single(1) | {"model.safetensors": POINTER}, "is a Git LFS pointer, not the file"),
    "no tokenizer": (lambda: without(models.single(1), "tokenizer.json"), "tokenizer.json is missing"),
    "tokenizer pointer": (
        lambda: models.single(1) | {"tokenizer.json": POINTER},
        "tokenizer.json is a Git LFS pointer",
    ),
    "no config": (lambda: without(models.single(1), "config.json"), "config.json is missing"),
    "family": (lambda: with_config(models.single(1), model_type="gptj"), "unknown model_type 'gptj'"),
    "rescaled": (lambda: with_config(models.single(1), logit_scale=2), "config key logit_scale = 2"),
    "quantised": (lambda: with_config(models.single(1), quantization_config={"quant_method": "gptq"}), "'gptq'"),
    "adapter": (
        lambda: models.setup_files() | {"adapter_config.json": b"{}", "adapter_model.safetensors": b""},
        "it is an adapter only; merge it",
    ),
    "FSDP": (
        lambda: models.setup_files() | {".metadata": b"", "__0_0.distcp": b""},
        "it holds FSDP shards (.distcp); write one file of them: accelerate merge-weights",
    ),
    "tie": (lambda: with_config(models.single(1), tie_word_embeddings=None), "tie_word_embeddings = None must be true"),
    "heads": (lambda: with_config(models.single(1), num_attention_heads=5), "heads = 5 does not divide hidden_size = "),
    "rope": (
        lambda: with_config(models.single(1), rope_scaling={"type": "lineer"}),
        "config key rope_scaling: unknown rope_type 'lineer'; did you mean 'linear'?",
    ),
    "rope of a layer": (
        lambda: with_config(models.single(1), rope_parameters={"full_attention": {"rope_type": "zigzag"}}),
        "config key rope_parameters: unknown rope_type 'zigzag'",
    ),
    "bitsandbytes": (
        lambda: with_config(models.single(1), quantization_config={"quant_method": "bitsandbytes"}),
        "'bitsandbytes'",
    ),
    "stub of a tokenizer": (
        lambda: models.single(1) | {"tokenizer.json": b"{}"},
        "is not a tokenizer that can be read",
    ),
    "shard": (lambda: without(models.sharded(1), "model-00002-of-00002.safetensors"), "lacks 1 of the 2 shards"),
    "index": (
        lambda: without(models.sharded(1), "model.safetensors.index.json"),
        "but no model.safetensors.index.json",
    ),
    "cut off": (
        lambda: models.single(1) | {"model.safetensors": models.single(1)["model.safetensors"][:-9]},
        "cut off",
    ),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_cannot_be_opened_cannot_be_planned(kind: str, tmp_path: Path) -> None:
    """With the words of the sweep."""
    files, message = UNUSABLE[kind]
    run = write_steps(tmp_path / "run", {"step1": files()})
    refused = look(local_plan(tmp_path / "plan.toml", run))
    assert refused.exit_code == 2
    assert message in refused.output
    assert "mine step 1: " in refused.output
    assert len(refused.output.strip().splitlines()) == 1
    (faulty,) = find_checkpoints("mine", folder=run)
    with pytest.raises((CheckpointError, UnsupportedModel)) as error:
        load_model(faulty), load_tokenizer(faulty)
    assert str(error.value) in refused.output


def test_steps_that_cannot_be_opened_are_counted_and_are_no_duplicates(tmp_path: Path) -> None:
    steps = {"step0": models.single(0)} | {f"step{i}": models.setup_files() for i in (1, 2, 3)}
    run = write_steps(tmp_path / "run", steps)
    refused = look(local_plan(tmp_path / "plan.toml", run))
    assert "(and 2 more such checkpoints)" in refused.output
    assert [c.flags for c in find_checkpoints("mine", folder=run)] == [(), (), (), ()]


def test_what_is_done_is_not_checked_any_more(tmp_path: Path) -> None:
    """A plan asks for what its sweep would open."""
    run = write_steps(tmp_path / "run", {"step0": models.single(0), "step1": models.single(1)})
    plan, out = local_plan(tmp_path / "plan.toml", run), tmp_path / "out"
    assert CliRunner().invoke(sweep_app, [str(plan), "--out", str(out), "--executor", "inline"]).exit_code == 0
    for step in ("step0", "step1"):
        (run / step / "adapter_config.json").write_text("{}")
    assert "holds full weights and an adapter" in look(plan).output
    assert report(plan, "--out", str(out))["n_done"] == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gptj"}, r"unknown model_type 'gptj'.*dynamics/families"),
        ({"quantization_config": {"quant_method": "awq"}}, "'awq'"),
        ({"logit_scale": 0.1}, "config key logit_scale"),
    ],
)
def test_a_model_of_the_hub_is_refused_by_its_config_before_its_weights(
    hub: FakeHub, tmp_path: Path, changes: dict, message: str
) -> None:
    for step in (0, 1):
        hub.add(REPO, f"step{step}", with_config(models.single(step), **changes))
    hub.add(REPO, "step143000", models.single(9))
    refused = look(write_plan(tmp_path / "plan.toml", "steps = [0, 1]"))
    assert refused.exit_code == 2
    assert re.search(message, refused.output), refused.output
    assert not [name for name in hub.files if name.endswith(".safetensors")]
    assert hub.requests["GET file"] <= len(models.SETUP)


def test_checking_a_folder_imports_no_torch(tmp_path: Path) -> None:
    run = write_steps(tmp_path / "run", {"step0": models.single(0), "step1": models.sharded(1)})
    plan = local_plan(tmp_path / "plan.toml", run)
    code = (
        "import sys\nfrom jobs.plan import app\n"
        f"app([{str(plan)!r}], standalone_mode=False)\n"
        "sys.exit(' '.join({'torch', 'transformers'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "local: 4 units" in done.stdout


def test_cuda_without_a_gpu_is_refused_unless_workers_request_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_steps(tmp_path / "run", {"step0": models.single(0)})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    plan = local_plan(tmp_path / "plan.toml", run, 'device = "cuda"')
    swept = CliRunner().invoke(sweep_app, [str(plan), "--out", str(tmp_path / "out"), "--executor", "inline"])
    for refused in (look(plan), swept):
        assert refused.exit_code == 2
        assert "device = 'cuda', but no worker requests a GPU and torch finds no CUDA" in refused.output
    requested = local_plan(tmp_path / "plan.toml", run, 'device = "cuda"\nresources = { num_gpus = 1 }')
    assert look(requested).exit_code == 0
    swept = CliRunner().invoke(sweep_app, [str(requested), "--out", str(tmp_path / "out"), "--executor", "inline"])
    assert swept.exit_code == 1
    assert "PlanError: device = 'cuda', but this worker has 0 CUDA devices" in swept.output


def test_two_matrices_under_a_config_that_ties_them_are_flagged(hub: FakeHub, tmp_path: Path) -> None:
    """In the plan for a folder; in the rows for a model of the Hub too, whose weights a plan does not see."""
    files = with_config(models.single(0), tie_word_embeddings=True)
    run = write_steps(tmp_path / "run", {"step0": files})
    hub.add(REPO, "step0", files)
    hub.add(REPO, "step143000", models.single(9))
    assert "step0 [untied]: config.json ties" in look(local_plan(tmp_path / "local.toml", run)).output
    for i, plan in enumerate(
        [local_plan(tmp_path / "local.toml", run), write_plan(tmp_path / "p.toml", "steps = [0]")]
    ):
        out = tmp_path / f"out{i}"
        swept = CliRunner().invoke(sweep_app, [str(plan), "--out", str(out), "--executor", "inline"])
        assert swept.exit_code == 0, swept.output
        assert scan(open_store(out), "units").collect()["flags"].to_list() == [["untied"], ["untied"]]


def test_two_matrices_in_a_pickle_are_flagged_in_the_rows(tmp_path: Path) -> None:
    """Which a plan does not open; the note is in the rows too."""
    run = write_steps(tmp_path / "run", {"step0": with_config(models.pickled(0), tie_word_embeddings=True)})
    plan = tmp_path / "plan.toml"
    plan.write_text(f'name = "l"\n[[models]]\nid = "mine"\nfolder = "{run}"\nallow_pickle = true\n{TASK}')
    assert "untied" not in look(plan).output
    swept = CliRunner().invoke(sweep_app, [str(plan), "--out", str(tmp_path / "out"), "--executor", "inline"])
    assert swept.exit_code == 0, swept.output
    units = scan(open_store(tmp_path / "out"), "units").collect()
    assert units["flags"].to_list() == [["untied"], ["untied"]]
    assert units["notes"].list.first().str.starts_with("config.json ties embedding and unembedding").all()


def test_a_step_that_is_not_its_names_is_said_by_plan_and_sweep(tmp_path: Path) -> None:
    run = write_steps(tmp_path / "run", {"checkpoint-5": models.single(5)})
    (run / "checkpoint-5/trainer_state.json").write_text('{"global_step": 50}')
    plan, out = local_plan(tmp_path / "plan.toml", run), tmp_path / "out"
    swept = CliRunner().invoke(sweep_app, [str(plan), "--out", str(out), "--executor", "inline"])
    for result in (look(plan), swept):
        assert result.exit_code == 0, result.output
        assert "mine checkpoint-5: its name says step 5, its trainer_state.json step 50, which is used" in result.output
    assert scan(open_store(out), "units").collect()["step"].unique().to_list() == [50]
