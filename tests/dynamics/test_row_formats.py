"""Formats of rows: each gives the texts that were written, or refuses what it would read as something else."""

import csv
import io
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.errors import PlanError
from dynamics.tasks.files import READERS, read_table


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('{"t": 1.5},\n{"t": 9007199254740993}', "column t holds float and int; write values of one type"),
        ('{"t": true},\n{"t": 0}', "column t holds bool and int"),
        ('{"t": "a"},\n{"t": 0.0}', "column t holds float and str"),
        ('{"t": "a", "t": "b"}', "an object has two values of 't'"),
        ('{"t": "a"},\n["b"]', "row 2 is a list, not an object"),
    ],
)
def test_json_that_would_be_read_as_something_else_is_refused(rows: str, message: str, tmp_path: Path) -> None:
    for name, content in (("a.json", f"[{rows}]"), ("a.jsonl", rows.replace(",\n", "\n"))):
        (tmp_path / name).write_text(content)
        with pytest.raises(PlanError, match=f"{name} cannot be read as {name[2:]}: {message}"):
            read_table(tmp_path / name)


@pytest.mark.parametrize("separator", [",", "\t"])
def test_two_columns_of_one_name_are_refused(separator: str, tmp_path: Path) -> None:
    file = tmp_path / ("a.csv" if separator == "," else "a.tsv")
    file.write_text(separator.join("tlt") + "\n" + separator.join("a0b") + "\n")
    with pytest.raises(PlanError, match="two columns are named 't'; rename one"):
        read_table(file)


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ODD = st.sampled_from(
    ['"', '""', ",", "\n", "\t", "\\", "\\u00e9", "\u2028", "\x85", "\ufeff", "NA", "null", "1e5", "007"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(ANY | ODD, max_size=4).map("".join), min_size=1, max_size=4), st.booleans())
def test_every_format_gives_texts_as_they_were_written(texts: list[str], escaped: bool) -> None:
    records = [{"t": text, "n": number} for number, text in enumerate(texts)]
    table, quoted = io.BytesIO(), io.StringIO()
    pl.DataFrame(records).write_parquet(table)
    writer = csv.writer(quoted, quoting=csv.QUOTE_ALL)
    writer.writerows([["t", "n"], *(record.values() for record in records)])
    contents = {
        ".json": json.dumps(records, ensure_ascii=escaped).encode(),
        ".jsonl": "\n".join(json.dumps(record, ensure_ascii=escaped) for record in records).encode(),
        ".parquet": table.getvalue(),
        ".csv": quoted.getvalue().encode(),
    }
    if not any(character in text for text in texts for character in "\t\n\r"):
        contents[".tsv"] = "".join(f"{text}\t\n" for text in ("t", *texts)).encode()
    for suffix, content in contents.items():
        assert [text or "" for text in READERS[suffix](content)["t"]] == texts, suffix
