"""Atomic writes: a file is written under a temporary name, flushed to disk and renamed, so it is whole or absent."""

import os
import tempfile
from pathlib import Path

TEMPORARY = ".tmp-"
"""Prefix of a file's name while it is being written; whoever lists a folder leaves such files out."""


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a file, or replace it, so that a kill at any moment leaves the old content or the new; makes its folder.

    The folder is flushed too, so that the same holds after a power cut.

    Raises:
        OSError: the file cannot be written; no temporary file is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{TEMPORARY}{path.stem}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
