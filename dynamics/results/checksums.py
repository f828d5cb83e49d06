"""Result files as bytes: how rows are encoded, and a checksum of the whole file that the file itself carries.

The footer's metadata hold the SHA-256 of the file as it is with `_BLANK` in the checksum's place. So one file says
whether any of its bytes changed, wherever it is copied to, and no second file has to be kept in step with it.
"""

import hashlib
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from dynamics.errors import first_line
from dynamics.results.schema import SCHEMA_VERSION

ROW_GROUP_BYTES = 64 * 2**20
"""Uncompressed; what a streaming reader holds of a table at once."""
_CONTINUOUS = {"contributions": ["contributions.list.element", "full.list.element", "constant.list.element"]}
_PREFIX = "pythia-emergence."
_BLANK = b"checksum".ljust(64, b"-")


def encode(rows: pa.Table, table: str) -> bytes:
    """Rows of a table as a sealed Parquet file: zstd, statistics, floats split by byte, metadata on what it is."""
    sink = pa.BufferOutputStream()
    row_bytes = rows.nbytes / max(1, rows.num_rows)
    with pq.ParquetWriter(
        sink,
        rows.schema,
        compression="zstd",
        use_dictionary=[  # pyright: ignore[reportArgumentType] - the stubs know booleans only
            field.name for field in rows.schema if pa.types.is_string(field.type)
        ],
        use_byte_stream_split=_CONTINUOUS.get(table, []),  # pyright: ignore[reportArgumentType]
    ) as writer:
        writer.write_table(rows, row_group_size=max(1, int(ROW_GROUP_BYTES / max(1.0, row_bytes))))
        about = {"table": table, "schema_version": str(SCHEMA_VERSION), "sha256": _BLANK.decode()}
        writer.add_key_value_metadata({_PREFIX + key: value for key, value in about.items()})
    data = sink.getvalue().to_pybytes()
    at = data.rindex(_BLANK)
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + len(_BLANK) :]


def labels(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """What a file's footer says of itself: `table`, `schema_version`, `sha256`; empty for files without a seal."""
    there = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in (metadata or {}).items()}
    return {key.removeprefix(_PREFIX): value for key, value in there.items() if key.startswith(_PREFIX)}


def damage_of(data: bytes) -> str | None:
    """What is wrong with a file's bytes; None where nothing is known to be: it is whole, or never had a seal."""
    try:
        about = labels(pq.read_metadata(pa.BufferReader(data)).metadata)
    except (pa.ArrowException, OSError) as error:
        return f"not readable as Parquet ({first_line(error, 80)})"
    sealed = data.rfind(_PREFIX.encode()) >= 0  # even where a changed byte hides the metadata from the reader
    if sealed and not _is_whole(data, about.get("sha256", "")):
        return "not what was written: its checksum differs"
    return None


def _is_whole(data: bytes, sha256: str) -> bool:
    at = data.rfind(sha256.encode()) if len(sha256) == len(_BLANK) else -1
    if at < 0:
        return False
    digest = hashlib.sha256(memoryview(data)[:at])
    digest.update(_BLANK)
    digest.update(memoryview(data)[at + len(_BLANK) :])
    return digest.hexdigest() == sha256
