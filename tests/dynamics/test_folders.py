"""Which checkpoints a folder means: step folders, the folder's own model, or two readings that are refused by name."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamics.checkpoints import Checkpoint, find_checkpoints
from dynamics.errors import CheckpointError, PlanError
from dynamics.grids import FINISHED
from dynamics.hub import errata
from dynamics.loading import load_model
from dynamics.suites import Erratum
from tests import hub_models as models


def write(folder: Path, files: models.Files) -> Path:
    """A folder with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """A folder with two of a Trainer's checkpoints."""
    for step in (500, 1000):
        write(tmp_path / "run" / f"checkpoint-{step}", models.single(step))
    return tmp_path / "run"


@pytest.fixture
def trained(steps: Path) -> Path:
    """A Trainer's output folder: its last model beside its checkpoints."""
    return write(steps, models.single(7))


def found(folder: Path, steps=None, **options) -> list[tuple[int, str]]:
    return [(c.step, c.revision) for c in find_checkpoints("mine", steps, folder, **options)]


BOTH = [(500, "checkpoint-500"), (1000, "checkpoint-1000")]


@pytest.mark.parametrize("asked", [None, "all"])
def test_a_trainers_folder_has_two_readings(trained: Path, asked: str | None) -> None:
    with pytest.raises(PlanError) as error:
        find_checkpoints("mine", asked, trained)
    for words in (
        "can be read in two ways: the model in the folder itself",
        'steps = "finished"',
        "checkpoint-500 to checkpoint-1000",
        'pattern = "checkpoint-{step}"',
    ):
        assert words in str(error.value)


def test_each_reading_can_be_asked_for(trained: Path) -> None:
    assert found(trained, "finished") == [(FINISHED, "run")]
    assert found(trained, pattern="checkpoint-{step}") == BOTH
    assert found(trained, (1000,)) == BOTH[1:]
    assert found(trained, range(500, 1001, 500)) == BOTH
    with pytest.raises(PlanError, match=r"no revision for 1 of the requested steps: 1 \(nearest: 500\)"):
        found(trained, (1,))
    with pytest.raises(PlanError, match="remove one of them"):
        found(trained, "finished", pattern="checkpoint-{step}")


def test_what_each_reading_opens_is_what_lies_there(trained: Path) -> None:
    def weights(checkpoint: Checkpoint) -> str:
        return checkpoint.content_hash

    (own,) = find_checkpoints("mine", "finished", trained)
    first, second = find_checkpoints("mine", (500, 1000), trained)
    assert len({weights(own), weights(first), weights(second)}) == 3
    assert (
        load_model(second).get_output_embeddings().weight.sum() != load_model(own).get_output_embeddings().weight.sum()
    )
    assert second.folder == trained / "checkpoint-1000"


@pytest.mark.parametrize(
    "stray",
    [
        lambda: {"config.json": models.setup_files()["config.json"]},
        models.setup_files,
        lambda: {"export.gguf": b"GGUF"},
        lambda: {"model.safetensors": b""},
        lambda: {"trainer_state.json": b"{}", "training_args.bin": b""},
    ],
    ids=["config", "config and tokenizer", "gguf", "weights without a config", "state"],
)
def test_files_that_are_no_model_hide_no_steps(steps: Path, stray: Callable[[], models.Files]) -> None:
    write(steps, stray())
    assert found(steps) == BOTH


def test_two_series_of_steps_are_two_readings(steps: Path) -> None:
    write(steps / "step10", models.single(10))
    with pytest.raises(
        PlanError, match=r'step10 \(pattern = "step\{step\}"\) or checkpoint-500 to checkpoint-1000 \(pat'
    ):
        found(steps)
    with pytest.raises(PlanError, match="two ways"):
        found(steps, (10,))
    assert found(steps, pattern="step{step}") == [(10, "step10")]
    assert found(steps, pattern="checkpoint-{step}") == BOTH


def test_an_empty_folder_of_a_steps_name_is_no_second_reading(steps: Path, tmp_path: Path) -> None:
    (steps / "step3").mkdir()
    assert found(steps) == BOTH
    finished = write(tmp_path / "finished", models.single(0))
    (finished / "step0").mkdir()
    assert found(finished) == [(FINISHED, "finished")]
    (tmp_path / "empty" / "step0").mkdir(parents=True)
    assert found(tmp_path / "empty") == [(0, "step0")]


def test_a_pattern_is_never_ignored(tmp_path: Path) -> None:
    finished = write(tmp_path / "finished", models.single(0))
    with pytest.raises(
        CheckpointError, match=r"contains no step\{step\} folder; .* leave `pattern` out to run that as s"
    ):
        found(finished, pattern="step{step}")


def state(folder: Path, content: object) -> None:
    (folder / "trainer_state.json").write_text(json.dumps(content))


def test_the_training_state_says_the_step(steps: Path) -> None:
    state(steps / "checkpoint-500", {"global_step": 500})
    state(steps / "checkpoint-1000", {"global_step": 4000})
    assert found(steps) == [(500, "checkpoint-500"), (4000, "checkpoint-1000")]
    same, other = find_checkpoints("mine", folder=steps)
    assert same.notes == ()
    assert other.notes == ("its name says step 1000, its trainer_state.json step 4000, which is used",)
    assert found(steps, (4000,)) == [(4000, "checkpoint-1000")]
    with pytest.raises(PlanError, match=r"1000 \(nearest: 500 and 4000\)"):
        found(steps, (1000,))


def test_tokens_follow_the_training_state(steps: Path) -> None:
    state(steps / "checkpoint-1000", {"global_step": 4000})
    (_, later) = find_checkpoints("EleutherAI/pythia-14m", (500, 4000), steps)
    assert later.tokens_seen == 4000 * 2_097_152
    (_, later) = find_checkpoints("mine", folder=steps, tokens_per_step=10)
    assert later.tokens_seen == 40_000


def test_two_folders_of_one_step_are_refused(steps: Path) -> None:
    state(steps / "checkpoint-500", {"global_step": 1000})
    with pytest.raises(PlanError, match=r"has checkpoint-500 and checkpoint-1000 for step 1000 by their trainer_state"):
        found(steps)


@pytest.mark.parametrize("content", [[], {}, {"global_step": None}, {"global_step": True}, {"global_step": "9"}])
def test_a_state_without_a_step_says_nothing(steps: Path, content: object) -> None:
    state(steps / "checkpoint-500", content)
    assert found(steps) == BOTH


def wrong_shard(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A report that step 500 of a published model serves this file of another step."""
    sha256 = hashlib.sha256(models.sharded(5)[name]).hexdigest()
    report = Erratum(
        issue="them#1",
        model="them/suite",
        action="quarantine",
        text="the first shard is another's",
        steps=(500,),
        sha256=(sha256,),
    )
    monkeypatch.setattr(errata, "errata", lambda: (report,))


def test_a_copy_on_disk_has_the_faults_of_what_it_is_a_copy_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the folder has the model's id; and only at the step of the report."""
    wrong_shard(monkeypatch, "model-00001-of-00002.safetensors")
    for step in (500, 1000):
        write(tmp_path / f"step{step}", models.sharded(5 if step == 500 else 6))
    first, second = find_checkpoints("them/suite", folder=tmp_path)
    assert (first.flags, first.notes) == (("quarantined",), ("the first shard is another's (them#1)",))
    assert (second.flags, second.notes) == ((), ())
    assert [c.flags for c in find_checkpoints("mine", folder=tmp_path)] == [(), ()]
    (single,) = find_checkpoints("them/suite", "finished", tmp_path / "step500")
    assert (single.step, single.flags) == (FINISHED, ("quarantined",))


def test_a_single_models_step_is_not_taken_for_a_reported_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Erratum(issue="them#1", model="them/suite", action="note", text="step 1 is odd", steps=(1,))
    monkeypatch.setattr(errata, "errata", lambda: (report,))
    write(tmp_path / "final", models.single(5))
    (single,) = find_checkpoints("them/suite", folder=tmp_path / "final")
    assert (single.step, single.notes) == (FINISHED, ())


def test_a_chimera_on_disk_is_quarantined(tmp_path: Path) -> None:
    """All its hashes are right, and a shard is that of a later step."""
    write(tmp_path / "step1", models.chimera(1, 3))
    write(tmp_path / "step2", models.sharded(3))
    first, second = find_checkpoints("mine", folder=tmp_path)
    assert (first.flags, second.flags) == (("quarantined",), ())
    assert "model-00001-of-00002.safetensors is the same file as in step 2" in first.notes[0]


def test_copies_of_one_model_are_duplicates(steps: Path) -> None:
    shutil.copy(steps / "checkpoint-500/model.safetensors", steps / "checkpoint-1000/model.safetensors")
    state(steps / "checkpoint-1000", {"global_step": 4000})
    first, second = find_checkpoints("mine", folder=steps)
    assert (first.flags, second.flags) == (("duplicate",), ("duplicate",))
    assert second.notes


def without(step: int, *names: str) -> models.Files:
    """A checkpoint without some of its files."""
    return {name: content for name, content in models.single(step).items() if name not in names}


SHARD = "model-00002-of-00002.safetensors"
LACKING: dict[str, tuple[Callable[[], models.Files], str]] = {
    "weights": (lambda: without(2, "model.safetensors"), "holds no .safetensors file"),
    "pickle": (lambda: models.pickled(2), "add allow_pickle = true"),
    "a shard": (lambda: {k: v for k, v in models.sharded(2).items() if k != SHARD}, f"the first is {SHARD}"),
    "config": (lambda: without(2, "config.json"), "has no config.json"),
    "tokenizer": (lambda: without(2, "tokenizer.json"), "has no tokenizer.json"),
    "everything": (dict, "has no config.json and no tokenizer.json"),
}


@pytest.mark.parametrize("kind", LACKING)
@pytest.mark.parametrize("asked", [None, (1, 2)])
def test_steps_that_lack_something_are_left_out_where_the_plan_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, asked: tuple[int, ...] | None
) -> None:
    files, reason = LACKING[kind]
    write(tmp_path / "step1", models.single(1))
    write(tmp_path / "step2", files())
    assert [step for step, _ in found(tmp_path, asked, missing="skip")] == [1]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith('mine: missing = "skip" leaves out 1 of 2 steps: step 2: ')
    assert reason in said
    assert [step for step, _ in found(tmp_path, asked)] == [1, 2]  # which a plan and a sweep then refuse by name
    with pytest.raises(CheckpointError, match=r'missing = "skip" leaves no step of those requested: step 2: '):
        found(tmp_path, (2,), missing="skip")


def test_a_damaged_step_is_not_a_missing_one(tmp_path: Path) -> None:
    for step in (1, 2):
        write(tmp_path / f"step{step}", models.single(step))
    (tmp_path / "step2/model.safetensors").write_bytes(b"damaged")
    assert [step for step, _ in found(tmp_path, missing="skip")] == [1, 2]


def test_every_step_that_is_left_out_counts_and_some_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "step1", models.single(1))
    assert [step for step, _ in found(tmp_path, range(1, 7), missing="skip")] == [1]
    (said,) = capsys.readouterr().err.splitlines()
    assert "leaves out 5 of 6 steps: step 2: there is no folder of it; step 3: " in said
    assert said.endswith("step 4: there is no folder of it and 2 more")


@pytest.mark.parametrize("name", ["step0", "checkpoint-4"])
def test_one_checkpoint_of_many_is_not_taken_for_a_finished_model(name: str, tmp_path: Path) -> None:
    one = write(tmp_path / "run" / name, models.single(0))
    with pytest.raises(
        PlanError, match=rf"{name} is one checkpoint by its name; give the folder that holds it, .*run, "
    ):
        find_checkpoints("mine", None, one)
    assert found(one, "finished") == [(FINISHED, name)]
