"""Marker of a results folder, `store.json`: the versions of what is in it, which the footers of its files repeat."""

import json
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from dynamics.errors import StoreError
from dynamics.identity import IDENTITY_VERSION
from dynamics.results.checksums import footer_metadata
from dynamics.results.places import Place, entries, exists, open_file, put, read
from dynamics.results.schema import SCHEMA_VERSION, TABLES

MARKER = "store.json"


@dataclass(frozen=True)
class Marker:
    """What a results folder says of itself.

    Attributes:
        schema_version: of its tables.
        identity_version: of its ids (`dynamics.identity`).
        compacted_from: the results that it is a compacted copy of; None for a folder that a sweep wrote.
    """

    schema_version: int = SCHEMA_VERSION
    identity_version: int = IDENTITY_VERSION
    compacted_from: str | None = None


def read_marker(root: Place) -> Marker | None:
    """The marker of a folder; None where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    if not exists(root / MARKER):
        return None
    try:
        content = json.loads(read(root / MARKER))
        marker = Marker(**{"schema_version": content["schema_version"], "identity_version": 1, **content})
        if not all(type(version) is int for version in (marker.schema_version, marker.identity_version)):
            raise ValueError("its versions are no whole numbers")
        return marker
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{root / MARKER} cannot be read ({error}); restore it, or name another folder") from error


def write_marker(root: Place, marker: Marker) -> None:
    """Write the marker that makes a folder a results folder."""
    content = {name: value for name, value in asdict(marker).items() if value is not None}
    put(root / MARKER, json.dumps(content).encode())


def marker_of_files(root: Place) -> Marker | None:
    """The marker of a folder that a sweep wrote, by the first readable footer of its tables; None where none tells it.

    An unfinished compacted copy has no marker, and its files lie in other folders.
    """
    for table in reversed(TABLES):
        for entry in entries(root / table, "model=*/step=*/*.parquet"):
            if versions := _versions(entry.place):
                return Marker(*versions)
    return None


def _versions(where: Place) -> tuple[int, int] | None:
    """The versions of schema and ids in the footer of a result file; None where it tells none."""
    try:
        with open_file(where) as file:
            footer = footer_metadata(pq.read_metadata(file).metadata)
        return int(footer["schema_version"]), int(footer["identity_version"])
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None
