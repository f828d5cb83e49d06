"""GGUF files: finding a folder's, and checking that transformers reads all of it. No torch.

transformers unpacks quantised weights to the requested dtype and rebuilds the config from the file's metadata. It drops
tensors that have no place in this config (attention biases of a Llama, the frequencies of a scaled rotary embedding)
and metadata it does not know (rotary scaling, a sliding window), without an error. Files that contain either are
therefore not accepted.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamics.checkpoint_files import weight_files
from dynamics.errors import CheckpointError, one_line
from dynamics.supported_models import check_supported

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MIN_VERSIONS = {"gguf": (0, 17), "accelerate": (1, 0)}
_DROPPED_KEYS = ("rope.scaling.type", "attention.sliding_window", "logit_scale", "residual_scale", "embedding_scale")


def gguf_file(folder: Path) -> Path | None:
    """The GGUF file of a folder; None where it has safetensors or no GGUF file.

    Raises:
        CheckpointError: the folder has several, so which one to use is ambiguous.
    """
    files = [] if weight_files(folder, "safetensors") else weight_files(folder, "gguf")
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise CheckpointError(f"{folder} holds {len(files)} GGUF files ({names}); keep only the one to use")
    return files[0] if files else None


def check_packages(file: Path) -> None:
    """Check that the optional packages that read GGUF are installed.

    Raises:
        CheckpointError: one is missing or too old; with the command that installs both.
    """
    for package, least in _MIN_VERSIONS.items():
        if not _is_installed(package, least):
            raise CheckpointError(f"{file} needs two more packages: pip install 'gguf>=0.17.0' accelerate")


def check_metadata(file: Path) -> None:
    """Check what a file says of its model: a family that is supported, and nothing that transformers ignores.

    Raises:
        CheckpointError: the file is damaged, or has metadata that transformers ignores.
        UnsupportedModel: no family covers its architecture.
    """
    metadata, _ = _contents(file)
    check_supported(metadata.get("general.architecture"))
    dropped = [f"{key} = {value}" for key, value in metadata.items() if key.endswith(_DROPPED_KEYS) and value != "none"]
    if dropped:
        raise _other_model(file, ", ".join(dropped))


def check_complete(file: Path, model: "PreTrainedModel") -> None:
    """Compare the number of tensors in a file with that of the model that transformers made of it.

    Raises:
        CheckpointError: the file has tensors that the model lacks.
    """
    _, n_tensors = _contents(file)
    n_parameters = len(list(model.parameters()))
    if n_tensors != n_parameters:
        raise _other_model(file, f"{n_tensors - n_parameters} of its {n_tensors} tensors")


def _other_model(file: Path, dropped: str) -> CheckpointError:
    return CheckpointError(
        f"{file} would open as another model than it is: transformers leaves out {dropped}. Use the model's safetensors"
    )


def _is_installed(package: str, least: tuple[int, int]) -> bool:
    try:
        major, minor = version(package).split(".")[:2]
    except PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= least


def _contents(file: Path) -> tuple[dict[str, Any], int]:
    """Scalar metadata by key, and the number of tensors."""
    from gguf import GGUFReader  # pyright: ignore[reportMissingImports]  # an optional package

    try:
        reader = GGUFReader(file)
    except Exception as error:  # a cut-off file raises ValueError, IndexError or KeyError
        raise CheckpointError(f"{file} cannot be opened: {one_line(error)}. Copy or download it again") from error
    scalars = {key: field.contents() for key, field in reader.fields.items() if len(field.data) == 1}
    return scalars, len(reader.tensors)
