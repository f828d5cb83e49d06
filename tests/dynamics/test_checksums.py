"""Checksums of result files: every changed byte is detected, and other readers read the files as usual."""

import io

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dynamics.results.checksums import damage_of, encode, footer_metadata

ROWS = pa.table({"name": ["a", "b", "b"], "value": pa.array([1.0, 2.0, float("nan")], pa.float32())})


def test_a_sealed_file_is_whole_and_reads_as_it_was_written() -> None:
    data = encode(ROWS, "units")
    metadata = footer_metadata(pq.read_metadata(io.BytesIO(data)).metadata)
    assert metadata["table"] == "units"
    assert metadata["schema_version"] == "1"
    assert damage_of(data) is None
    assert pq.read_table(io.BytesIO(data)).cast(ROWS.schema)["name"].equals(ROWS["name"])
    assert pl.read_parquet(data).equals(pl.from_arrow(ROWS))  # pyright: ignore[reportArgumentType]
    assert data == encode(ROWS, "units")


def test_a_change_of_any_byte_is_detected() -> None:
    data = encode(ROWS, "units")
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x10
        assert damage_of(bytes(changed)), position


@pytest.mark.parametrize("cut", [1, 100, 500])
def test_a_file_that_was_cut_off_is_damaged(cut: int) -> None:
    data = encode(ROWS, "units")
    assert "not readable as Parquet" in (damage_of(data[:-cut]) or "")


def test_a_file_without_a_checksum_is_not_as_a_sweep_wrote_it() -> None:
    sink = io.BytesIO()
    pq.write_table(ROWS, sink)
    assert footer_metadata(pq.read_metadata(sink).metadata) == {}
    assert "without a checksum" in (damage_of(sink.getvalue()) or "")


def test_wide_rows_make_more_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamics.results.checksums.ROW_GROUP_BYTES", 10)
    assert pq.read_metadata(io.BytesIO(encode(ROWS, "units"))).num_row_groups == 3
