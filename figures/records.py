"""Records of what was drawn, beside the pictures: a figure is drawn again only if something that it is made of changed.

A record holds a hash of the table, of the code and of the libraries that draw, and size and checksum of every file that
was written. Where a file is missing or another one, or the record is damaged, the figure is drawn.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import matplotlib as mpl
import polars as pl

from analysis.cache.versions import code_hash
from dynamics.errors import StoreError
from dynamics.results.places import Place, put, read

FOLDER = "cache"
_CODE = code_hash("dynamics", "analysis", "figures")


@dataclass(frozen=True)
class Picture:
    """A picture that was written: its name without suffix, and its size in inches."""

    name: str
    width: float
    height: float


@dataclass(frozen=True)
class Record:
    """What was drawn.

    Attributes:
        made_of: `hash_of` what it was drawn from.
        caption: of the figure.
        pictures: that were written.
        files: name -> SHA-256 of every file that was written.
    """

    made_of: str
    caption: str
    pictures: tuple[Picture, ...]
    files: Mapping[str, str]


def hash_of(name: str, csv: bytes, table: pl.DataFrame) -> str:
    """A hash of all that a figure is made of: its table, the code, and the libraries' versions."""
    digest = hashlib.sha256(f"{name} {_CODE} {mpl.__version__} {table.schema}\n".encode())
    digest.update(csv)
    return digest.hexdigest()


def read_record(name: str, out: Place, made_of: str) -> Record | None:
    """The record of a figure that was made of the same, and whose files are all there as they were written."""
    try:
        content = json.loads(read(out / FOLDER / f"{name}.json"))
        pictures = tuple(Picture(**picture) for picture in content.pop("pictures"))
        record = Record(**content, pictures=pictures)
        if record.made_of == made_of and all(checksum(read(out / f)) == right for f, right in record.files.items()):
            return record
    except (OSError, StoreError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None


def write_record(name: str, out: Place, record: Record) -> None:
    """Write the record of a figure, after its files."""
    put(out / FOLDER / f"{name}.json", json.dumps(asdict(record)).encode())


def checksum(data: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(data).hexdigest()
