"""The reference corpus, its tasks, tokenizer and pretraining, at small size."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dynamics.reference import corpus
from dynamics.reference.manifest import LoggedLoss, damaged_steps, read_manifest
from dynamics.reference.pretraining import pretrain
from dynamics.reference.recipe import Recipe, learning_rate, recipe_from_json
from dynamics.reference.tokenizer import build_tokenizer
from dynamics.reference.training_state import STATE_FOLDER
from dynamics.tasks import Task, sentiment, topic, wordmap

TASKS = (sentiment.TASK, topic.TASK, wordmap.TASK)
TINY = Recipe(
    steps=6, checkpoint_steps=(0, 1, 2, 4, 6), n_layers=1, n_heads=2, d_model=16,
    documents=4, document_length=40, warmup_steps=2,
)  # fmt: skip


def documents(seed: int, step: int) -> list[str]:
    return corpus.training_documents(seed, step, n_documents=5, n_words=60, mix=corpus.Mix())


def test_documents_depend_on_seed_and_step_only() -> None:
    first = documents(3, 7)
    documents(3, 8)
    assert documents(3, 7) == first
    assert documents(3, 8) != first != documents(4, 7)
    assert {len(document.split()) for document in first} == {60}


def test_documents_use_known_words_in_the_formats_of_the_tasks() -> None:
    assert not {word for document in documents(0, 1) for word in document.split()} - set(corpus.vocabulary())
    kinds_only = corpus.Mix(kinds=(1.0, 0.0, 0.0), formats=(0.0, 1.0, 0.0))
    document = corpus.training_documents(0, 1, 1, 80, kinds_only)[0]
    for filled in document.split(corpus.SEPARATOR)[:-1]:
        *text, cue, label = filled.split()
        assert (len(text), cue) == (corpus.TEXT_LENGTH, "feels")
        assert sum(word in corpus.SENTIMENT_WORDS[label] for word in text) in (3, 4)


def test_mix_refuses_what_is_no_distribution() -> None:
    with pytest.raises(ValueError, match=r"mix of kinds .* 3 probabilities"):
        corpus.Mix(kinds=(0.5, 0.6, 0.2))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_rows_are_unique_balanced_and_disjoint(task: Task) -> None:
    rows = task.load(None)
    assert len(rows.pool) >= 600
    assert len(rows.test) >= 400
    everything = [*rows.pool, *rows.test]
    assert len({row.fields["text"] for row in everything}) == len({row.example_id for row in everything})
    assert len(everything) == len({row.example_id for row in everything})
    for split in (rows.pool, rows.test):
        assert len(set(np.bincount([row.gold for row in split], minlength=task.n_labels))) == 1
    assert task.load(None) == rows


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_prompts_are_known_words_and_label_words_single_tokens(task: Task) -> None:
    tokenizer = build_tokenizer(corpus.vocabulary(), 256)
    row = task.load(None).test[0]
    for template in task.templates:
        assert template.text.endswith(" {label}")
        assert "<unk>" not in tokenizer.tokenize(template.text.format(label=task.label_words[0], **row.fields))
    words = [tokenizer(" " + word)["input_ids"] for word in task.label_words]
    assert all(len(ids) == 1 for ids in words)
    assert len(words) == len({ids[0] for ids in words}) >= task.n_labels
    assert [template.name for template in task.templates] == ["plain", "cue", "buried"]


def test_golden_texts() -> None:
    fields = wordmap.TASK.load(None).test[0].fields
    assert [template.text.format(label="red", **fields) for template in wordmap.TASK.templates] == [
        "here now boring weak gloomy red",
        "here now boring weak gloomy means red",
        "weak gloomy of a lovely graceful boring here now hence red",
    ]


def test_unknown_words_are_visible() -> None:
    tokenizer = build_tokenizer(["bright", "red"], 256)
    assert tokenizer.convert_ids_to_tokens(tokenizer("bright gloom red")["input_ids"]) == ["bright", "<unk>", "red"]
    with pytest.raises(ValueError, match="'red' repeats"):
        build_tokenizer(["red", "red"], 256)


def test_recipe_checks_its_steps_and_survives_json() -> None:
    assert recipe_from_json(Recipe().to_json()) == Recipe()
    with pytest.raises(ValueError, match="must ascend"):
        dataclasses.replace(Recipe(), checkpoint_steps=(0, 4, 2))
    rates = [learning_rate(TINY, step) for step in range(1, 7)]
    assert rates[1] == max(rates) == TINY.learning_rate
    assert rates[-1] == pytest.approx(TINY.final_fraction * TINY.learning_rate)


def test_checkpoints_open_as_ordinary_folders(tmp_path: Path) -> None:
    manifest = pretrain(TINY, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "manifest.json", "step0", "step1", "step2", "step4", "step6",
    ]  # fmt: skip
    assert read_manifest(tmp_path / "run") == manifest
    assert manifest.tokens_per_step == 160
    folder = tmp_path / "run" / "step6"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    ids = AutoTokenizer.from_pretrained(folder, local_files_only=True)("bright fresh it . dull", return_tensors="pt")
    assert model(**ids).logits.shape == (1, 5, manifest.vocabulary_size)
    assert manifest.n_parameters == sum(p.numel() for p in model.parameters())


def stop_at(step: int, logged: LoggedLoss) -> None:
    if logged.step == step:
        raise KeyboardInterrupt


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_stopped_run_ends_with_the_same_weights(tmp_path: Path, step: int) -> None:
    whole = pretrain(TINY, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pretrain(TINY, tmp_path / "parts", lambda logged: stop_at(step, logged))
    leftover = tmp_path / "parts" / "step6.incomplete"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    (tmp_path / "parts" / STATE_FOLDER / "state.pt.incomplete").write_bytes(b"half")
    resumed = pretrain(TINY, tmp_path / "parts")
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.losses == whole.losses
    assert not list((tmp_path / "parts").glob("*.incomplete"))


def test_pretraining_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    pretrain(TINY, tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_a_finished_run_is_checked_not_repeated(tmp_path: Path) -> None:
    manifest = pretrain(TINY, tmp_path)
    assert pretrain(TINY, tmp_path, pytest.fail) == manifest
    (tmp_path / "step2" / "model.safetensors").write_bytes(b"changed")
    assert damaged_steps(tmp_path, manifest) == [2]
    with pytest.raises(ValueError, match=r"damaged: .*\[2\]"):
        pretrain(TINY, tmp_path)


def test_folders_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    other = dataclasses.replace(TINY, seed=1)
    with pytest.raises(ValueError, match="is a file"):
        pretrain(TINY, tmp_path / "file")
    with pytest.raises(ValueError, match="not empty"):
        pretrain(TINY, tmp_path)
    pretrain(TINY, tmp_path / "run")
    with pytest.raises(ValueError, match="another recipe"):
        pretrain(other, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        pretrain(TINY, tmp_path / "stopped", lambda logged: stop_at(1, logged))
    with pytest.raises(ValueError, match="unfinished run of another recipe"):
        pretrain(other, tmp_path / "stopped")
