"""GGUF files: opening one through transformers, and refusing those that would open as another model without a word.

transformers unpacks quantised weights to the dtype asked for and rebuilds the config from the file's metadata. It drops
tensors that this config has no place for (attention biases of a Llama, the frequencies of a scaled rotary embedding)
and metadata it does not know (rotary scaling, a sliding window). So a file that holds either is refused.
"""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils.import_utils import is_accelerate_available, is_gguf_available

from dynamics.errors import CheckpointError

_MIN_VERSION = "0.17.0"
_LOST = ("rope.scaling.type", "attention.sliding_window", "logit_scale", "residual_scale", "embedding_scale")


def gguf_file(folder: Path) -> Path | None:
    """The GGUF file that is a folder's checkpoint, or None where it holds safetensors or no GGUF file.

    Raises:
        CheckpointError: the folder holds several, and which one is meant is not said.
    """
    files = [] if list(folder.glob("*.safetensors")) else sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise CheckpointError(f"{folder} holds {len(files)} GGUF files ({names}); keep the one to be used")
    return files[0] if files else None


def require_packages(file: Path) -> None:
    """Refuse where the packages that read GGUF are not installed, before transformers does so less plainly."""
    if not (is_gguf_available(_MIN_VERSION) and is_accelerate_available()):
        raise CheckpointError(f"{file} needs two more packages: pip install 'gguf>={_MIN_VERSION}' accelerate")


def check_nothing_lost(file: Path, model: PreTrainedModel) -> None:
    """Hold the file's tensors and metadata against the model that was made of it.

    Raises:
        CheckpointError: the file has tensors the model has not, or metadata that transformers leaves out.
    """
    found = _contents(file)
    lost = [f"{key} = {value}" for key, value in found["metadata"].items() if key.endswith(_LOST) and value != "none"]
    n_tensors, n_parameters = found["n_tensors"], len(list(model.parameters()))
    if lost or n_tensors != n_parameters:
        what = ", ".join(lost) or f"{n_tensors - n_parameters} of its {n_tensors} tensors"
        raise CheckpointError(
            f"{file} would open as another model than it is: transformers leaves out {what}. "
            "Use the model's safetensors"
        )


def _contents(file: Path) -> dict[str, Any]:
    """Scalar metadata by key, and the number of tensors."""
    from gguf import GGUFReader  # pyright: ignore[reportMissingImports]  # an optional package

    reader = GGUFReader(file)
    scalars = {key: field.contents() for key, field in reader.fields.items() if len(field.data) == 1}
    return {"metadata": scalars, "n_tensors": len(reader.tensors)}
