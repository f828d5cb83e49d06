"""Folders of what is kept: in the results, or in the user's cache where they are remote or cannot be written."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

from dynamics.errors import StoreError
from dynamics.identity import short_hash
from dynamics.results.places import Place, put

IN_RESULTS = "analysis/cache"
"""The folder in results on a disk."""
UNUSED_DAYS = 90
"""A folder of the user's cache that nothing was written to for so long is deleted when another one is written to."""


def folders(root: Place) -> list[Path]:
    """The folders in which what was computed from results is looked for, and is written to the first that can be."""
    of_user = user_cache_path("pythia-emergence") / "results" / f"{root.name}-{short_hash(_address(root))}"
    return [root / IN_RESULTS, of_user] if isinstance(root, Path) else [of_user]


def keep(root: Place, name: str, data: bytes) -> Path | None:
    """Write a file of what is kept, whole or not at all; None where no folder can be written."""
    for folder in folders(root):
        with suppress(StoreError):
            put(folder / name, data)
            if folder.parent.name == "results":
                _delete_unused(folder)
            return folder / name
    return None


@contextmanager
def folder_for_many(root: Place, name: str) -> Iterator[Path]:
    """A folder for many files of what is kept; where none can be written, one that is deleted at the end."""
    marker = keep(root, f"{name}/.folder", b"")
    if marker is not None:
        yield marker.parent
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _address(root: Place) -> str:
    return str(root.resolve()) if isinstance(root, Path) else str(root)


def _delete_unused(folder: Path) -> None:
    """Mark a folder of the user's cache as used, and delete those of other results that were not for long."""
    os.utime(folder)
    for other in folder.parent.iterdir():
        with suppress(OSError):
            if time.time() - other.stat().st_mtime > UNUSED_DAYS * 24 * 3600:
                shutil.rmtree(other)
