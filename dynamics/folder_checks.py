"""Checks of a checkpoint's folder before its weights are opened: config, tokenizer, tensors. No torch."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from dynamics import gguf_files
from dynamics.checkpoint_files import WHOLE, index_file, shards_of_index, weight_files
from dynamics.errors import CheckpointError, one_line
from dynamics.supported_models import check_no_rescaling, check_rope_types, check_supported

FLOATS = ("F64", "F32", "F16", "BF16")
"""The types of tensors that are weights, as safetensors calls them."""
OLD_BUFFERS = re.compile(r"(.*\.)?((attn|attention)\.(masked_)?bias|rotary_emb\.inv_freq)")
"""Causal masks and rotary frequencies, which old versions of transformers saved beside the weights. They follow from
the config; frequencies that do not are refused (`dynamics.rotary_buffers`)."""
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
"""What torch.compile, data parallelism, FSDP, activation checkpointing and Fabric put into the names of parameters."""

TIED_BUT_TWO = "config.json ties embedding and unembedding, and the files hold two that differ: {} is the unembedding"

_TIED_BY_DEFAULT = ("gpt2",)
_EMBEDDINGS, _UNEMBEDDINGS = (
    ("wte.weight", "embed_tokens.weight", "embed_in.weight"),
    ("lm_head.weight", "embed_out.weight"),
)
_CHUNK = 1 << 24
_POINTERS = {b"version https://git-lfs": "Git LFS", b"/annex/objects/": "git-annex"}
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_OTHER_FORMATS = ("*.pth", "*.pt", "*.ckpt", "*.h5", "*.msgpack", "*.bin", "*.npz")


def check_folder(folder: Path, weights: str, *, initialised: bool = False) -> None:
    """Check everything that can be known of a model before its weights are opened.

    Args:
        folder: with config and weights.
        weights: the format that is opened: `safetensors`, `gguf` or `bin`.
        initialised: the weights are drawn at random, so that only the config is needed.

    Raises:
        CheckpointError: a file is missing, damaged or not what its name says; or weights are not those of one model.
        UnsupportedModel: no family covers the config.
    """
    file = gguf_files.gguf_file(folder) if weights == "gguf" else None
    if file is not None:
        check_no_pointers([file])
        gguf_files.check_packages(file)
        gguf_files.check_metadata(file)
        return
    check_config(read_json(folder, "config.json"), folder)
    if initialised:
        return
    _check_no_adapter(folder, weights)
    check_weight_files(folder, weights)
    if weights == "safetensors":
        check_tensors(folder, tensor_types(weight_files(folder, weights)))


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of a checkpoint.

    Raises:
        CheckpointError: the file is missing, or holds something else.
    """
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; a checkpoint is a Hugging Face folder that contains {name}")
    check_no_pointers([path])
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); copy the file again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a JSON object; copy the file again")
    return content


def check_config(config: Mapping[str, Any], where: Path | str) -> None:
    """Check a config.json: its family is supported, and no key makes the model another than its weights are.

    Raises:
        CheckpointError: quantised weights, weights in a file named by the config, or sizes that contradict each other.
        UnsupportedModel: no family covers it.
    """
    check_supported(config.get("model_type"))
    check_no_rescaling(config)
    check_rope_types(config)
    if config.get("quantization_config") is not None:
        raise CheckpointError(
            f"{where}: config.json has a quantization_config ({_quantisation(config)}), and quantised weights are not "
            "the matrices that the parts are split by. Use the model's float weights, or open this one where its "
            "packages are installed, then model.dequantize() and model.save_pretrained(another folder), or remove the "
            "key if the weights are floats"
        )
    if config.get("transformers_weights"):
        raise CheckpointError(
            f"{where}: config key transformers_weights = {config['transformers_weights']!r} names another file of "
            "weights than model.safetensors; remove the key, and give that file this name"
        )
    tied = config.get("tie_word_embeddings", False)
    if not isinstance(tied, bool):
        raise CheckpointError(
            f"{where}: config key tie_word_embeddings = {tied!r} must be true or false; correct config.json: true "
            "where the unembedding is the embedding (no lm_head or embed_out among the weights), else false"
        )
    _check_heads(config, where)


def check_weight_files(folder: Path, weights: str) -> None:
    """Check that a folder has the files of a format: the single one, or the index and all its shards.

    Raises:
        CheckpointError: files are missing, with the reason and a remedy by what is there instead; or are pointers.
    """
    files = weight_files(folder, weights)
    whole, index = WHOLE[weights], index_file(folder, weights)
    if index.is_file() and not (folder / whole).is_file():
        named = shards_of_index(folder, weights)
        if not named:
            raise CheckpointError(f"{index} names no shards; copy the index again")
        if missing := [name for name in named if not (folder / name).is_file()]:
            raise CheckpointError(
                f"{folder} lacks {len(missing)} of the {len(named)} shards in {index.name}, the first is {missing[0]}; "
                "copy or download it again"
            )
    elif files and files[0].name != whole:
        raise CheckpointError(f"{folder} holds shards such as {files[0].name} but no {index.name}; copy the index too")
    if not files:
        what = f"holds no .{weights} file called {whole}, whole or in shards"
        raise CheckpointError(f"{folder} {what}: {_instead(folder, weights)}")
    check_no_pointers(files)


def tensor_types(files: Sequence[Path]) -> dict[str, str]:
    """Name -> type of every tensor in safetensors files, from their headers.

    Raises:
        CheckpointError: a file is damaged, or two files hold a tensor of the same name.
    """
    types: dict[str, str] = {}
    for path in files:
        try:
            with safe_open(path, framework="numpy") as file:
                of_file = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118, no mapping
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} cannot be opened: {one_line(error)}. The file is damaged or cut off: copy or download it again"
            ) from error
        if twice := sorted(types.keys() & of_file.keys()):
            raise CheckpointError(
                f"{path} and another shard both hold {twice[0]}; the shards are of two models: copy all of them again"
            )
        types |= of_file
    return types


def check_tensors(folder: Path, types: Mapping[str, str]) -> None:
    """Check that tensors are weights: of float types, and named as the model's parameters are.

    Raises:
        CheckpointError: with the tensor's name, and for names of a wrapped model the line that strips the wrapper.
    """
    for name, kind in types.items():
        if wrapper := next((piece for piece in WRAPPERS if piece in name.split(".")), None):
            raise CheckpointError(
                f"{folder}: tensor {name} was saved from a wrapped model; take {wrapper + '.'!r} out of the names, for "
                "each file of weights f: from safetensors.torch import load_file, save_file; save_file({"
                f'name.replace("{wrapper}.", ""): t for name, t in load_file(f).items()}}, f, {{"format": "pt"}})'
            )
        if kind not in FLOATS and not OLD_BUFFERS.fullmatch(name):
            raise CheckpointError(
                f"{folder}: tensor {name} is of type {kind}; weights are {', '.join(FLOATS)}. The file is quantised or "
                "damaged: use the model's float weights, or copy the file again"
            )


def own_unembedding(folder: Path, weights: str) -> str | None:
    """What is used where a config ties the unembedding to the embedding and the files hold two matrices that differ.

    transformers then opens both as they are in the files. None where they are equal, or not both there, or unreadable.
    """
    if weights != "safetensors":
        return None
    try:
        config = read_json(folder, "config.json")
        if not config.get("tie_word_embeddings", config.get("model_type") in _TIED_BY_DEFAULT):
            return None
        digests = {name: digest for path in weight_files(folder, weights) for name, digest in _matrices(path)}
    except (CheckpointError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # opening the files says what is wrong with them
    head = next((name for name in digests if name.endswith(_UNEMBEDDINGS)), None)
    if head is None or len(set(digests.values())) < 2:
        return None
    return TIED_BUT_TWO.format(head)


def _matrices(path: Path) -> Iterator[tuple[str, str]]:
    """Name and hash of type and values, of the embedding and of the unembedding in a safetensors file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name in sorted(name for name in header if name.endswith((*_EMBEDDINGS, *_UNEMBEDDINGS))):
            begin, end = header[name]["data_offsets"]
            file.seek(8 + length + begin)
            digest = hashlib.sha256(header[name]["dtype"].encode())
            for at in range(begin, end, _CHUNK):
                digest.update(file.read(min(_CHUNK, end - at)))
            yield name, digest.hexdigest()


def _quantisation(config: Mapping[str, Any]) -> str:
    """The method of a quantised model, in words."""
    settings = config["quantization_config"]
    if not isinstance(settings, Mapping):
        return f"{settings!r}, which is no table"
    by_key = "bitsandbytes" if {"load_in_4bit", "load_in_8bit"} & set(settings) else "unknown"
    return f"quant_method {settings.get('quant_method', by_key)!r}"


def _check_heads(config: Mapping[str, Any], where: Path | str) -> None:
    """Check that heads divide the width, and key-value heads the heads."""
    width, n_heads, n_groups = (
        next((config[name] for name in names if isinstance(config.get(name), int)), None)
        for names in (("hidden_size", "n_embd"), ("num_attention_heads", "n_head"), ("num_key_value_heads",))
    )
    pairs = [("num_attention_heads", n_heads, "num_key_value_heads", n_groups)]
    if not config.get("head_dim"):
        pairs.append(("hidden_size", width, "num_attention_heads", n_heads))
    for name, whole, part_name, part in pairs:
        if whole is not None and part is not None and (part < 1 or whole % part):
            raise CheckpointError(
                f"{where}: config key {part_name} = {part} does not divide {name} = {whole}; correct config.json by "
                "the shapes of the weights"
            )


def check_no_pointers(files: Iterable[Path]) -> None:
    """Check that files are not the pointers that Git LFS and git-annex leave in place of a file's content."""
    for path in files:
        with path.open("rb") as content:
            start = content.read(256)
        for mark, system in _POINTERS.items():
            if mark in start and len(start) < 256:
                pull = "git lfs pull" if system == "Git LFS" else "git annex get ."
                raise CheckpointError(f"{path} is a {system} pointer, not the file; run `{pull}` in {path.parent}")


def _check_no_adapter(folder: Path, weights: str) -> None:
    """Check that no adapter lies beside the weights: transformers would add it where `peft` is installed."""
    adapters = [name for name in _ADAPTERS if (folder / name).exists()]
    if adapters and weight_files(folder, weights):
        raise CheckpointError(
            f"{folder} holds full weights and an adapter ({adapters[0]}): two models. Move the adapter's files "
            f"elsewhere to measure the weights without it, or else {_MERGE}"
        )


_MERGE = (
    "merge it: peft.AutoPeftModelForCausalLM.from_pretrained(the adapter's folder).merge_and_unload()"
    ".save_pretrained(another folder)"
)


def _instead(folder: Path, weights: str) -> str:
    """What a folder without weights of a format holds instead, and the remedy."""
    broken = [path.name for path in sorted(folder.iterdir()) if path.is_symlink() and not path.exists()]
    others = [path.name for path in sorted(folder.glob(f"*.{weights}")) if path.name not in _ADAPTERS]
    if broken:
        return f"{broken[0]} is a link to a file that is not there; download the checkpoint again"
    if any((folder / name).exists() for name in _ADAPTERS):
        return f"it is an adapter only; {_MERGE}"
    if weights == "safetensors" and weight_files(folder, "bin"):
        return (
            "it has its weights as pickle (.bin) only; add allow_pickle = true to the model if you trust it (it is "
            "loaded with weights_only=True), or save them as safetensors"
        )
    if list(folder.glob("*/.metadata")) or list(folder.glob("*.distcp")) or list(folder.glob("*/*.distcp")):
        return "it holds FSDP shards (.distcp); write one file of them: accelerate merge-weights SHARDS FOLDER"
    if (folder / "zero_to_fp32.py").exists() or list(folder.glob("*/*model_states.pt")):
        return "it holds DeepSpeed shards; write one file of them: python zero_to_fp32.py . . --safe_serialization"
    if others:
        return f"it has {others[0]}, which is not a name of a model's weights; rename the file if it holds them"
    foreign = [path.name for pattern in _OTHER_FORMATS for path in sorted(folder.glob(pattern))]
    if foreign:
        return f"it has {foreign[0]}; where that holds the weights, save them with save_pretrained, as safetensors"
    return "copy the weights there, or leave the step out"
