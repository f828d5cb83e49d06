"""Opening a checkpoint from disk, with every check made: model and tokenizer."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from dynamics import gguf_files
from dynamics.checkpoint_files import weight_files
from dynamics.checkpoints import Checkpoint
from dynamics.errors import CheckpointError, first_line
from dynamics.families import check_supported

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(checkpoint: Checkpoint, *, dtype: str = "float32", device: str = "cpu") -> PreTrainedModel:
    """Open a checkpoint in eval mode, without gradients, and check that it is whole.

    From safetensors, or from a GGUF file where the folder holds that instead; its weights are then unpacked to `dtype`
    and its config comes from its metadata.
    Pickle is opened only where `checkpoint.weights` says so, and then with `weights_only=True`. Where the checkpoint
    has an `init_seed`, its weights are drawn and none are read.

    Raises:
        CheckpointError: a file is missing or damaged, a tensor is missing, misshapen or not finite.
        UnsupportedModel: no family covers the config's `model_type`.
    """
    folder = _local_folder(checkpoint)
    file = gguf_files.gguf_file(folder) if checkpoint.weights == "gguf" else None
    if file is not None:
        gguf_files.require_packages(file)
    else:
        check_supported(_read_json(folder, "config.json").get("model_type"))
        if checkpoint.init_seed is None and not weight_files(folder, checkpoint.weights):
            raise CheckpointError(
                f"{folder} holds no .{checkpoint.weights} file; copy the weights there or save them again (weights in "
                "pickle, .bin, need allow_pickle = true)"
            )
    if checkpoint.init_seed is not None:
        drawn: Any = random_model(folder, checkpoint.init_seed, None if file is None else file.name)
        return drawn.to(device=device, dtype=_DTYPES[dtype]).eval().requires_grad_(False)
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        opened: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=_DTYPES[dtype],
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=checkpoint.weights == "safetensors",
            weights_only=True,
            ignore_mismatched_sizes=True,  # reported below by name, instead of on the console
            output_loading_info=True,
            gguf_file=None if file is None else file.name,
        )
    except Exception as error:  # safetensors, OSError, RuntimeError, KeyError: whatever the file's damage provokes
        first = first_line(error).rstrip(".!")
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
    folder = _local_folder(checkpoint)
    file = None if (folder / "tokenizer.json").exists() else gguf_files.gguf_file(folder)
    if file is None:
        _read_json(folder, "tokenizer.json")
    try:
        return AutoTokenizer.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            gguf_file=None if file is None else file.name,
        )
    except Exception as error:  # tokenizers raises a bare Exception on malformed JSON
        raise CheckpointError(f"the tokenizer in {folder} cannot be opened: {error}") from error


def random_model(folder: Path, seed: int, gguf_file: str | None = None) -> PreTrainedModel:
    """A float32 model of a folder's config, initialised as transformers initialises its family.

    That is not how every suite initialised its own (Pythia scaled some layers by depth): an untouched step 0, where
    there is one, is the control beside this one. The same seed gives the same weights whatever was drawn before, and
    later draws are as if nothing had been drawn.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, gguf_file=gguf_file)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)


def _local_folder(checkpoint: Checkpoint) -> Path:
    if checkpoint.folder is None:
        raise CheckpointError(f"{checkpoint.model}@{checkpoint.revision} is not on disk; fetch it first")
    return checkpoint.folder


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
