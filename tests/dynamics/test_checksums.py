"""The seal of a result file: any byte that changed is seen, and readers do not notice the seal."""

import io

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dynamics.results.checksums import damage_of, encode, labels

ROWS = pa.table({"name": ["a", "b", "b"], "value": pa.array([1.0, 2.0, float("nan")], pa.float32())})


def test_a_sealed_file_is_whole_and_reads_as_it_was_written() -> None:
    data = encode(ROWS, "units")
    found = labels(pq.read_metadata(io.BytesIO(data)).metadata)
    assert found["table"] == "units"
    assert found["schema_version"] == "1"
    assert damage_of(data) is None
    assert pq.read_table(io.BytesIO(data)).cast(ROWS.schema)["name"].equals(ROWS["name"])
    assert pl.read_parquet(data).equals(pl.from_arrow(ROWS))  # pyright: ignore[reportArgumentType]
    assert data == encode(ROWS, "units")


def test_a_change_of_any_byte_is_seen() -> None:
    data = encode(ROWS, "units")
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x10
        assert damage_of(bytes(changed)), at


@pytest.mark.parametrize("cut", [1, 100, 500])
def test_a_file_that_was_cut_is_not_whole(cut: int) -> None:
    data = encode(ROWS, "units")
    assert "not readable as Parquet" in (damage_of(data[:-cut]) or "")


def test_files_of_others_have_no_seal() -> None:
    sink = io.BytesIO()
    pq.write_table(ROWS, sink)
    assert labels(pq.read_metadata(sink).metadata) == {}
    assert damage_of(sink.getvalue()) is None


def test_wide_rows_make_more_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamics.results.checksums.ROW_GROUP_BYTES", 10)
    assert pq.read_metadata(io.BytesIO(encode(ROWS, "units"))).num_row_groups == 3
