"""Pretrain the reference model: resumable, deterministic on one machine, checkpoints as ordinary Hugging Face folders.

    OUT/step{n}/            config.json, model.safetensors (fp16), tokenizer files
    OUT/manifest.json       written last: recipe, versions, hashes, losses
    OUT/training_state/     until the run ends: the recipe, and float32 weights with the optimiser's state

The loss is the next-token cross-entropy, a weighted mean over all positions in which a label token has the weight
`label_weight`: the other words are random, and their noise would dominate the gradient of the labels. Weights are
initialised as in transformers (normal with SD 0.02, biases zero, gains one), so every bias is zero at step 0, as in
Pythia.
"""

import copy
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from dynamics.atomic_write import write_atomically
from dynamics.reference import corpus
from dynamics.reference.manifest import (
    MANIFEST_NAME,
    LoggedLoss,
    Manifest,
    damaged_steps,
    read_manifest,
    step_folder,
    weights_hashes,
    write_manifest,
)
from dynamics.reference.recipe import Recipe, learning_rate
from dynamics.reference.tokenizer import build_tokenizer
from dynamics.reference.training_state import RECIPE_NAME, STATE_FOLDER, TrainingState, load_state, save_state

LOG_EVERY, SAVE_EVERY = 8, 64
LIBRARIES = ("numpy", "safetensors", "tokenizers", "torch", "transformers")

OnStep = Callable[[LoggedLoss], object]


def _ignore(logged: LoggedLoss) -> None:
    del logged


def pretrain(recipe: Recipe, out: Path, on_step: OnStep | None = None) -> Manifest:
    """Pretrain a model by a recipe, or resume where the run was stopped.

    On one machine, with one number of torch threads, a recipe always gives the same weights, resumed or not.

    Args:
        recipe: architecture, data and schedule.
        out: folder of the run; created if it does not exist.
        on_step: called after every update with its loss; an exception it raises stops the run, which can be resumed.

    Returns:
        The manifest, which is also written to `out`.

    Raises:
        ValueError: `out` is a file, has other content than this run, or has a damaged finished run.
        FloatingPointError: the loss is not finite.
    """
    prepare_folder(recipe, out)
    if (out / MANIFEST_NAME).exists():
        shutil.rmtree(out / STATE_FOLDER, ignore_errors=True)
        return finished_manifest(recipe, out)
    tokenizer = build_tokenizer(corpus.vocabulary(), recipe.context)
    state = train(recipe, load_state(recipe, out, len(tokenizer)), tokenizer, out, on_step or _ignore)
    manifest = describe(recipe, state, len(tokenizer), out)
    write_manifest(manifest, out)
    shutil.rmtree(out / STATE_FOLDER)
    return manifest


def prepare_folder(recipe: Recipe, out: Path) -> None:
    """Check the output folder and record the recipe in it, before anything is computed.

    Raises:
        ValueError: `out` is a file, or is not empty and has no run of this recipe.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder")
    recipe_file = out / STATE_FOLDER / RECIPE_NAME
    if recipe_file.exists():
        try:
            recorded = json.loads(recipe_file.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{recipe_file} is not valid JSON ({error}); give a new folder") from error
        if recorded != recipe.to_json():
            raise ValueError(
                f"{out} holds an unfinished run of another recipe; repeat its options or give a new folder"
            )
    elif not (out / MANIFEST_NAME).exists():
        if out.exists() and any(path.name != STATE_FOLDER for path in out.iterdir()):
            raise ValueError(f"{out} is not empty and holds no pretraining run; give a new folder")
        recipe_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(recipe_file, json.dumps(recipe.to_json()).encode())


def finished_manifest(recipe: Recipe, out: Path) -> Manifest:
    """The manifest of a finished run, whose weights are checked first."""
    manifest = read_manifest(out)
    if manifest.recipe != recipe:
        raise ValueError(f"{out} holds a finished run of another recipe; give a new folder")
    if damaged := damaged_steps(out, manifest):
        raise ValueError(
            f"{out} is damaged: the weights of steps {damaged} differ from its manifest; give a new folder"
        )
    return manifest


def train(
    recipe: Recipe, state: TrainingState, tokenizer: PreTrainedTokenizerFast, out: Path, on_step: OnStep
) -> TrainingState:
    """Train from `state` to the last step, writing checkpoints and training states."""
    started = time.monotonic() - state.seconds
    losses = list(state.losses)
    is_label = label_mask(tokenizer)
    save_checkpoint(recipe, state, tokenizer, out)
    for step in range(state.step + 1, recipe.steps + 1):
        logged = update(recipe, state, tokenizer, is_label, step)
        if step % LOG_EVERY == 0 or step in (1, recipe.steps):
            losses.append(logged)
        if step in recipe.checkpoint_steps or step % SAVE_EVERY == 0:
            now = TrainingState(state.model, state.optimizer, step, tuple(losses), time.monotonic() - started)
            save_checkpoint(recipe, now, tokenizer, out)
            save_state(now, out)
        on_step(logged)
    return TrainingState(state.model, state.optimizer, recipe.steps, tuple(losses), time.monotonic() - started)


def update(
    recipe: Recipe, state: TrainingState, tokenizer: PreTrainedTokenizerFast, is_label: Tensor, step: int
) -> LoggedLoss:
    """One optimiser update on the documents of `step`, in place; returns the loss before it."""
    documents = corpus.training_documents(recipe.seed, step, recipe.documents, recipe.document_length, recipe.mix)
    token_ids = torch.tensor(tokenizer(documents)["input_ids"])
    logits = state.model(input_ids=token_ids, use_cache=False).logits[:, :-1].flatten(0, 1)
    targets = token_ids[:, 1:].flatten()
    losses = nn.functional.cross_entropy(logits, targets, reduction="none")
    weights = torch.where(is_label[targets], recipe.label_weight, 1.0)
    loss = (losses * weights).sum() / weights.sum()
    logged = LoggedLoss(step, round(losses.mean().item(), 4), round(losses[is_label[targets]].mean().item(), 4))
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()} at step {step}; lower the learning rate")
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, step)
    state.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(state.model.parameters(), recipe.gradient_clip)
    state.optimizer.step()
    return logged


def label_mask(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Which tokens of the vocabulary are label words of any kind, shape (vocabulary,)."""
    mask = torch.zeros(len(tokenizer), dtype=torch.bool)
    mask[tokenizer.convert_tokens_to_ids(sorted(w for kind in corpus.KINDS for w in corpus.label_words(kind)))] = True
    return mask


def save_checkpoint(recipe: Recipe, state: TrainingState, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the checkpoint of this step if the recipe has it: complete under another name, then renamed."""
    folder = step_folder(out, state.step)
    if state.step not in recipe.checkpoint_steps or folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.incomplete")
    shutil.rmtree(partial, ignore_errors=True)
    with without_bars():
        copy.deepcopy(state.model).half().save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    for path in partial.iterdir():
        path.chmod(0o644)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    partial.rename(folder)


@contextmanager
def without_bars() -> Iterator[None]:
    """Context manager: no progress bars of transformers."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def describe(recipe: Recipe, state: TrainingState, vocabulary_size: int, out: Path) -> Manifest:
    """The manifest of a run whose checkpoints are all written."""
    return Manifest(
        recipe=recipe,
        tokens_per_step=recipe.tokens_per_step,
        n_parameters=sum(parameter.numel() for parameter in state.model.parameters()),
        vocabulary_size=vocabulary_size,
        documents_sha256=documents_hash(recipe),
        weights_sha256=weights_hashes(out, recipe.checkpoint_steps),
        losses=state.losses,
        versions={"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        threads=torch.get_num_threads(),
        seconds=round(state.seconds, 1),
    )


def documents_hash(recipe: Recipe) -> str:
    """SHA-256 of the documents of step 1, in hexadecimal."""
    documents = corpus.training_documents(recipe.seed, 1, recipe.documents, recipe.document_length, recipe.mix)
    return hashlib.sha256("\n".join(documents).encode()).hexdigest()
