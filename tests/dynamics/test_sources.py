"""Reading rows: every format, every place, and one clear line for everything that can be missing."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from dynamics.errors import PlanError
from dynamics.hub.datasets import SplitOnHub
from dynamics.partition import select_rows
from dynamics.tasks import get_task
from dynamics.tasks import rows as task_rows
from dynamics.tasks.files import READERS, read_table, read_tables
from dynamics.tasks.groups import halved
from dynamics.tasks.rows import Columns, table_rows
from dynamics.tasks.sources import pinned, repositories
from tests.dynamics.raw_rows import source_of, write_folder

TABLE = pl.DataFrame({"sentence": [f"line {i}, with a comma" for i in range(8)], "label": [0, 1] * 4})
SST2 = source_of(get_task("sst2"))
OTHER = TABLE.with_columns(sentence="another " + pl.col("sentence"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write(path: Path, table: pl.DataFrame = TABLE) -> Path:
    """A table in the format of the path's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".arrow":
        arrow = table.to_arrow()
        with path.open("wb") as file, pa.ipc.new_stream(file, arrow.schema) as writer:
            writer.write_table(arrow)
    else:
        writers = {".parquet": table.write_parquet, ".jsonl": table.write_ndjson, ".json": table.write_json}
        separator = {".csv": ",", ".tsv": "\t"}.get(path.suffix)
        table.write_csv(path, separator=separator) if separator else writers[path.suffix](path)
    return path


@pytest.mark.parametrize("suffix", READERS)
def test_every_format_gives_the_same_rows(suffix: str, tmp_path: Path) -> None:
    table = read_table(write(tmp_path / f"rows{suffix}"))
    rows = table_rows(table, SST2.source.columns, prefix="r", where="here")
    assert [(row.fields["text"], row.gold) for row in rows] == list(TABLE.iter_rows())


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("name", ["rows[1]", "rows?", "*", "{rows,rows1}", "~rows", "a=1"])
def test_a_path_is_literal_and_no_pattern(suffix: str, name: str, tmp_path: Path) -> None:
    for decoy in ("f1", "f[1]"):
        write(tmp_path / decoy / f"rows1{suffix}", TABLE[:1])
    assert read_table(write(tmp_path / "f[1]" / f"{name}{suffix}")).height == 8


def test_a_data_folder_is_literal_and_no_pattern(tmp_path: Path) -> None:
    for folder, table in (("data[1]", TABLE), ("data1", TABLE[:2])):
        write(tmp_path / folder / "sst2/train-[0].csv", table.with_columns(sentence="train " + pl.col("sentence")))
        write(tmp_path / folder / "sst2/validation.csv", table)
    assert len(SST2(tmp_path / "data[1]").pool) == 8


def test_a_folder_named_like_a_file_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "sst2/validation.parquet").mkdir(parents=True)
    write(tmp_path / "sst2/validation.csv")
    write(tmp_path / "sst2/train.csv", OTHER)
    assert len(SST2(tmp_path).test) == 8


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl"])
def test_a_byte_order_mark_before_a_table_is_left_out(suffix: str, tmp_path: Path) -> None:
    file = write(tmp_path / f"rows{suffix}")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_table(file).columns == TABLE.columns


def test_json_nested_too_deeply_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(PlanError, match=r"deep.json cannot be read as json: maximum recursion"):
        read_table(tmp_path / "deep.json")


def test_arrow_files_are_read_as_well_as_streams(tmp_path: Path) -> None:
    TABLE.write_ipc(tmp_path / "rows.arrow")
    assert read_table(tmp_path / "rows.arrow").equals(TABLE)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".json", ".jsonl"])
def test_a_damaged_file_is_one_line(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"rows{suffix}"
    file.write_bytes(b"{not \xff a table")
    with pytest.raises(PlanError, match=f"rows{suffix} cannot be read as {suffix[1:]}: ") as caught:
        read_table(file)
    assert "\n" not in str(caught.value)


def test_unknown_formats_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"unknown file format '.xlsx'. Allowed: .parquet, .arrow"):
        read_table(tmp_path / "rows.xlsx")
    with pytest.raises(PlanError, match=r"there is no file .*rows.csv"):
        read_table(tmp_path / "rows.csv")


GLUE = '" We won , he said .\t1\nThey lost .\t0\nHe said " no .\t1\n" Why ? "\t0\nIt rained "\t0\n'
"""Five rows as in GLUE: a quote is a character."""


@pytest.mark.parametrize("name", ["train.tsv", "sst2/train.tsv"])
def test_a_quote_in_tsv_is_a_character_like_any_other(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("sentence\tlabel\n" + GLUE)
    texts = [line.split("\t")[0] for line in GLUE.splitlines()]
    table, notes = read_tables([file])
    assert table["sentence"].to_list() == texts
    assert not notes
    if file.parent != tmp_path:
        write(file.with_name("validation.tsv"))
        assert [row.fields["text"] for row in SST2(tmp_path).pool] == texts


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        ('"They ""lost"" it"\t0\nIt rained\t1\n', "row 1 of .* is in quotes, as no other does; .* as CSV"),
        ('"They lost"\t0\n"It rained"\t1\n', "row 1 of .* is in quotes, as 1 more do; .* as CSV"),
        ("They lost\t0\nIt rained\t1\n", None),
    ],
)
def test_a_tsv_file_that_was_written_with_quotes_is_noted(rows: str, note: str | None, tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("sentence\tlabel\n" + rows)
    check_note(read_tables([tmp_path / "rows.tsv"])[1], note)


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        (
            'a,0\n" We won, he said,1\nb,0\nc ",1\n"d, d",0\n',
            "row 2 of .* holds a comma and a line break, as no other does; a stray quote swallows",
        ),
        ('a,0\n"b, b",0\n"c\nc",1\n', None),
        ('a,0\n"b,\nb",0\n"c,\nc",1\n', None),
    ],
)
def test_a_csv_field_that_may_have_swallowed_rows_is_noted(rows: str, note: str | None, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("sentence,label\n" + rows)
    check_note(read_tables([tmp_path / "rows.csv"])[1], note)


def check_note(notes: tuple[str, ...], pattern: str | None) -> None:
    """One note of that pattern, on one line; or none."""
    assert len(notes) == (pattern is not None)
    assert not pattern or re.search(pattern, notes[0])
    assert not any("\n" in note for note in notes)


def test_shards_are_read_in_order_and_must_agree(tmp_path: Path) -> None:
    shards = [write(tmp_path / f"train-{i}.parquet", TABLE[i * 4 : i * 4 + 4]) for i in range(2)]
    assert read_tables(shards)[0].equals(TABLE)
    write(shards[1], TABLE[4:].select("label", "sentence"))
    assert read_tables(shards)[0].equals(TABLE)
    write(shards[1], TABLE.rename({"sentence": "text"}))
    with pytest.raises(
        PlanError, match=r"its 2 files do not have the same columns: train-0.parquet has sentence, label, train-1.pa"
    ):
        read_tables(shards)
    write(shards[1], TABLE.with_columns(label=pl.lit([1])))
    with pytest.raises(PlanError, match="its 2 files have columns of different types: "):
        read_tables(shards)


@pytest.mark.parametrize(
    "train",
    [
        "stanfordnlp/sst2/data/train-00000-of-00001.parquet",
        "sst2/data/train-00000-of-00001.parquet",
        "sst2/train-00000-of-00001.parquet",
        "sst2/train.jsonl",
        "sst2/train.csv",
        "sst2/train/data-00000-of-00001.arrow",
        "glue/sst2/train/data-00000-of-00001.arrow",
    ],
)
def test_a_local_folder_may_be_laid_out_in_many_ways(train: str, tmp_path: Path) -> None:
    write(tmp_path / train, OTHER)
    write(tmp_path / "sst2/validation.parquet")
    rows = SST2(tmp_path)
    assert (len(rows.pool), len(rows.test)) == (8, 8)
    assert rows.source == f"pool local {train}: 8 of 8 rows; test local sst2/validation.parquet: 8 of 8 rows"


def test_another_configuration_of_a_repository_is_not_taken_for_this_one(tmp_path: Path) -> None:
    """RTE and MRPC have the same columns: only the published number of rows can tell a stray file's."""
    stray = pl.DataFrame({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [0, 1]})
    for place in ("validation.parquet", "glue/validation.parquet", "nyu-mll/glue/validation.parquet"):
        write(tmp_path / place, stray)
        for name in ("rte", "mrpc"):
            with pytest.raises(
                PlanError, match=rf"has 2 rows, but validation of nyu-mll/glue has .* move it to {name}/"
            ):
                get_task(name).load(tmp_path)
        (tmp_path / place).unlink()
    write(tmp_path / "glue/rte/validation.parquet", stray)
    assert [row.fields["premise"] for row in get_task("rte").load(tmp_path).test] == ["a", "b"]


def test_files_in_the_folder_itself_count_when_their_size_is_right(tmp_path: Path) -> None:
    write(tmp_path / "validation.parquet")
    small = replace(SST2.source.files["validation"], n_rows=8)
    sst2 = replace(SST2, source=replace(SST2.source, files={**SST2.source.files, "validation": small}))
    assert len(sst2(tmp_path).test) == 4


def test_a_single_split_is_halved_label_by_label_and_says_so(tmp_path: Path) -> None:
    write(tmp_path / "sst2/validation.parquet", TABLE[:7])
    rows = SST2(tmp_path)
    assert rows == SST2(tmp_path)
    assert sorted(row.gold for row in rows.pool) == [0, 0, 1]
    assert sorted(row.gold for row in rows.test) == [0, 0, 1, 1]
    assert not {row.example_id for row in rows.pool} & {row.example_id for row in rows.test}
    assert rows.source.endswith("validation.parquet: 7 of 7 rows, halved: 3 pool, 4 test")


def test_without_leave_a_single_split_is_a_missing_split(tmp_path: Path) -> None:
    write_folder(tmp_path, "qqp")
    (tmp_path / "qqp/train.jsonl").unlink()
    with pytest.raises(
        PlanError, match=r"task qqp: no train split: looked for qqp/train-00000-of-00001.parquet of nyu"
    ):
        get_task("qqp").load(tmp_path)


def test_the_contrast_set_never_takes_demonstrations_from_its_own_passages(tmp_path: Path) -> None:
    write_folder(tmp_path, "boolq", "boolq_cst")
    (tmp_path / "boolq/train.jsonl").unlink()
    assert len(get_task("boolq").load(tmp_path).pool) == 0
    with pytest.raises(PlanError, match="task boolq: no train split"):
        get_task("boolq_cst").load(tmp_path)


def test_a_missing_split_names_file_repository_places_and_command(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        SST2(tmp_path)
    text = str(caught.value)
    assert text.startswith("task sst2: no validation split: looked for data/validation-00000-of-00001.parquet of stanf")
    for place in ("stanfordnlp/sst2", "sst2", "glue/sst2"):
        assert f"{tmp_path}/{place}, " in text
    assert "hf download stanfordnlp/sst2 data/validation-00000-of-00001.parquet --repo-type dataset" in text
    assert "\n" not in text


def test_a_missing_column_and_a_strange_label_name_file_row_and_what_is_allowed(tmp_path: Path) -> None:
    write_folder(tmp_path, "sst2")
    write(tmp_path / "sst2/validation.jsonl", TABLE.rename({"sentence": "sentense"}))
    with pytest.raises(PlanError, match=r"column of .*sst2/validation.jsonl .*'sentence'; did you mean 'sentense'\?"):
        SST2(tmp_path)
    write(tmp_path / "sst2/validation.jsonl", TABLE.with_columns(label=pl.lit(-1)))
    with pytest.raises(
        PlanError, match=r"value of column label in row 1 of .*validation.jsonl .* -1; .* Allowed: 0, 1; "
    ):
        SST2(tmp_path)


def test_nested_records_of_another_form_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, "arc_easy")
    broken = pl.DataFrame({"question": ["Why?"], "choices": ["A or B"], "answerKey": ["A"]})
    write(tmp_path / "arc_easy/test.jsonl", broken)
    with pytest.raises(PlanError, match=r"row 1 of .*test.jsonl .* is not of the dataset's form \(TypeError"):
        get_task("arc_easy").load(tmp_path)


LABELLED = Columns({"text": "text"}, "label", ("0", "1", "None", "nan"))


def read_cells(cells: pl.Series, labels: pl.Series) -> list[tuple[str, int]]:
    """The rows of a table of two columns."""
    rows = table_rows(pl.DataFrame({"text": cells, "label": labels}), LABELLED, prefix="r", where="here")
    return [(row.fields["text"], row.gold) for row in rows]


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        (pl.Series(["gut", "ähnlich"]).cast(pl.Binary), ["gut", "ähnlich"]),
        (pl.Series(["gut", "schlecht"], dtype=pl.Categorical), ["gut", "schlecht"]),
        (pl.Series([1, 2]), ["1", "2"]),
        (pl.Series([1.5, 2.0]), ["1.5", "2.0"]),
        (pl.Series([True, False]), ["True", "False"]),
        (pl.Series(["1.50", "2.00"]).cast(pl.Decimal(6, 2)), ["1.50", "2.00"]),
    ],
)
def test_text_numbers_truth_values_and_utf8_are_texts(cells: pl.Series, texts: list[str]) -> None:
    assert read_cells(cells, pl.Series([b"0", b"1"])) == list(zip(texts, (0, 1), strict=True))


def test_what_is_missing_is_no_text_and_no_label() -> None:
    assert read_cells(pl.Series([None, 1.5]), pl.Series(["0", "1"])) == [("1.5", 1)]
    assert read_cells(pl.Series([float("nan"), 1.5]), pl.Series(["0", "1"])) == [("1.5", 1)]
    for missing in (None, float("nan")):
        with pytest.raises(PlanError, match=r"unknown value of column label in row 1 of here: (None|nan)"):
            read_cells(pl.Series(["a"]), pl.Series([missing]))


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (pl.Series([["a", "b"]]), "holds a list; give text, numbers or truth values: convert the column"),
        (pl.Series([{"a": 1}]), "holds a dict; give text"),
        (pl.Series([date(2020, 1, 2)]), "holds a date; give text"),
        (pl.Series([datetime(2020, 1, 2)]), "holds a datetime; give text"),
        (pl.Series([b"\xff\xfe"]), "holds bytes that are not UTF-8; give text"),
        (pl.Series(["a\0b"]), "holds a NUL character"),
    ],
)
def test_what_is_no_text_is_refused_with_column_row_and_type(cells: pl.Series, reason: str) -> None:
    with pytest.raises(PlanError, match="^column text of row 1 of here " + reason) as caught:
        read_cells(cells, pl.Series(["0"]))
    assert "\n" not in str(caught.value)
    with pytest.raises(PlanError, match="^column label of row 1 of here " + reason):
        read_cells(pl.Series(["a"]), cells)


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_lone_surrogate_is_refused(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"rows{suffix}"
    file.write_text({".json": "[{}]"}.get(suffix, "{}").replace("{}", '{"text": "a\\ud800b", "label": 0}'))
    with pytest.raises(PlanError, match=r"surrogates not allowed|holds a NUL character, as a broken"):
        table_rows(read_table(file), LABELLED, prefix="r", where="here")


def test_empty_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, "sst2")
    holes = TABLE.with_columns(sentence=pl.Series([" ", None, *TABLE["sentence"][2:]]))
    write(tmp_path / "sst2/validation.jsonl", holes)
    rows = SST2(tmp_path)
    assert [row.example_id for row in rows.test] == [f"sst2-validation-{i:06d}" for i in range(2, 8)]
    assert "6 of 8 rows" in rows.source


def test_a_very_long_split_is_sampled_with_ids_of_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_rows, "MAX_ROWS", 5)
    sample = table_rows(TABLE, SST2.source.columns, prefix="r", where="here")
    assert sample == table_rows(TABLE, SST2.source.columns, prefix="r", where="here")
    numbers = [int(row.example_id.removeprefix("r-")) for row in sample]
    assert len(set(numbers)) == 5
    assert numbers == sorted(numbers)
    assert [row.fields["text"] for row in sample] == [TABLE["sentence"][i] for i in numbers]


def test_halves_keep_an_only_row_for_the_test() -> None:
    rows = table_rows(TABLE[:1], Columns({"text": "sentence"}, "label", (0, 1)), prefix="r", where="here")
    assert halved(rows, "task").pool == ()
    assert halved(rows, "task").test == rows


def test_from_the_hub_the_commit_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(repo: str, _split: str, path: str, revision: str, _n_rows: int | None) -> SplitOnHub:
        asked.append((repo, path, revision))
        return SplitOnHub((write(tmp_path / path, OTHER if "train" in path else TABLE),), (path,), revision, COMMIT)

    monkeypatch.setattr("dynamics.hub.datasets.fetch_dataset_split", fetch)
    rows = SST2()
    assert asked[1] == ("stanfordnlp/sst2", "data/train-00000-of-00001.parquet", "main")
    assert f"stanfordnlp/sst2@main ({COMMIT}) data/train-00000-of-00001.parquet: 8 of 8 rows" in rows.source
    wic = get_task("wic")
    with pytest.raises(PlanError, match=r"unknown column of .*wic/validation-00000-of-00001.parquet"):
        wic.load(None)
    assert asked[-1][-1] == "main"


def test_a_plan_can_pin_a_commit_for_a_transfer_task_and_its_lender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def fetch(repo: str, _split: str, path: str, revision: str, _n_rows: int | None) -> SplitOnHub:
        asked[repo] = revision
        table = TABLE.with_columns(text=path + pl.col("sentence"), sentence=path + pl.col("sentence"))
        return SplitOnHub((write(tmp_path / path, table),), (path,), revision, COMMIT)

    monkeypatch.setattr("dynamics.hub.datasets.fetch_dataset_split", fetch)
    yelp = pinned(get_task("yelp"), {"stanfordnlp/sst2": COMMIT, "google/boolq": "other"})
    rows = yelp.load(None)
    assert asked == {"stanfordnlp/sst2": COMMIT, "fancyzhx/yelp_polarity": "main"}
    assert COMMIT in rows.source
    assert COMMIT in pinned(get_task("sst2"), {"stanfordnlp/sst2": COMMIT}).source
    assert repositories(yelp) == ("fancyzhx/yelp_polarity", "stanfordnlp/sst2")
    assert repositories(get_task("sentiment")) == ()
    assert pinned(get_task("sentiment"), {"a/b": "main"}) is get_task("sentiment")


@pytest.mark.parametrize("revision", ["../../x", "", "a b", "/etc"])
def test_a_revision_that_is_no_name_is_refused(revision: str) -> None:
    with pytest.raises(PlanError, match="give a commit"):
        pinned(get_task("sst2"), {"stanfordnlp/sst2": revision})


def test_offline_is_one_clear_line_and_no_traceback(tmp_path: Path) -> None:
    code = (
        "from dynamics.errors import PlanError\nfrom dynamics.tasks import get_task\n"
        "try: get_task('sst2').load(None)\nexcept PlanError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(
        "task sst2: cannot get data/validation-00000-of-00001.parquet of dataset stanfordnlp/sst2"
    )
    assert "give that folder as `data` in the plan" in lines[0]


def test_what_is_not_on_the_hub_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dynamics.hub.datasets.fetch_dataset_split", lambda *_: pytest.fail("asked the Hub"))
    for folder in (None, tmp_path):
        with pytest.raises(PlanError, match=r"MedNLI is credentialed: sign its data use agreement at physionet.org"):
            get_task("mednli").load(folder)
        url = "https://raw.githubusercontent.com/allenai/contrast-sets/[0-9a-f]{40}/BoolQ/boolq_perturbed.json"
        file = f"{folder or 'DATA'}/boolq_cst/boolq_perturbed.json"
        with pytest.raises(PlanError, match=rf"get it from GitHub with `curl -fL --create-dirs -o '{file}' {url}`"):
            get_task("boolq_cst").load(folder)


def test_the_contrast_set_says_where_it_is_and_its_own_file_must_have_all_entries(tmp_path: Path) -> None:
    task = get_task("boolq_cst")
    where = "github.com/allenai/contrast-sets@d178acbcc5469284448a11cb85dea112806846ca BoolQ/boolq_perturbed.json"
    assert task.source.startswith(f"{where}, local files only: test test (70 rows)")
    write_folder(tmp_path, "boolq", "boolq_cst")
    file = (tmp_path / "boolq_cst/test.json").rename(tmp_path / "boolq_cst/boolq_perturbed.json")
    with pytest.raises(
        PlanError, match=r"boolq_perturbed.json has 3 rows, but test of .* has 70, so it is not .* with `curl "
    ):
        task.load(tmp_path)
    header, empty, passage = json.loads(file.read_text())["data"]
    passages = [passage | {"paragraph": f"{passage['paragraph']} {i}"} for i in range(68)]
    file.write_text(json.dumps({"data": [header, empty, *passages]}))
    rows = task.load(tmp_path)
    assert len(rows.test) == 2 * 68
    assert "test local boolq_cst/boolq_perturbed.json: 136 of 70 rows" in rows.source
    file.write_text(json.dumps({"data": [{"question": "is tin a metal", "answer": "TRUE"}] * 70}))
    with pytest.raises(PlanError, match=r"unknown column of .*boolq_perturbed.json .* 'paragraph'"):
        task.load(tmp_path)


def test_partition_of_known_rows_does_not_move() -> None:
    """Results on disk name their rows: which ones a seed takes must stay."""
    columns = Columns({"text": "sentence"}, "label", (0, 1))
    table = pl.DataFrame({"sentence": [f"s{i}" for i in range(40)], "label": [i % 2 for i in range(40)]})
    rows = halved(table_rows(table, columns, prefix="r", where="here"), "task sst2")
    chosen = select_rows(get_task("sst2"), rows, demo_seed=1, n_shots=4, n_test=4, n_train=2)
    parts = (chosen.demonstrations, chosen.train, chosen.test)
    assert [" ".join(row.example_id[-2:] for row in part) for part in parts] == ["25 04 07 28", "30 21", "22 19 38 29"]
