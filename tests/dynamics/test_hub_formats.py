"""Formats of a revision: where the preferred files are another step's, those of another format, or none."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from typer.testing import CliRunner

from dynamics.checkpoints import Checkpoint, find_checkpoints
from dynamics.hub import errata
from dynamics.hub.listing import Commit, resolve
from dynamics.loading import load_model
from dynamics.results.store import open_store, read_units
from dynamics.suites import Erratum
from jobs.fetching import local_files
from jobs.plan import app as plan_app
from jobs.sweep import app as sweep_app
from jobs.sweep_plan import read_plan
from tests import hub_models as models
from tests.hub_server import FakeHub
from tests.works import works_of

REPO = "someone/suite"
LAST = 9
STEPS = (0, 1, 2, 4, LAST)


def digest(files: models.Files, name: str) -> str:
    return hashlib.sha256(files[name]).hexdigest()


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that some steps serve the file of `main`, which is no step's; and one of steps that are equal."""
    wrong = Erratum(
        issue="them#1", model=REPO, action="quarantine", text="the branch serves the weights of main", steps=(1, 2, 4),
        sha256=(digest(models.single(7), "model.safetensors"),),
    )  # fmt: skip
    same = Erratum(issue="them#2", model=REPO, action="equal", text="steps 0 and 1 are equal", steps=(0, 1))
    monkeypatch.setattr(errata, "errata", lambda: (wrong, same))


def filled(hub: FakeHub, **branches: models.Files) -> None:
    """A suite whose last step is sound and whose `main` is another file, as in Pythia-2.8B."""
    for branch, files in {"main": models.both(7), f"step{LAST}": models.both(LAST), **branches}.items():
        hub.add(REPO, branch, files)


def found(steps: tuple[int, ...], *, allow_pickle: bool = True) -> dict[int, Checkpoint]:
    return {c.step: c for c in find_checkpoints(REPO, steps, allow_pickle=allow_pickle)}


def written(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A plan of one unit of this step."""
    plan = tmp_path / "plan.toml"
    task = '[[tasks]]\nname = "sentiment"\ntemplates = ["plain"]\ndemo_seeds = 1\nn_test = 8\nn_train = 2\n'
    model = f'id = "{REPO}"\nsteps = [{checkpoint.step}]\nallow_pickle = true'
    plan.write_text(f'name = "formats"\n[[models]]\n{model}\n{task}[hub]\nkeep = true\n')
    return plan


WRONG = {"model.safetensors": models.single(7)["model.safetensors"]}
LAYOUTS: dict[str, tuple[Callable[[], models.Files], str]] = {
    "bin": (lambda: models.pickled(3) | WRONG, "pytorch_model.bin"),
    "sharded bin": (lambda: models.pickled(3, 2) | WRONG, "pytorch_model-00001-of-00002.bin (2 shards)"),
    "shards": (lambda: models.sharded(3) | WRONG, "model-00001-of-00002.safetensors (2 shards)"),
    "shards before bin": (
        lambda: models.sharded(3) | models.pickled(5) | WRONG,
        "model-00001-of-00002.safetensors (2 shards)",
    ),
}


@pytest.mark.usefixtures("reported")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_sound_format_is_used_and_opened(hub: FakeHub, tmp_path: Path, layout: str) -> None:
    """The wrong file stays in the listing, and is put into the cache too, where transformers would prefer it."""
    files, name = LAYOUTS[layout]
    filled(hub, step2=files())
    (checkpoint,) = found((2,)).values()
    assert checkpoint.flags == ("other_format",)
    assert checkpoint.notes[0] == (
        f"{name} used instead of model.safetensors: the branch serves the weights of main (them#1)"
    )
    plan = written(checkpoint, tmp_path)
    (work,) = works_of(read_plan(plan))
    with local_files(work) as fetched:
        pass
    assert hub.files["model.safetensors"] == 0
    assert fetched.folder is not None
    cache = tmp_path / "cache" / f"models--{REPO.replace('/', '--')}" / "snapshots" / hub.branches[REPO]["step2"]
    (cache / "model.safetensors").write_bytes(WRONG["model.safetensors"])
    with local_files(work) as opened:
        weight = load_model(opened).get_output_embeddings().weight
    tensors = load(models.single(3)["model.safetensors"])
    assert torch.equal(weight, next(t for name, t in tensors.items() if "embed_out" in name or "lm_head" in name))


@pytest.mark.usefixtures("reported")
def test_plan_and_rows_say_which_was_taken_and_why(hub: FakeHub, tmp_path: Path) -> None:
    filled(hub, step2=LAYOUTS["bin"][0]())
    plan = written(found((2,))[2], tmp_path)
    why = "pytorch_model.bin used instead of model.safetensors: the branch serves the weights of main (them#1)"
    shown = CliRunner().invoke(plan_app, [str(plan)])
    assert f"step2 [other_format]: {why}" in shown.output
    swept = CliRunner().invoke(sweep_app, [str(plan), "--out", str(tmp_path / "out"), "--executor", "inline"])
    assert swept.exit_code == 0, swept.output
    assert why in swept.output
    units = read_units(open_store(tmp_path / "out"))
    assert (units["flags"].to_list(), units["notes"].list.first().to_list()) == ([["other_format"]], [why])


@pytest.mark.usefixtures("reported")
def test_pickle_that_would_be_sound_is_named_and_not_used(hub: FakeHub) -> None:
    filled(hub, step2=LAYOUTS["bin"][0](), step4=LAYOUTS["shards before bin"][0]())
    first, second = found((2, 4), allow_pickle=False).values()
    assert first.flags == ("duplicate", "quarantined")
    assert first.weights == "safetensors"
    assert first.notes[-1] == "pytorch_model.bin is not known to be wrong: allow_pickle = true would use it"
    assert second.flags == ("other_format",)


@pytest.mark.usefixtures("reported")
@pytest.mark.parametrize("foreign", ["another step", "main", "an unrequested step", "the last step"])
def test_a_format_with_another_steps_files_is_no_way_out(hub: FakeHub, foreign: str) -> None:
    """Also where that step is not requested, and where the files are only main's."""
    pickle = {"main": 1007, "the last step": 1000 + LAST}.get(foreign, 5)
    filled(hub, step2=models.pickled(pickle) | WRONG, step4=models.pickled(5))
    checkpoint = found((2, 4) if foreign == "another step" else (2,))[2]
    assert checkpoint.flags == ("quarantined",)
    assert checkpoint.weights == "safetensors"


@pytest.mark.usefixtures("reported")
def test_steps_that_are_said_to_be_equal_are_no_doubt(hub: FakeHub) -> None:
    filled(hub, step0=models.sharded(3), step1=models.sharded(3) | WRONG, step4=models.pickled(5))
    zero, one = found((0, 1)).values()
    assert zero.flags == ("duplicate",)
    assert one.flags == ("duplicate", "other_format")
    assert zero.content_hash == one.content_hash


def test_a_chimera_with_a_sound_pickle(hub: FakeHub) -> None:
    filled(hub, step1=models.chimera(1, 3) | models.pickled(1), step2=models.sharded(3))
    one, two = found((1, 2)).values()
    assert (one.weights, one.flags) == ("bin", ("other_format",))
    assert "model-00001-of-00002.safetensors is the same file as in step 2" in one.notes[0]
    assert two.flags == ()


def test_two_steps_with_one_file_and_pickles_of_their_own(hub: FakeHub) -> None:
    """The hashes do not tell whose the file is, so neither uses it."""
    filled(hub, step1=models.single(5) | models.pickled(1), step2=models.single(5) | models.pickled(2))
    assert [(c.weights, c.flags) for c in found((1, 2)).values()] == [("bin", ("other_format",))] * 2
    assert [c.flags for c in found((1, 2), allow_pickle=False).values()] == [("duplicate",)] * 2


def test_the_last_step_may_have_the_files_of_main(hub: FakeHub) -> None:
    """Its safetensors are in an earlier branch too; its pickle is main's, which is the same step."""
    hub.add(REPO, "main", models.pickled(LAST))
    hub.add(REPO, f"step{LAST}", models.single(5) | models.pickled(LAST))
    hub.add(REPO, "step2", models.single(5) | models.pickled(2))
    assert [(c.weights, c.flags) for c in found((2, LAST)).values()] == [("bin", ("other_format",))] * 2


@pytest.mark.usefixtures("reported")
def test_files_that_are_reported_make_the_step_they_belong_to_no_duplicate(hub: FakeHub) -> None:
    """So the last checkpoint stays valid where an early branch serves it."""
    hub.add(REPO, "step1", models.single(7))
    hub.add(REPO, f"step{LAST}", models.single(7))
    one, last = found((1, LAST)).values()
    assert one.flags == ("duplicate", "quarantined")
    assert last.flags == ()


def test_shards_that_are_incomplete_beside_a_whole_file_are_left_alone(hub: FakeHub) -> None:
    broken = models.sharded(3)
    del broken["model-00002-of-00002.safetensors"]
    filled(hub, step1=models.single(1) | broken | models.pickled(1))
    commit = Commit(REPO, "step1", hub.branches[REPO]["step1"])
    assert [revision.weights_name for revision in resolve([commit])[0][commit]] == [
        "model.safetensors",
        "pytorch_model.bin",
    ]


@pytest.mark.usefixtures("reported")
def test_all_steps_are_listed_only_where_there_is_something_to_decide(hub: FakeHub) -> None:
    filled(hub, step0=models.both(0), step1=LAYOUTS["bin"][0](), step2=models.single(7), step4=models.single(4))
    found((0, 2))
    assert hub.requests["GET tree"] == 3
    found((0, 1))
    assert hub.requests["GET tree"] == len(hub.branches[REPO])


@pytest.mark.usefixtures("reported")
def test_a_models_only_revision_is_not_taken_for_step_1(hub: FakeHub) -> None:
    """`main` is recorded as step 1; a report about step 1 is about another branch."""
    filled(hub, step1=models.single(7))
    (main,) = find_checkpoints(REPO, revision="main")
    assert (main.step, main.flags) == (1, ())
    (named,) = find_checkpoints(REPO, revision="step1")
    assert named.flags == ("quarantined",)
