"""Loading a checkpoint from disk, model and tokenizer, with checks for missing, damaged and mismatched files."""

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
    """The model of a checkpoint, in eval mode and without gradients, checked to be complete.

    The weights come from safetensors; from a GGUF file where the folder has that instead (unpacked to `dtype`, with the
    config from its metadata); from pickle only where `checkpoint.weights` is `bin`, with `weights_only=True`. The
    weights of a checkpoint with an `init_seed` are initialised at random, and no file of weights is read.

    Raises:
        CheckpointError: a file is missing or damaged; a tensor is missing, not finite or of another shape.
        UnsupportedModel: no family covers the config's `model_type`.
    """
    folder = _local_folder(checkpoint)
    file = gguf_files.gguf_file(folder) if checkpoint.weights == "gguf" else None
    if file is not None:
        gguf_files.check_packages(file)
    else:
        check_supported(_read_json(folder, "config.json").get("model_type"))
        if checkpoint.init_seed is None and not weight_files(folder, checkpoint.weights):
            raise CheckpointError(
                f"{folder} holds no .{checkpoint.weights} file; copy the weights there or save them again (pickled "
                "weights, .bin, need allow_pickle = true)"
            )
    if checkpoint.init_seed is not None:
        initialised: Any = random_model(folder, checkpoint.init_seed, None if file is None else file.name)
        for parameter in initialised.parameters():  # not its buffers: rotary frequencies stay in float32, as in others
            parameter.data = parameter.data.to(_DTYPES[dtype])
        return initialised.to(device).eval().requires_grad_(False)
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
    except Exception as error:  # a damaged file raises safetensors errors, OSError, RuntimeError, KeyError ...
        reason = first_line(error).rstrip(".!")
        raise CheckpointError(f"{folder} cannot be opened: {reason}. Copy or download the checkpoint again") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    model, report = opened
    _check_complete(folder, report)
    if file is not None:
        gguf_files.check_complete(file, model)
    _check_finite(folder, model)
    return model.to(device).eval().requires_grad_(False)


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint, from its GGUF file where the folder has no `tokenizer.json`.

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
        raise CheckpointError(
            f"the tokenizer in {folder} cannot be opened: {error}. Copy or download its files again"
        ) from error


def random_model(folder: Path, seed: int, gguf_file: str | None = None) -> PreTrainedModel:
    """A float32 model of a folder's config with random weights, initialised as transformers does for its family.

    Suites may have initialised their models differently (Pythia scaled some layers by depth); where a step 0 is
    published, it is a second control. The weights depend on the seed only, and torch's global generator is left as it
    was.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, gguf_file=gguf_file)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)


def _local_folder(checkpoint: Checkpoint) -> Path:
    if checkpoint.folder is None:
        raise CheckpointError(f"{checkpoint.model}@{checkpoint.revision} has no folder on disk; fetch its files first")
    return checkpoint.folder


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; a checkpoint is a Hugging Face folder that contains {name}")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); copy the file again") from error


def _check_complete(folder: Path, report: dict) -> None:
    """Check that config and weights agree, since transformers fills in missing tensors and drops unknown ones."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        keys = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report.get(kind) or ())
        if keys:
            shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
            raise CheckpointError(
                f"{folder} does not fit its config.json: {kind.replace('_', ' ')}: {shown}. "
                "Config and weights belong to different models, or a shard is missing: copy the checkpoint again"
            )


def _check_finite(folder: Path, model: PreTrainedModel) -> None:
    """Check that no parameter has NaN or infinite values."""
    names = [name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    if names:
        raise CheckpointError(
            f"{folder}: {names[0]} holds NaN or infinity ({len(names)} such tensors); "
            "the training run diverged or the file is damaged: copy the checkpoint again or leave the step out"
        )
