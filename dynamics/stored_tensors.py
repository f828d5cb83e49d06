"""Tensors as a checkpoint's files hold them, before a model is made of them: their types, and some of them read."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from dynamics.checkpoint_files import weight_files
from dynamics.errors import CheckpointError, one_line
from dynamics.folder_checks import check_tensors, tensor_types

_SAFETENSORS_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def stored_types(folder: Path, weights: str) -> dict[str, str]:
    """Name -> type of every tensor of a checkpoint; checked for pickles, whose names are known only once they are read.

    Raises:
        CheckpointError: a pickle cannot be read without running code, or holds something else than weights.
    """
    files = weight_files(folder, weights)
    if weights != "bin":
        return tensor_types(files) if weights == "safetensors" else {}
    types: dict[str, str] = {}
    for path in files:
        try:
            tensors = torch.load(path, map_location="meta", weights_only=True)
            types |= {name: _SAFETENSORS_NAMES.get(t.dtype, str(t.dtype)) for name, t in tensors.items()}
        except Exception as error:  # pickle errors, RuntimeError of a cut-off archive, AttributeError of other content
            raise CheckpointError(
                f"{path} cannot be opened: {one_line(error)}. Copy or download it again, or save the weights as "
                "safetensors"
            ) from error
    check_tensors(folder, types)
    return types


def stored_tensors(folder: Path, weights: str, wanted: Callable[[str], object]) -> Iterator[tuple[str, Tensor]]:
    """Name and value of the tensors whose names are wanted; none of a GGUF file, which holds them quantised.

    Only these are read from the disk, except from a pickle of before torch 1.6, which is read whole.
    """
    for path in weight_files(folder, weights) if weights != "gguf" else ():
        if weights == "safetensors":
            with safe_open(path, framework="pt") as file:
                yield from ((name, file.get_tensor(name)) for name in file.keys() if wanted(name))  # noqa: SIM118
        else:
            lazily = zipfile.is_zipfile(path)
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
            yield from ((name, tensor) for name, tensor in tensors.items() if wanted(name))
