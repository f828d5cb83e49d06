"""The files of a checkpoint on disk: which of them are weights, and their hashes. No torch."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

WHOLE = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}
"""Format -> the name of its single file; shards and their index are named after it."""


def weight_files(folder: Path, kind: str) -> list[Path]:
    """The files that transformers opens for a format (`safetensors`, `gguf` or `bin`), sorted.

    The single file, else the shards; other files of the same suffix (an adapter, an optimiser's state) are not weights.
    """
    if kind == "gguf":
        return sorted(folder.glob("*.gguf"))
    whole = folder / WHOLE[kind]
    if whole.is_file():
        return [whole]
    named = shards_of_index(folder, kind)
    shards = folder.glob(f"{whole.stem}-*-of-*{whole.suffix}") if named is None else (folder / name for name in named)
    return sorted(path for path in shards if path.is_file())


@contextmanager
def only_files(folder: Path, kind: str, weights: Sequence[str], setup: Sequence[str]) -> Iterator[Path]:
    """A folder whose weights of a format are those named: the folder, or links to these files until the block ends.

    A revision may have a single file and shards, of which transformers opens the single file.
    """
    if [path.name for path in weight_files(folder, kind)] == sorted(weights):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix=f"{folder.name[:12]}-") as links:
        for name in (*weights, *setup):
            (Path(links) / name).symlink_to((folder / name).resolve())
        yield Path(links)


def index_file(folder: Path, kind: str) -> Path:
    """Where the index of shards is, if there is one."""
    return folder / f"{WHOLE[kind]}.index.json"


def shards_of_index(folder: Path, kind: str) -> list[str] | None:
    """The names of the shards in the index, sorted; None where there is no index, or something else under its name."""
    try:
        names = set(json.loads(index_file(folder, kind).read_text("utf-8"))["weight_map"].values())
        return sorted(name for name in names if Path(name).name == name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def git_id(path: Path) -> str:
    """Git's id of a file, as the Hub lists it: so a copy on disk and the Hub's revision are the same checkpoint."""
    with path.open("rb") as content:
        return git_blob_id(content, path.stat().st_size)


def git_blob_id(content: BinaryIO, size: int) -> str:
    """Git's id of a file's content."""
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    while chunk := content.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def file_hashes(files: Sequence[Path]) -> dict[str, str]:
    """Name -> SHA-256 of the content of each file."""
    hashes = {}
    for path in files:
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def hash_files(files: Sequence[Path]) -> str:
    """SHA-256 over the names and contents of files."""
    lines = (f"{name} {digest}\n" for name, digest in file_hashes(files).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
