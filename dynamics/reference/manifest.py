"""Manifest of a reference run: its recipe, versions and losses, and the hash of every weight file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dynamics.atomic_write import write_atomically
from dynamics.reference.recipe import Recipe, recipe_from_json

MANIFEST_NAME = "manifest.json"
WEIGHTS_NAME = "model.safetensors"


@dataclass(frozen=True)
class LoggedLoss:
    """Mean cross-entropy of one step, before its update, in nats per token: over all tokens, and over label tokens."""

    step: int
    loss: float
    label_loss: float


@dataclass(frozen=True)
class Manifest:
    """Record of a finished run.

    Attributes:
        recipe: settings that determine the weights.
        tokens_per_step: tokens in the documents of one step; tokens seen at a checkpoint are step * tokens_per_step.
        n_parameters: parameters of the model.
        vocabulary_size: tokens of the tokenizer.
        documents_sha256: hash of the documents of step 1, which shows whether the corpus has changed.
        weights_sha256: hash of each checkpoint's `model.safetensors`, by step.
        losses: the loss curve, every few steps.
        versions: versions of Python and of the libraries that affect the weights.
        threads: torch threads of the run; another number gives other weights.
        seconds: wall time of the run.
    """

    recipe: Recipe
    tokens_per_step: int
    n_parameters: int
    vocabulary_size: int
    documents_sha256: str
    weights_sha256: Mapping[int, str]
    losses: tuple[LoggedLoss, ...]
    versions: Mapping[str, str]
    threads: int
    seconds: float

    @property
    def steps(self) -> tuple[int, ...]:
        """The checkpoint steps, ascending."""
        return tuple(sorted(self.weights_sha256))


def step_folder(folder: Path, step: int) -> Path:
    """Folder of a step's checkpoint in the folder of its run."""
    return folder / f"step{step}"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_hashes(folder: Path, steps: tuple[int, ...]) -> dict[int, str]:
    """SHA-256 of the weights of each step."""
    return {step: sha256_of(step_folder(folder, step) / WEIGHTS_NAME) for step in steps}


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json` atomically, with one line per key and per loss."""
    values = asdict(manifest) | {"recipe": manifest.recipe.to_json()}
    values["losses"] = [[entry.step, entry.loss, entry.label_loss] for entry in manifest.losses]
    lines = [f" {json.dumps(key)}: {_lines(value)}" for key, value in values.items()]
    write_atomically(folder / MANIFEST_NAME, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def _lines(value: Any) -> str:
    """JSON of a value, with one line per item of a list or dict."""
    if isinstance(value, dict):
        return (
            "{\n" + ",\n".join(f"  {json.dumps(str(key))}: {json.dumps(item)}" for key, item in value.items()) + "\n }"
        )
    if isinstance(value, list):
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
    return json.dumps(value)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a finished run.

    Raises:
        ValueError: it does not exist or is malformed.
    """
    path = folder / MANIFEST_NAME
    try:
        values = json.loads(path.read_bytes())
        values["recipe"] = recipe_from_json(values["recipe"])
        values["losses"] = tuple(LoggedLoss(*entry) for entry in values["losses"])
        values["weights_sha256"] = {int(step): digest for step, digest in values["weights_sha256"].items()}
        return Manifest(**values)
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: the run is not finished; run the command again to resume") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a manifest of this version ({error}); repeat the run in another folder"
        ) from error


def damaged_steps(folder: Path, manifest: Manifest) -> list[int]:
    """The steps whose weights are missing or differ from the manifest, ascending."""
    files = {step: step_folder(folder, step) / WEIGHTS_NAME for step in manifest.steps}
    return [
        step for step, file in files.items() if not file.is_file() or sha256_of(file) != manifest.weights_sha256[step]
    ]
