"""Tiny GPT-NeoX checkpoints in the layouts that occur on the Hub, as path -> content."""

import io
import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load, save

from dynamics.reference.corpus import vocabulary
from dynamics.reference.tokenizer import build_tokenizer
from tests.models import tiny_neox

Files = dict[str, bytes]
SETUP = ("config.json", "tokenizer.json", "tokenizer_config.json")


def setup_files() -> Files:
    """config.json and the tokenizer of every checkpoint."""
    return {name: content for name, content in _saved(0).items() if name in SETUP}


def single(seed: int) -> Files:
    """One model.safetensors; a dict of its own, which a test may change."""
    return {name: content for name, content in _saved(seed).items() if name in (*SETUP, "model.safetensors")}


def sharded(seed: int, n: int = 2) -> Files:
    """Shards of safetensors and their index."""
    return setup_files() | _shards(load(single(seed)["model.safetensors"]), "model", "safetensors", save, n)


def pickled(seed: int, n: int = 1) -> Files:
    """pytorch_model.bin, or shards of it and their index."""
    tensors = dict(sorted(load(single(seed)["model.safetensors"]).items()))  # equal seeds, equal bytes
    if n == 1:
        return setup_files() | {"pytorch_model.bin": _torch_save(tensors)}
    return setup_files() | _shards(tensors, "pytorch_model", "bin", _torch_save, n)


def both(seed: int) -> Files:
    """Both formats, the pickle with other weights, so that a test sees which one was opened."""
    return single(seed) | pickled(seed + 1000)


def chimera(seed: int, foreign: int) -> Files:
    """Sharded, with the first shard of another model."""
    first = "model-00001-of-00002.safetensors"
    return sharded(seed) | {first: sharded(foreign)[first]}


def malicious(target: Path) -> Files:
    """A pickle that makes a file when it is opened without care."""

    class Touch:
        def __reduce__(self) -> tuple:
            return (Path.touch, (target,))

    return setup_files() | {"pytorch_model.bin": _torch_save({"gpt_neox.embed_in.weight": Touch()})}


@cache
def _saved(seed: int) -> Files:
    tokenizer = build_tokenizer(vocabulary(), 256)
    with tempfile.TemporaryDirectory() as folder:
        tiny_neox(len(tokenizer), parallel=True, seed=seed).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _torch_save(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _shards(tensors: Mapping[str, torch.Tensor], stem: str, suffix: str, write, n: int) -> Files:
    names = sorted(tensors)
    files, weight_map = {}, {}
    for i in range(n):
        shard = f"{stem}-{i + 1:05d}-of-{n:05d}.{suffix}"
        in_shard = names[i::n]
        files[shard] = write({name: tensors[name] for name in in_shard})
        weight_map |= dict.fromkeys(in_shard, shard)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    return {**files, f"{stem}.{suffix}.index.json": json.dumps(index).encode()}
