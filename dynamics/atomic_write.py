"""One file, whole or not at all: written under a temporary name, flushed to disk, renamed."""

import os
import tempfile
from pathlib import Path

TEMPORARY = ".tmp-"
"""Prefix of a file's name while it is written; readers of folders leave such files out."""


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Replace a file at once, so that a kill at any moment leaves the old one or the new one; makes its folder.

    The folder is flushed too: after a power cut the new name is there or the old one.

    Raises:
        OSError: it cannot be written; nothing is left behind.
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
