"""Loading a checkpoint from disk, model and tokenizer, with checks for missing, damaged and mismatched files."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TokenizersBackend,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.utils import logging as transformers_logging

from dynamics import gguf_files
from dynamics.checkpoints import Checkpoint
from dynamics.errors import CheckpointError, one_line, unknown
from dynamics.expert_tensors import whole_experts
from dynamics.folder_checks import OLD_BUFFERS, TIED_BUT_TWO, check_folder
from dynamics.rotary_buffers import check_frequencies
from dynamics.stored_tensors import stored_tensors, stored_types
from dynamics.supported_models import rope_types
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
    check_folder(folder, checkpoint.weights, initialised=checkpoint.init_seed is not None)
    file = gguf_files.gguf_file(folder) if checkpoint.weights == "gguf" else None
    gguf = None if file is None else file.name
    if checkpoint.init_seed is not None:
        initialised: Any = random_model(folder, checkpoint.init_seed, gguf)
        for parameter in initialised.parameters():  # not its buffers: rotary frequencies stay in float32, as in others
            parameter.data = parameter.data.to(_DTYPES[dtype])
        return initialised.to(device).eval().requires_grad_(False)
    config = _config(folder, gguf)
    types = stored_types(folder, checkpoint.weights)
    model, report = _opened(checkpoint, folder, config, gguf, dtype)
    _check_complete(folder, report)
    if file is None:
        _check_every_parameter(folder, model, types)
    else:
        gguf_files.check_complete(file, model)
    check_frequencies(folder, checkpoint.weights, types, model)
    _check_finite(folder, checkpoint.weights, model, dtype)
    return model.to(device).eval().requires_grad_(False)


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer, or the one named for it, as tokenizer.json defines it, whatever class is configured.

    Special tokens are those of the file's post-processor, or those that `add_bos_token` and `add_eos_token` of
    tokenizer_config.json ask for. The result is compared with the file, read by the `tokenizers` library alone, on
    `tokenizer_files.PROBES`. From a GGUF file, which has no tokenizer.json, transformers rebuilds it.

    Raises:
        CheckpointError: its files are missing or damaged, it does not do what its file says, or it puts a token after
            every text, where the label word has to be.
    """
    named = checkpoint.tokenizer
    folder = _local_folder(checkpoint) if named is None else named.local()
    gguf = None if named or (folder / "tokenizer.json").exists() else gguf_files.gguf_file(folder)
    if gguf is not None:
        settings = {**_LOCAL_ONLY, "gguf_file": gguf.name}
        return _opened_tokenizer(folder, lambda: AutoTokenizer.from_pretrained(folder, **settings))
    tokenizer = open_tokenizer(folder)
    _check_special_tokens(folder, tokenizer)
    return tokenizer


def open_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder as its tokenizer.json defines it, compared with that file on `tokenizer_files.PROBES`.

    Special tokens are those of the file's post-processor, or those that `add_bos_token` and `add_eos_token` ask for.

    Raises:
        CheckpointError: its files are missing or damaged, or it does not do what its file says.
    """
    file = read_tokenizer_file(folder)
    # not AutoTokenizer: for some classes it rebuilds a tokenizer from the vocabulary and drops the rest of the file
    tokenizer = _opened_tokenizer(folder, lambda: TokenizersBackend.from_pretrained(folder, **_LOCAL_ONLY))
    asked = [kind for kind, asks in file.special["added"].items() if asks]
    difference = first_difference(file, lambda text: tokenizer(text, add_special_tokens=False)["input_ids"])
    if all(asks is None for asks in file.special["added"].values()):  # the config leaves them to the file
        difference = difference or first_difference(file, lambda text: tokenizer(text)["input_ids"], special=True)
    if difference:
        raise CheckpointError(
            f"the tokenizer in {folder} does not open as its tokenizer.json defines it: {difference} as opened; check "
            "that tokenizer.json and tokenizer_config.json are of one tokenizer, and save it again"
        )
    for kind in asked:  # which transformers drops where there is a tokenizer.json
        if getattr(tokenizer, f"{kind}_token_id") is not None and not _adds(tokenizer, kind):
            setattr(tokenizer, f"add_{kind}_token", True)
    return tokenizer


def _adds(tokenizer: PreTrainedTokenizerBase, kind: str) -> bool:
    """Whether a tokenizer puts its BOS before, or its EOS after, a text."""
    return tokenizer("a")["input_ids"][0 if kind == "bos" else -1] == getattr(tokenizer, f"{kind}_token_id")


def _opened_tokenizer(folder: Path, read: Callable[[], PreTrainedTokenizerBase]) -> PreTrainedTokenizerBase:
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


def unembedding_note(model: PreTrainedModel) -> str | None:
    """What is used where a config ties the unembedding to the embedding, and the opened model has two; else None.

    Of any format of weights: `folder_checks.own_unembedding` knows it of safetensors before they are opened.
    """
    head: Any = model.get_output_embeddings()
    embedding: Any = model.get_input_embeddings()
    if not model.config.tie_word_embeddings or head.weight is embedding.weight:
        return None
    name = next(name for name, module in model.named_modules() if module is head)
    return TIED_BUT_TWO.format(f"{name}.weight")


def random_model(folder: Path, seed: int, gguf_file: str | None = None) -> PreTrainedModel:
    """A float32 model of a folder's config with random weights, initialised as transformers does for its family.

    Suites may have initialised their models differently (Pythia scaled some layers by depth); where a step 0 is
    published, it is a second control. The weights depend on the seed only, and torch's global generator is left as it
    was.
    """
    config = _config(folder, gguf_file)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)


def _local_folder(checkpoint: Checkpoint) -> Path:
    if checkpoint.folder is None:
        raise CheckpointError(f"{checkpoint.model}@{checkpoint.revision} has no folder on disk; fetch its files first")
    return checkpoint.folder


def _config(folder: Path, gguf_file: str | None) -> PreTrainedConfig:
    """The config of a folder, with an attention that is installed.

    Raises:
        CheckpointError: transformers does not accept it, or does not know its rotary embedding.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, gguf_file=gguf_file)
    except Exception as error:  # validation errors of several kinds; of a GGUF file, whatever reads it
        where = folder / (gguf_file or "config.json")
        raise CheckpointError(
            f"{where} is not a config that transformers opens: {one_line(error)}. Correct it"
        ) from error
    for kind in rope_types(getattr(config, "rope_parameters", None)):
        if kind not in ("default", *ROPE_INIT_FUNCTIONS):
            known = unknown("rope_type", kind, ("default", *ROPE_INIT_FUNCTIONS))
            raise CheckpointError(f"{folder / 'config.json'}: {known}. Correct it, or use a transformers that knows it")
    # FlashAttention and the like may be missing where the checkpoint is read; heads write the same under each
    if config._attn_implementation_internal not in (None, "eager", "sdpa"):
        config._attn_implementation = "sdpa"
    return config


def _opened(
    checkpoint: Checkpoint, folder: Path, config: PreTrainedConfig, gguf_file: str | None, dtype: str
) -> tuple[Any, dict]:
    """The model as transformers opens it, and its report of tensors that did not fit."""
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        opened: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=_DTYPES[dtype],
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=checkpoint.weights == "safetensors",
            weights_only=True,
            ignore_mismatched_sizes=True,  # reported below by name, instead of on the console
            output_loading_info=True,
            gguf_file=gguf_file,
        )
        return opened
    except (MemoryError, torch.OutOfMemoryError):
        raise  # no fault of the files: another attempt may have more
    except Exception as error:  # a damaged file raises safetensors errors, OSError, RuntimeError, KeyError ...
        raise CheckpointError(f"{folder} cannot be opened: {one_line(error)}. {_remedy(error)}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)


def _remedy(error: Exception) -> str:
    """What helps against an error of opening a model, by its class."""
    if isinstance(error, ImportError):
        return "Install the package it names, or save the model in a format that needs none"
    if isinstance(error, KeyError | TypeError | AttributeError | ZeroDivisionError):
        return "Correct config.json, from which the model is built before its weights are read"
    return "Copy or download the checkpoint again"


def _check_complete(folder: Path, report: dict) -> None:
    """Check that config and weights agree, since transformers fills in missing tensors and drops unknown ones."""
    for kind, remedy in _REMEDIES.items():
        reported = (str(key[0] if isinstance(key, tuple) else key) for key in report.get(kind) or ())
        keys = sorted(key for key in reported if kind != "unexpected_keys" or not OLD_BUFFERS.fullmatch(key))
        if keys:
            shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
            raise CheckpointError(f"{folder} does not fit its config.json: {kind.replace('_', ' ')}: {shown}. {remedy}")


_REMEDIES = {
    "missing_keys": (
        "The weights lack them: they are of a smaller or another model, or of a part of one. Copy config and weights "
        "from the same checkpoint"
    ),
    "unexpected_keys": (
        "The model of config.json has no place for them: it is smaller or another one. Copy config and weights from "
        "the same checkpoint"
    ),
    "mismatched_keys": "Their shapes are of another config. Copy config and weights from the same checkpoint",
    "error_msgs": "Copy the checkpoint again",
}


def _check_every_parameter(folder: Path, model: PreTrainedModel, types: Mapping[str, str]) -> None:
    """Check that every parameter is in the files, itself or as the one it is tied to, and by one name only.

    transformers opens a backbone without its prefix too, and takes the last of two tensors for one parameter.
    """
    parameters = {_one_name(name): value for name, value in model.named_parameters(remove_duplicate=False)}
    prefix = f"{model.base_model_prefix}."
    named: dict[str, str] = {}
    for name in sorted(types):
        forms = (_one_name(name), prefix + name, name.removeprefix(prefix))
        parameter = next((form for form in forms if form in parameters), None)
        if parameter in named:
            raise CheckpointError(
                f"{folder} holds {parameter} twice, as {named[parameter]} and {name}; take one of the two out"
            )
        if parameter is not None:
            named[parameter] = name
    present = {id(parameters[name]) for name in (*named, *whole_experts(types, parameters, prefix))}
    if absent := [name for name, parameter in parameters.items() if id(parameter) not in present]:
        raise CheckpointError(
            f"{folder} does not fit its config.json: missing: {absent[0]}. {_REMEDIES['missing_keys']}"
        )


def _one_name(name: str) -> str:
    """A parameter's name, the unembedding of GPT-NeoX by the one that newer versions of transformers use."""
    return f"lm_head.{rest}" if (rest := name.removeprefix("embed_out.")) != name else name


def _check_finite(folder: Path, weights: str, model: PreTrainedModel, dtype: str) -> None:
    """Check that no parameter has NaN or infinite values, and tell a damaged file from a type that is too narrow."""
    bad = [name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    if not bad:
        return
    name = bad[0]
    largest = _largest_in_file(folder, weights, name.removeprefix(f"{model.base_model_prefix}."))
    if largest is not None and math.isfinite(largest):
        raise CheckpointError(
            f"{folder}: {name} overflows {dtype}: the file holds {largest:.3g}, and {dtype} ends at "
            f"{torch.finfo(_DTYPES[dtype]).max:.3g} ({len(bad)} such tensors); set dtype to bfloat16 or float32"
        )
    if largest is None and dtype == "float16":
        raise CheckpointError(
            f"{folder}: {name} holds NaN or infinity in {dtype} ({len(bad)} such tensors); set dtype to bfloat16 or "
            "float32, and if it fails there too, copy the checkpoint again or leave the step out"
        )
    raise CheckpointError(
        f"{folder}: {name} holds NaN or infinity ({len(bad)} such tensors); "
        "the training run diverged or the file is damaged: copy the checkpoint again or leave the step out"
    )


def _largest_in_file(folder: Path, weights: str, name: str) -> float | None:
    """The largest magnitude of a tensor as stored, with or without a prefix; None where no file has it unquantised."""

    def is_it(stored: str) -> bool:
        return _one_name(stored) == name or stored.endswith(f".{name}")

    return next((float(t.double().abs().max()) for _, t in stored_tensors(folder, weights, is_it)), None)
