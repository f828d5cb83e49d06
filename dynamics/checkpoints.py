"""Checkpoints: which there are, what identifies them, and opening one from disk with every check made."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from dynamics import gguf_files
from dynamics.errors import CheckpointError, unknown
from dynamics.families import require_supported
from dynamics.reference import suite
from dynamics.reference.manifest import MANIFEST_NAME, read_manifest

_REVISION = re.compile(r"(?:step|checkpoint-)(\d+)")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_SETUP_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class Checkpoint:
    """One saved state of one model during pretraining.

    Attributes:
        model: the model's id in every table.
        revision: name of the saved state, such as `step512`.
        step: optimiser steps taken.
        tokens_seen: training tokens up to then; None where the tokens per step are not known.
        commit_sha: the Hub commit; for a folder on disk `sha256:` and the hash of its weights.
        content_hash: hash of the weight files: equal hashes are equal weights.
        setup_hash: hash of config and tokenizer files.
        folder: where its files are.
    """

    model: str
    revision: str
    step: int
    tokens_seen: int | None
    commit_sha: str
    content_hash: str
    setup_hash: str
    folder: Path


def find_checkpoints(
    model: str,
    steps: Sequence[int] | None = None,
    folder: Path | None = None,
    tokens_per_step: int | None = None,
) -> list[Checkpoint]:
    """The checkpoints of the reference suite, or of a folder that holds `step{n}` or `checkpoint-{n}` folders.

    Args:
        model: `reference`, or the name that the folder's model shall have in the tables.
        steps: the steps wanted, or None for all there are.
        folder: where the checkpoints are; None for the reference suite.
        tokens_per_step: training tokens per step of a folder's run; read from the manifest where `jobs.pretrain`
            made the folder.

    Raises:
        CheckpointError: the folder holds no checkpoints, or a step is missing.
    """
    root = folder
    if root is None:
        if model != suite.MODEL_ID:
            raise CheckpointError(
                f"model {model!r} has no folder in the plan; only {suite.MODEL_ID!r} is embedded. "
                'Add folder = "/path/to/checkpoints" beside its id'
            )
        root = suite.checkpoints_dir()
    there = _steps_in(root)
    missing = [step for step in steps or () if step not in there]
    if missing:
        raise CheckpointError(f"{unknown('step', missing[0], sorted(there), shown=200)} (model {model}, {root})")
    per_step = tokens_per_step or _tokens_per_step(root)
    wanted = sorted(there) if steps is None else sorted(set(steps))
    return [_checkpoint(model, step, there[step], per_step) for step in wanted]


def load_model(checkpoint: Checkpoint, *, dtype: str = "float32", device: str = "cpu") -> PreTrainedModel:
    """Open a checkpoint in eval mode, without gradients, and check that it is whole.

    From safetensors, or from a GGUF file where the folder holds that instead; its weights are then unpacked to `dtype`
    and its config comes from its metadata.

    Raises:
        CheckpointError: a file is missing or damaged, a tensor is missing, misshapen or not finite.
        UnsupportedModel: no family covers the config's `model_type`.
    """
    folder = checkpoint.folder
    file = gguf_files.gguf_file(folder)
    if file is not None:
        gguf_files.require_packages(file)
    else:
        require_supported(_read_json(folder, "config.json").get("model_type"))
        if not list(folder.glob("*.safetensors")):
            raise CheckpointError(f"{folder} holds no .safetensors file; copy the weights there or save them again")
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        opened: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=_DTYPES[dtype],
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=file is None,
            ignore_mismatched_sizes=True,  # reported below by name, instead of on the console
            output_loading_info=True,
            gguf_file=None if file is None else file.name,
        )
    except Exception as error:  # safetensors, OSError, RuntimeError, KeyError: whatever the file's damage provokes
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".!")
        raise CheckpointError(f"{folder} cannot be opened: {first}. Copy or download the checkpoint again") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    model, report = opened
    _check_complete(folder, report)
    if file is not None:
        gguf_files.check_nothing_lost(file, model)
    _check_finite(folder, model)
    return model.to(device).eval().requires_grad_(False)


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer; from its GGUF file where the folder holds that and no `tokenizer.json`.

    Raises:
        CheckpointError: its files are missing or damaged.
    """
    file = None if (checkpoint.folder / "tokenizer.json").exists() else gguf_files.gguf_file(checkpoint.folder)
    if file is None:
        _read_json(checkpoint.folder, "tokenizer.json")
    try:
        return AutoTokenizer.from_pretrained(
            checkpoint.folder,
            local_files_only=True,
            trust_remote_code=False,
            gguf_file=None if file is None else file.name,
        )
    except Exception as error:  # tokenizers raises a bare Exception on malformed JSON
        raise CheckpointError(f"the tokenizer in {checkpoint.folder} cannot be opened: {error}") from error


def _steps_in(root: Path) -> dict[int, Path]:
    """Step -> folder for every checkpoint in a folder."""
    if not root.is_dir():
        raise CheckpointError(f"{root} is not a folder; give one that holds step<n> or checkpoint-<n> folders")
    found = {int(m[1]): path for path in sorted(root.iterdir()) if (m := _REVISION.fullmatch(path.name))}
    if not found:
        raise CheckpointError(f"{root} holds no step<n> or checkpoint-<n> folder")
    return found


def _tokens_per_step(root: Path) -> int | None:
    """Tokens per step as the manifest of `jobs.pretrain` tells; None for any other folder."""
    return read_manifest(root).tokens_per_step if (root / MANIFEST_NAME).exists() else None


def _checkpoint(model: str, step: int, folder: Path, tokens_per_step: int | None) -> Checkpoint:
    content = _hash_files(sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.gguf")))
    return Checkpoint(
        model=model,
        revision=folder.name,
        step=step,
        tokens_seen=None if tokens_per_step is None else step * tokens_per_step,
        commit_sha=f"sha256:{content}",
        content_hash=content,
        setup_hash=_hash_files([folder / name for name in _SETUP_FILES if (folder / name).exists()]),
        folder=folder,
    )


def _hash_files(files: Sequence[Path]) -> str:
    """sha256 over names and contents."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; a checkpoint is a Hugging Face folder with {name} in it")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); copy the file again") from error


def _check_complete(folder: Path, report: dict) -> None:
    """Refuse what transformers would fill with random numbers or leave out without an error."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        keys = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report.get(kind) or ())
        if keys:
            shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
            raise CheckpointError(
                f"{folder} does not fit its config.json: {kind.replace('_', ' ')}: {shown}. "
                "Config and weights are from different models, or a shard is missing"
            )


def _check_finite(folder: Path, model: PreTrainedModel) -> None:
    bad = [name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckpointError(
            f"{folder}: {bad[0]} holds NaN or infinity ({len(bad)} such tensors); "
            "the training run diverged or the file is damaged"
        )
