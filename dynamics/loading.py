"""Loading a checkpoint from disk, model and tokenizer, with checks for missing, damaged and mismatched files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TokenizersBackend,
)
from transformers.utils import logging as transformers_logging

from dynamics import gguf_files
from dynamics.checkpoint_files import weight_files
from dynamics.checkpoints import Checkpoint
from dynamics.errors import CheckpointError, first_line
from dynamics.families import check_supported
from dynamics.tokenizer_files import PROBES, first_difference, read_tokenizer_file

_LOCAL_ONLY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
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
        return initialised.to(device=device, dtype=_DTYPES[dtype]).eval().requires_grad_(False)
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
    """The checkpoint's tokenizer, as its tokenizer.json defines it, whatever class its config names.

    Special tokens are those of the file's post-processor, or those that `add_bos_token` and `add_eos_token` of
    tokenizer_config.json ask for. The result is compared with the file, read by the `tokenizers` library alone, on
    `tokenizer_files.PROBES`. From a GGUF file, which has no tokenizer.json, transformers rebuilds it.

    Raises:
        CheckpointError: its files are missing or damaged, it does not do what its file says, or it puts a token after
            every text, where the label word has to be.
    """
    folder = _local_folder(checkpoint)
    gguf = None if (folder / "tokenizer.json").exists() else gguf_files.gguf_file(folder)
    if gguf is not None:
        return _opened(folder, lambda: AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name, **_LOCAL_ONLY))
    file = read_tokenizer_file(folder)
    # not AutoTokenizer: for some classes it rebuilds a tokenizer from the vocabulary and drops the rest of the file
    tokenizer = _opened(folder, lambda: TokenizersBackend.from_pretrained(folder, **_LOCAL_ONLY))
    if difference := first_difference(file, lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]):
        raise CheckpointError(
            f"the tokenizer in {folder} does not open as its tokenizer.json defines it: {difference} as opened; check "
            "that tokenizer.json and tokenizer_config.json are of one tokenizer, and save it again"
        )
    for kind, asks in file.special["added"].items():  # which transformers drops where there is a tokenizer.json
        if asks and getattr(tokenizer, f"{kind}_token_id") is not None and not _adds(tokenizer, kind):
            setattr(tokenizer, f"add_{kind}_token", True)
    _check_special_tokens(folder, tokenizer)
    return tokenizer


def _adds(tokenizer: PreTrainedTokenizerBase, kind: str) -> bool:
    """Whether a tokenizer puts its BOS before, or its EOS after, a text."""
    return tokenizer("a")["input_ids"][0 if kind == "bos" else -1] == getattr(tokenizer, f"{kind}_token_id")


def _opened(folder: Path, read: Callable[[], PreTrainedTokenizerBase]) -> PreTrainedTokenizerBase:
    try:
        return read()
    except Exception as error:  # of transformers and of tokenizers, which raises a bare Exception on malformed JSON
        raise CheckpointError(
            f"the tokenizer in {folder} cannot be opened: {error}. Copy or download its files again"
        ) from error


def _check_special_tokens(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that special tokens stand before a text only, and the same before every text."""
    prefixes = set()
    for text in PROBES:
        bare, full = (tokenizer(text, add_special_tokens=special)["input_ids"] for special in (False, True))
        if not bare or full[-len(bare) :] != bare:
            added = tokenizer.convert_ids_to_tokens(full[len(full) - 1 :])
            raise CheckpointError(
                f"the tokenizer in {folder} puts {added[0]!r} after every text, where the label word has to follow; "
                "set add_eos_token to false in tokenizer_config.json, or take the token out of the post-processor"
            )
        prefixes.add(tuple(full[: len(full) - len(bare)]))
    if len(prefixes) > 1:
        raise CheckpointError(
            f"the tokenizer in {folder} puts different special tokens before different texts ({sorted(prefixes)}); "
            "correct the post-processor in tokenizer.json"
        )


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
