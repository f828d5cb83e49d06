"""The files of a checkpoint on disk: which are weights, and their hashes. No torch."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from dynamics.hub.fetch import git_blob_id


def weight_files(folder: Path, kind: str) -> list[Path]:
    """The weight files of a format, sorted; of pickles those that are weights by their name."""
    return sorted(folder.glob("pytorch_model*.bin" if kind == "bin" else f"*.{kind}"))


def git_id(path: Path) -> str:
    """The id a file has on the Hub, so that a copy on disk and the Hub's revision are the same checkpoint."""
    with path.open("rb") as content:
        return git_blob_id(content, path.stat().st_size)


def hash_files(files: Sequence[Path]) -> str:
    """sha256 over names and contents."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
