"""GGUF files: finding a folder's, and checking that transformers reads all of it.

transformers unpacks quantised weights to the requested dtype and rebuilds the config from the file's metadata. It drops
tensors that have no place in this config (attention biases of a Llama, the frequencies of a scaled rotary embedding)
and metadata it does not know (rotary scaling, a sliding window), without an error. Files that contain either are
therefore not accepted.
"""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils.import_utils import is_accelerate_available, is_gguf_available

from dynamics.errors import CheckpointError

_MIN_VERSION = "0.17.0"
_DROPPED_KEYS = ("rope.scaling.type", "attention.sliding_window", "logit_scale", "residual_scale", "embedding_scale")


def gguf_file(folder: Path) -> Path | None:
    """The GGUF file of a folder; None where it has safetensors or no GGUF file.

    Raises:
        CheckpointError: the folder has several, so which one to use is ambiguous.
    """
    files = [] if list(folder.glob("*.safetensors")) else sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise CheckpointError(f"{folder} holds {len(files)} GGUF files ({names}); keep only the one to use")
    return files[0] if files else None


def check_packages(file: Path) -> None:
    """Check that the optional packages that read GGUF are installed.

    Raises:
        CheckpointError: one is missing or too old; with the command that installs both.
    """
    if not (is_gguf_available(_MIN_VERSION) and is_accelerate_available()):
        raise CheckpointError(f"{file} needs two more packages: pip install 'gguf>={_MIN_VERSION}' accelerate")


def check_complete(file: Path, model: PreTrainedModel) -> None:
    """Compare the tensors and metadata of a file with the model that transformers made of it.

    Raises:
        CheckpointError: the file has tensors that the model lacks, or metadata that transformers ignores.
    """
    metadata, n_tensors = _contents(file)
    dropped = [f"{key} = {value}" for key, value in metadata.items() if key.endswith(_DROPPED_KEYS) and value != "none"]
    n_parameters = len(list(model.parameters()))
    if dropped or n_tensors != n_parameters:
        what = ", ".join(dropped) or f"{n_tensors - n_parameters} of its {n_tensors} tensors"
        raise CheckpointError(
            f"{file} would open as another model than it is: transformers leaves out {what}. "
            "Use the model's safetensors"
        )


def _contents(file: Path) -> tuple[dict[str, Any], int]:
    """Scalar metadata by key, and the number of tensors."""
    from gguf import GGUFReader  # pyright: ignore[reportMissingImports]  # an optional package

    reader = GGUFReader(file)
    scalars = {key: field.contents() for key, field in reader.fields.items() if len(field.data) == 1}
    return scalars, len(reader.tensors)
