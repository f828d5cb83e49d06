"""Encoding of result files, with a checksum of the whole file in its own footer.

The footer's metadata hold the SHA-256 of the file as it is with `_BLANK` in place of the checksum. So a copy of a file
can be checked by itself, without a second file that has to stay consistent with it.
"""

import hashlib
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from dynamics.errors import first_line
from dynamics.identity import IDENTITY_VERSION
from dynamics.results.schema import SCHEMA_VERSION

ROW_GROUP_BYTES = 64 * 2**20
"""Size of a row group before compression: what a streaming reader holds of a table at once."""
_CONTINUOUS = {
    "contributions": ["contributions.list.element", "full.list.element", "constant.list.element"],
    "component_scores": ["mean_margin", "label_means.list.element", "mean_gap", "centred_mean_gap"],
    "reweightings": ["weight"],
}
"""Columns whose values hardly ever repeat; their floats are split by byte."""
_PREFIX = "pythia-emergence."
_BLANK = b"checksum".ljust(64, b"-")


def encode(rows: pa.Table, table: str, identity_version: int = IDENTITY_VERSION) -> bytes:
    """A Parquet file of some rows of a table: zstd, statistics, floats split by byte, and a checksum in the footer.

    All other columns have dictionaries: predictions, of a few labels each, take less than half as many bytes.

    Args:
        rows: of the table.
        table: which.
        identity_version: of the ids in the rows.
    """
    sink = pa.BufferOutputStream()
    row_bytes = rows.nbytes / max(1, rows.num_rows)
    with pq.ParquetWriter(
        sink,
        rows.schema,
        compression="zstd",
        use_dictionary=_with_dictionary(rows.schema, table),  # pyright: ignore[reportArgumentType] - stubs know booleans only
        use_byte_stream_split=_CONTINUOUS.get(table, []),  # pyright: ignore[reportArgumentType]
    ) as writer:
        writer.write_table(rows, row_group_size=max(1, int(ROW_GROUP_BYTES / max(1.0, row_bytes))))
        versions = {"schema_version": str(SCHEMA_VERSION), "identity_version": str(identity_version)}
        metadata = {"table": table, **versions, "sha256": _BLANK.decode()}
        writer.add_key_value_metadata({_PREFIX + key: value for key, value in metadata.items()})
    data = sink.getvalue().to_pybytes()
    start = data.rindex(_BLANK)
    return data[:start] + hashlib.sha256(data).hexdigest().encode() + data[start + len(_BLANK) :]


def _with_dictionary(schema: pa.Schema, table: str) -> list[str]:
    """Columns whose values repeat, as Parquet names them."""
    names = [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema]
    return [name for name in names if name not in _CONTINUOUS.get(table, [])]


def footer_metadata(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """Table, versions and `sha256` in a file's footer, by name; those that it lacks are left out."""
    text = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in (metadata or {}).items()}
    return {key.removeprefix(_PREFIX): value for key, value in text.items() if key.startswith(_PREFIX)}


def damage_of(data: bytes) -> str | None:
    """What is wrong with the bytes of a result file; None where its checksum is right."""
    try:
        metadata = footer_metadata(pq.read_metadata(pa.BufferReader(data)).metadata)
    except (pa.ArrowException, OSError) as error:
        return f"not readable as Parquet ({first_line(error, 80)})"
    if "sha256" not in metadata:
        return "without a checksum, so not as a sweep wrote it"
    return None if _has_checksum(data, metadata["sha256"]) else "changed since it was written: its checksum differs"


def _has_checksum(data: bytes, sha256: str) -> bool:
    """Whether a file, with `_BLANK` in place of its checksum, has this checksum."""
    start = data.rfind(sha256.encode()) if len(sha256) == len(_BLANK) else -1
    if start < 0:
        return False
    digest = hashlib.sha256(memoryview(data)[:start])
    digest.update(_BLANK)
    digest.update(memoryview(data)[start + len(_BLANK) :])
    return digest.hexdigest() == sha256
