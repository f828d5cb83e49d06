"""The files of a checkpoint on disk: which of them are weights, and their hashes. No torch."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from dynamics.hub.fetch import git_blob_id


def weight_files(folder: Path, kind: str) -> list[Path]:
    """The weight files of a format (`safetensors`, `gguf` or `bin`), sorted; of pickles only `pytorch_model*.bin`."""
    return sorted(folder.glob("pytorch_model*.bin" if kind == "bin" else f"*.{kind}"))


def git_id(path: Path) -> str:
    """Git's id of a file, as the Hub lists it: so a copy on disk and the Hub's revision are the same checkpoint."""
    with path.open("rb") as content:
        return git_blob_id(content, path.stat().st_size)


def hash_files(files: Sequence[Path]) -> str:
    """SHA-256 over the names and contents of files."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
