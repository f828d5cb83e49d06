"""A tokenizer that a plan names: used for all steps in place of their own, part of a unit's identity and its row."""

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from dynamics.checkpoints import find_checkpoints
from dynamics.decomposition import decompose
from dynamics.errors import CheckpointError, PlanError, PromptError
from dynamics.loading import load_model, load_tokenizer
from dynamics.prompts import build_prompts
from dynamics.results.store import open_store, read_units, scan
from dynamics.tasks import get_task
from jobs.doctor import app as doctor_app
from jobs.plan import app as plan_app
from jobs.sweep import app as sweep_app
from jobs.sweep_plan import read_plan
from tests import hub_models as models
from tests.hub_server import FakeHub
from tests.works import works_of

REPO, SOURCE = "someone/suite", "someone/tokenizer"
FILES = models.SETUP[1:]
TASK = '[[tasks]]\nname = "sentiment"\ntemplates = ["plain"]\ndemo_seeds = 1\nn_test = 8\nn_train = 2\n'


def bare(seed: int) -> models.Files:
    """A checkpoint as some repositories have it: vocabulary and merges, no tokenizer.json."""
    files = {name: content for name, content in models.single(seed).items() if name not in FILES}
    return files | {"vocab.json": b'{"a": 0}', "merges.txt": b"#version: 0.2\n"}


def tokenizer_files() -> models.Files:
    return {name: content for name, content in models.setup_files().items() if name in FILES}


def permuted() -> models.Files:
    """The same words with other ids."""
    content = json.loads(tokenizer_files()["tokenizer.json"])
    words = list(content["model"]["vocab"])
    content["model"]["vocab"] = {word: i for i, word in enumerate([*words[:2], *reversed(words[2:])])}
    return tokenizer_files() | {"tokenizer.json": json.dumps(content).encode()}


def write(folder: Path, files: models.Files) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def plan_of(path: Path, tokenizer: str | None, model: str = f'id = "{REPO}"') -> Path:
    key = "" if tokenizer is None else f"tokenizer = {json.dumps(tokenizer)}"
    path.write_text(f'name = "named"\n[[models]]\n{model}\n{key}\n{TASK}')
    return path


def sweep(plan: Path, out: Path):
    return CliRunner().invoke(sweep_app, [str(plan), "--out", str(out), "--executor", "inline"])


@pytest.fixture
def suite(hub: FakeHub) -> FakeHub:
    """Two steps without a tokenizer of their own that can be used, and a repository with one."""
    hub.add(REPO, "step0", bare(0))
    hub.add(REPO, "step1", bare(1) | {"tokenizer.json": b"{}"})
    hub.add(SOURCE, "main", tokenizer_files() | {"README.md": b"x"})
    return hub


def test_rows_are_those_of_the_checkpoint_with_these_files(suite: FakeHub, tmp_path: Path) -> None:
    """Of a stub and of no tokenizer alike; fetched once, verified, and named in the rows with commit and hash."""
    named = plan_of(tmp_path / "plan.toml", f"{SOURCE}@main")
    assert CliRunner().invoke(plan_app, [str(named)]).exit_code == 0
    swept = sweep(named, tmp_path / "out")
    assert swept.exit_code == 0, swept.output
    assert suite.files["tokenizer.json"] == 1
    own = write(tmp_path / "run" / "step0", models.single(0)).parent
    write(own / "step1", models.single(1))
    assert (
        sweep(plan_of(tmp_path / "own.toml", None, f'id = "mine"\nfolder = "{own}"'), tmp_path / "own").exit_code == 0
    )

    def full(out: Path) -> pl.DataFrame:
        found = scan(open_store(out), "contributions").select("step", "example_id", "full", "contributions")
        return found.collect().sort("step", "example_id")

    assert full(tmp_path / "out").equals(full(tmp_path / "own"))
    units = read_units(open_store(tmp_path / "out"))
    (checkpoint, _) = find_checkpoints(REPO, tokenizer=f"{SOURCE}@main")
    assert checkpoint.tokenizer is not None
    sha = suite.branches[SOURCE]["main"]
    expected = f"{SOURCE}@main commit {sha} files {checkpoint.tokenizer.files_hash}"
    assert units["tokenizer"].unique().to_list() == [expected]
    assert read_units(open_store(tmp_path / "own"))["tokenizer"].unique().to_list() == [None]


def test_a_folder_and_the_hub_are_the_same_tokenizer(suite: FakeHub, tmp_path: Path) -> None:
    folder = write(tmp_path / "neox", tokenizer_files())
    sha = suite.branches[SOURCE]["main"]
    by_branch, by_commit, local = (
        find_checkpoints(REPO, tokenizer=where)[0].tokenizer for where in (f"{SOURCE}@main", f"{SOURCE}@{sha}", folder)
    )
    assert by_branch is not None
    assert by_commit is not None
    assert local is not None
    assert by_branch.files_hash == by_commit.files_hash == local.files_hash
    assert by_branch.commit_sha == by_commit.commit_sha == sha
    assert (local.name, local.commit_sha) == ("neox", f"sha256:{local.files_hash}")


def test_a_path_in_a_plan_counts_from_the_plan_even_with_an_at(suite: FakeHub, tmp_path: Path) -> None:
    write(tmp_path / "plans@home" / "tokenizer", tokenizer_files())
    for where in ("tokenizer", "./tokenizer", str(tmp_path / "plans@home" / "tokenizer")):
        plan = read_plan(plan_of(tmp_path / "plans@home" / "plan.toml", where))
        assert plan.models[0].tokenizer == tmp_path / "plans@home" / "tokenizer"
        assert len(works_of(plan)) == 2
    assert not suite.requests["GET file"]


def test_another_tokenizer_is_another_unit_and_none_changes_no_id(suite: FakeHub, tmp_path: Path) -> None:
    for step in (0, 1):
        suite.add("someone/whole", f"step{step}", models.single(step))
    suite.add(SOURCE, "other", permuted())

    def ids(tokenizer: str | None) -> set[str]:
        plan = read_plan(plan_of(tmp_path / "plan.toml", tokenizer, 'id = "someone/whole"'))
        return {unit.unit_id for work in works_of(plan) for unit in work.units}

    whole, same, other = ids(None), ids(f"{SOURCE}@main"), ids(f"{SOURCE}@other")
    assert len(whole | same | other) == 6
    named = find_checkpoints("someone/whole", tokenizer=f"{SOURCE}@main")[0]
    assert named.named_tokenizer == {"tokenizer": named.tokenizer.files_hash if named.tokenizer else None}
    assert find_checkpoints("someone/whole")[0].named_tokenizer == {}


def test_results_of_two_tokenizers_are_not_mixed(suite: FakeHub, tmp_path: Path) -> None:
    suite.add(SOURCE, "other", permuted())
    assert sweep(plan_of(tmp_path / "plan.toml", f"{SOURCE}@main"), tmp_path / "out").exit_code == 0
    refused = sweep(plan_of(tmp_path / "plan.toml", f"{SOURCE}@other"), tmp_path / "out")
    assert refused.exit_code == 2
    assert "another" in refused.output


def test_tokenizers_of_the_steps_do_not_matter_where_one_is_named(suite: FakeHub) -> None:
    """Also where they differ, and where files of them lie in the cache already."""
    suite.add("someone/two", "step0", models.single(0))
    suite.add("someone/two", "step1", {**models.single(1), **permuted()})
    with pytest.raises(CheckpointError, match="model someone/two has two tokenizers"):
        find_checkpoints("someone/two")
    assert [c.flags for c in find_checkpoints("someone/two", tokenizer=f"{SOURCE}@main")] == [(), ()]


def test_of_steps_with_a_named_tokenizer_only_the_configs_are_compared(suite: FakeHub, tmp_path: Path) -> None:
    """Tokenizers of their own that differ are neither compared nor part of the setup, on disk as on the Hub."""
    one = {**models.single(1), **permuted()}
    changed = {**one, "config.json": json.dumps({**json.loads(one["config.json"]), "layer_norm_eps": 0.5}).encode()}
    run = write(tmp_path / "run" / "step0", models.single(0)).parent
    write(run / "step1", changed)
    with pytest.raises(CheckpointError, match="model mine has two tokenizers"):
        find_checkpoints("mine", folder=run)
    local = find_checkpoints("mine", folder=run, tokenizer=f"{SOURCE}@main")
    assert [c.flags for c in local] == [("config_changed",), ()]
    suite.add("someone/two", "step1", changed)
    (remote,) = find_checkpoints("someone/two", tokenizer=f"{SOURCE}@main")
    assert remote.setup_hash == local[1].setup_hash


def test_a_token_without_a_row_in_the_embedding_is_refused(suite: FakeHub, tmp_path: Path) -> None:
    """A tokenizer of a larger model."""
    content = json.loads(tokenizer_files()["tokenizer.json"])
    vocabulary = content["model"]["vocab"]
    vocabulary |= {word: i + 5000 for word, i in vocabulary.items() if word not in ("<pad>", "<unk>", "[UNK]")}
    folder = write(tmp_path / "large", tokenizer_files() | {"tokenizer.json": json.dumps(content).encode()})
    run = write(tmp_path / "run" / "step0", bare(0)).parent
    (checkpoint,) = find_checkpoints("mine", folder=run, tokenizer=folder)
    tokenizer = load_tokenizer(checkpoint)
    prompts = build_prompts(get_task("sentiment"), "plain", tokenizer, demo_seed=0, n_shots=2, n_test=4)
    with pytest.raises(PromptError, match="has no row in the model's embedding"):
        decompose(load_model(checkpoint), prompts)
    assert not suite.requests


@pytest.mark.parametrize("where", ["folder", "Hub"])
@pytest.mark.parametrize("stub", [False, True])
def test_without_a_tokenizer_the_plan_says_how_to_name_one(
    suite: FakeHub, tmp_path: Path, where: str, stub: bool
) -> None:
    files = bare(0) | ({"tokenizer.json": b"{}"} if stub else {})
    suite.add("someone/bare", "step0", files)
    model = f'id = "mine"\nfolder = "{write(tmp_path / "run" / "step0", files).parent}"'
    plan = plan_of(tmp_path / "plan.toml", None, model if where == "folder" else 'id = "someone/bare"')
    for refused in (CliRunner().invoke(plan_app, [str(plan)]), sweep(plan, tmp_path / "out")):
        assert refused.exit_code != 0
        assert 'tokenizer = "owner/name@revision"' in refused.output
        assert ("vocab.json and merges.txt" in refused.output) == (not stub)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a/b@", "not a branch name"),
        ("neox@main", "not a repository"),
        ("a/b@../x", "not a branch name"),
        ("", 'give "owner/name@revision" on the Hub, or a folder'),
        ("nowhere", "nowhere is not a folder with tokenizer.json"),
        (f"{SOURCE}@mian", "unknown revision of someone/tokenizer 'mian'; did you mean 'main'"),
        (f"{REPO}@step0", "tokenizer someone/suite@step0 has no tokenizer.json"),
        ("nobody/none@main", "404: there is no such repository"),
    ],
)
@pytest.mark.usefixtures("suite")
def test_names_that_are_no_tokenizer(tmp_path: Path, value: str, message: str) -> None:
    refused = CliRunner().invoke(plan_app, [str(plan_of(tmp_path / "plan.toml", value))])
    assert refused.exit_code == 2
    assert message in refused.output
    assert len(refused.output.strip().splitlines()) == 1


def test_a_path_that_the_working_directory_has_is_named(
    suite: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "work" / "tokenizer", tokenizer_files())
    (tmp_path / "plans").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(PlanError, match="tokenizer = 'tokenizer': there is no"):
        read_plan(plan_of(tmp_path / "plans" / "plan.toml", "tokenizer"))
    assert not suite.requests


def test_a_file_that_differs_from_its_listing_is_not_used(suite: FakeHub, tmp_path: Path) -> None:
    sha = suite.branches[SOURCE]["main"]
    plan = plan_of(tmp_path / "plan.toml", f"{SOURCE}@main")
    assert CliRunner().invoke(plan_app, [str(plan)]).exit_code == 0
    (cached,) = (tmp_path / "cache").glob(f"models--someone--tokenizer/snapshots/{sha}/tokenizer.json")
    content = cached.read_bytes()
    cached.resolve().write_bytes(content.replace(b"warm", b"cold"))
    assert sweep(plan, tmp_path / "out").exit_code == 0
    assert hashlib.sha256(cached.read_bytes()).digest() == hashlib.sha256(content).digest()


def test_the_doctor_tries_the_named_tokenizer(suite: FakeHub, tmp_path: Path) -> None:
    seen = CliRunner().invoke(doctor_app, [str(plan_of(tmp_path / "plan.toml", f"{SOURCE}@main"))])
    assert f"{REPO}@step" in seen.output
    assert "tokenizer: 101 tokens" in seen.output, seen.output
    assert suite.files["tokenizer.json"] == 1


def test_a_control_with_random_weights_has_it_too(suite: FakeHub, tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "plan.toml", f"{SOURCE}@main")
    plan.write_text('controls = ["random_init"]\n' + plan.read_text())
    swept = sweep(plan, tmp_path / "out")
    assert swept.exit_code == 0, swept.output
    assert (
        read_units(open_store(tmp_path / "out"))["tokenizer"].str.starts_with(f"{SOURCE}@main").to_list() == [True] * 3
    )
    assert suite.files["tokenizer.json"] == 1
