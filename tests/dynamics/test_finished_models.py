"""Models without published steps: one folder, or one branch of the Hub, recorded as step 1."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from dynamics.checkpoints import find_checkpoints
from dynamics.errors import CheckpointError, PlanError
from dynamics.grids import FINISHED
from dynamics.loading import load_model
from tests import hub_models
from tests.hub_server import FakeHub
from tests.models import tiny_neox

REPO = "someone/finished-7b"


@pytest.fixture
def folder(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A model as transformers saves it."""
    tiny_neox(len(tokenizer), parallel=True).save_pretrained(tmp_path / "my-model")
    tokenizer.save_pretrained(tmp_path / "my-model")
    return tmp_path / "my-model"


def test_a_models_own_folder_is_one_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model,) = find_checkpoints("mine", folder=folder)
    assert (model.model, model.revision, model.step, model.tokens_seen) == ("mine", "my-model", FINISHED, None)
    assert load_model(model).config.model_type == "gpt_neox"
    monkeypatch.chdir(folder)
    (here,) = find_checkpoints("mine", folder=Path())
    assert (here.revision, here.content_hash) == ("my-model", model.content_hash)


def test_a_models_own_folder_has_no_other_step(folder: Path) -> None:
    with pytest.raises(PlanError, match=r"no revision for 1 of the requested steps: 512 \(nearest: 1\)"):
        find_checkpoints("mine", (512,), folder)


def test_one_checkpoint_among_others_has_a_note(folder: Path) -> None:
    one = folder.rename(folder.with_name("checkpoint-50"))
    (alone,) = find_checkpoints("mine", folder=one)
    assert alone.notes == ()
    (one.parent / "checkpoint-100").symlink_to(one)
    (among,) = find_checkpoints("mine", folder=one)
    assert among.step == FINISHED
    assert among.content_hash == alone.content_hash
    (note,) = among.notes
    assert note.startswith(f"the folder checkpoint-50 is one checkpoint of {one.parent}, which holds 1 more")


def test_a_branch_of_the_hub_is_one_checkpoint(hub: FakeHub) -> None:
    hub.add(REPO, "main", hub_models.single(0))
    hub.add(REPO, "other", hub_models.single(1))
    (main,) = find_checkpoints(REPO, revision="main")
    (other,) = find_checkpoints(REPO, revision="other")
    assert (main.revision, main.step, main.tokens_seen) == ("main", FINISHED, None)
    assert main.commit_sha == hub.branches[REPO]["main"]
    assert other.content_hash != main.content_hash


def test_what_is_missing_is_named(hub: FakeHub) -> None:
    hub.add(REPO, "main", hub_models.single(0))
    with pytest.raises(CheckpointError, match=r"unknown revision of someone/finished-7b 'mian'; did you mean 'main'"):
        find_checkpoints(REPO, revision="mian")
    with pytest.raises(CheckpointError, match=r"fits the pattern .* name the branch of a model without steps, as rev"):
        find_checkpoints(REPO)


def test_a_revision_of_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(PlanError, match="revision = 'main' applies to models on the Hub only; remove it"):
        find_checkpoints("mine", folder=folder, revision="main")
