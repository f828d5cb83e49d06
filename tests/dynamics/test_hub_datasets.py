"""A dataset's file from a local Hub: transient errors are retried, what is damaged is never read."""

import io
import shutil
from pathlib import Path

import polars as pl
import pytest
from huggingface_hub import hf_hub_download

from dynamics.errors import CheckpointError, PlanError
from dynamics.hub.cache import discard
from dynamics.hub.datasets import CONVERTED, TABLE_SUFFIXES, fetch_dataset_split, split_candidates
from dynamics.hub.settings import settings
from dynamics.tasks.files import READERS, read_tables
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, SourceRows
from dynamics.tasks.split_files import hub_files
from tests.hub_server import FakeHub, Fault, xet_hash

REPO, PATH, SMALL = "owner/rows", "data/train.parquet", "data/train.json"
TABLE = pl.DataFrame({"text": [f"row {i}" for i in range(200)], "label": [0, 1] * 100})


@pytest.fixture
def commit(hub: FakeHub) -> str:
    """The dataset is there, as a large and as a small file."""
    TABLE.write_parquet(buffer := io.BytesIO())
    return hub.add(f"datasets/{REPO}", "main", {PATH: buffer.getvalue(), SMALL: TABLE.write_json().encode()})


@pytest.mark.parametrize("path", [PATH, SMALL])
@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", match="/resolve/", times=2),
        Fault("status", match="/resolve/", method="HEAD", status=429, headers={"Retry-After": "0"}),
        Fault("truncate", match="/resolve/", times=2),
        Fault("flip", match="/resolve/"),
        None,
    ],
    ids=lambda fault: f"{fault.kind}-{fault.method}" if fault else "none",
)
def test_transient_errors_are_retried_and_the_rows_are_right(
    hub: FakeHub, commit: str, fault: Fault | None, path: str
) -> None:
    hub.faults = [fault] if fault else []
    files = hub_files(REPO, "train", path, "main")
    assert fault is None or fault.times == 0
    assert read_tables(files.paths)[0].equals(TABLE)
    assert files.place == f"{REPO}@main ({commit}) {path}"
    gets = hub.files[path]
    hub_files(REPO, "train", path, commit)
    assert hub.files[path] == gets


@pytest.mark.parametrize("path", [PATH, SMALL])
@pytest.mark.usefixtures("commit")
def test_a_file_that_stays_damaged_is_refused_and_not_kept(hub: FakeHub, tmp_path: Path, path: str) -> None:
    hub.faults = [Fault("flip", match="/resolve/", times=9)]
    with pytest.raises(PlanError, match=r"cannot get dataset owner/rows@main data/.*: hash .*, twice"):
        hub_files(REPO, "train", path, "main")
    assert not [path for path in (tmp_path / "cache").rglob("train*") if path.is_file()]
    hub.faults = []
    assert read_tables(hub_files(REPO, "train", path, "main").paths)[0].equals(TABLE)


@pytest.mark.usefixtures("commit")
def test_a_file_that_is_not_there_is_one_line_at_once(hub: FakeHub) -> None:
    with pytest.raises(
        PlanError, match=r"cannot get other.parquet of dataset owner/rows@main: .* it has data/train"
    ) as refused:
        hub_files(REPO, "dev", "other.parquet", "main")
    assert "\n" not in str(refused.value)
    assert hub.requests["HEAD file"] == 0


@pytest.mark.usefixtures("commit")
def test_damage_in_the_cache_is_seen_offline_too(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    (cached,) = hub_files(REPO, "train", PATH, "main").paths
    content = cached.resolve()
    content.write_bytes(content.read_bytes()[:-1] + b"x")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.reset_counts()
    with pytest.raises(PlanError, match="HF_HUB_OFFLINE is set, so it is not fetched again"):
        hub_files(REPO, "train", PATH, "main")
    assert content.exists()
    assert not hub.requests


def test_a_cache_that_another_program_filled_is_checked_by_the_names_of_its_blobs(
    hub: FakeHub, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Path(hf_hub_download(REPO, PATH, repo_type="dataset", endpoint=hub.endpoint, cache_dir=settings().cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert read_tables(hub_files(REPO, "train", PATH, "main").paths)[0].equals(TABLE)
    blob = theirs.parent / theirs.readlink()
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(PlanError, match=r"hash .*HF_HUB_OFFLINE is set"):
        hub_files(REPO, "train", PATH, commit)
    blob.rename(theirs)
    with pytest.raises(PlanError, match="put HF_HUB_CACHE on a disk with symbolic links"):
        hub_files(REPO, "train", PATH, commit)


@pytest.mark.parametrize("shared", [True, False], ids=["store", "no store"])
def test_a_file_of_the_xet_store_is_sound(
    xet: FakeHub, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_SHARED_BLOBS", not shared)
    (file,) = hub_files(REPO, "train", PATH, "main").paths
    blob = file.parent / file.readlink()
    assert blob.is_symlink() == shared
    assert (file.resolve().name == xet_hash(file.read_bytes())) == shared
    assert read_tables([file])[0].equals(TABLE)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub_files(REPO, "train", PATH, "main").paths == (file,)
    shutil.rmtree(tmp_path / "cache" / ".pythia-emergence")  # as if another program had filled the cache
    assert hub_files(REPO, "train", PATH, commit).paths == (file,)
    assert xet.requests["GET file"] == 0


def test_damaged_content_that_repositories_share_is_replaced_for_all(xet: FakeHub, commit: str) -> None:
    """And what a second repository shows is never deleted."""
    other = "owner/copy"
    xet.add(f"datasets/{other}", "main", xet.trees[commit])
    (mine,), (theirs,) = (hub_files(repo, "train", PATH, "main").paths for repo in (REPO, other))
    store = mine.resolve()
    assert theirs.resolve() == store
    sound = store.read_bytes()
    store.chmod(0o600)
    store.write_bytes(sound[:-1] + b"x")
    assert hub_files(REPO, "train", PATH, "main").paths[0].read_bytes() == sound
    assert theirs.read_bytes() == sound
    discard(mine, settings().cache)
    assert not mine.exists()
    assert theirs.read_bytes() == sound
    discard(theirs, settings().cache)
    assert not store.exists()


@pytest.mark.parametrize(
    ("here", "converted", "found"),
    [
        (
            {"data/train-00000-of-00002.parquet": 0, "data/train-00001-of-00002.parquet": 1, "data/test.parquet": 2},
            {},
            2,
        ),
        ({"train.parquet": 0}, {}, 1),
        ({"data.csv": 0}, {"default/train/0000.parquet": 0, "default/test/0000.parquet": 1}, 1),
        ({}, {"default/train/0000.parquet": 0, "default/train/0001.parquet": 1}, 2),
    ],
    ids=["more shards", "in the root", "converted", "converted in parts"],
)
def test_a_split_is_found_by_name(hub: FakeHub, here: dict, converted: dict, found: int) -> None:
    parts = [parquet(TABLE.slice(100 * i, 100)) for i in range(3)]
    for branch, files in (("main", here), (CONVERTED, converted)):
        hub.add(f"datasets/{REPO}", branch, {name: parts[i] for name, i in files.items()} | {"README.md": b"x"})
    split = fetch_dataset_split(REPO, "train", "data/train-00000-of-00001.parquet")
    assert read_tables(split.paths)[0].equals(TABLE.slice(0, 100 * found))
    assert split.commit_sha == hub.branches[f"datasets/{REPO}"][split.revision]


@pytest.mark.parametrize(
    ("files", "hint", "found"),
    [
        (["rte/train.parquet", "cola/train.parquet"], "mrpc/train.parquet", []),
        (["wic/train-00000-of-00001.parquet", "wic/validation/0000.parquet"], "wic/train/0000.parquet", [0]),
        (["wic/train/0000.parquet", "data/train-0.parquet", "train_all.parquet"], "wic/train.parquet", [0, 1, 2]),
        (["data/train-00000-of-00001-0123456789abcdef.parquet"], "data/x.parquet", [0]),
        (["default/train/0000.parquet", "plain_text/train.parquet"], "data/x.parquet", [0, 1]),
        (["default/partial-train/0000.parquet", "data/train_old.parquet"], "data/x.parquet", []),
        (["mnli/validation_mismatched/0000.parquet"], "mnli/validation.parquet", []),
        (["data/train.parquet"], "data/train.json", []),
    ],
)
def test_files_are_named_after_a_split_in_its_configuration_in_data_or_in_no_folder(
    files: list[str], hint: str, found: list[int]
) -> None:
    split = "validation" if "validation" in hint else "train"
    assert sorted(split_candidates(files, split, hint)) == sorted((files[i],) for i in found)


@pytest.mark.parametrize(
    "files",
    [
        ["data/train-00000-of-00003.parquet", "data/train-00002-of-00003.parquet"],
        ["data/train-00000-of-00003.parquet"],
        ["default/train/0000.parquet", "default/train/0002.parquet"],
        ["data/train-00000-of-00001-0123456789abcdef.parquet", "data/train-00000-of-00001-fedcba9876543210.parquet"],
    ],
)
def test_shards_of_which_one_is_missing_or_twice_are_not_taken(hub: FakeHub, files: list[str]) -> None:
    hub.add(f"datasets/{REPO}", "main", dict.fromkeys(files, parquet(TABLE)))
    with pytest.raises(CheckpointError, match=rf"at main it has {files[0]}.* \(not all files of it, or too many\)"):
        fetch_dataset_split(REPO, "train", "data/x.parquet", n_rows=TABLE.height * len(files))
    assert not hub.files


def test_shards_are_read_in_the_order_of_their_numbers(hub: FakeHub) -> None:
    files = {f"data/train-{i}-of-11.parquet": parquet(TABLE.slice(10 * i, 10)) for i in range(11)}
    hub.add(f"datasets/{REPO}", "main", files)
    split = fetch_dataset_split(REPO, "train", PATH, n_rows=110)
    assert read_tables(split.paths)[0].equals(TABLE[:110])


def test_the_formats_of_tables_are_those_that_are_read() -> None:
    assert set(TABLE_SUFFIXES) == set(READERS)


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        ("data/train.csv", True),
        ("data/train/rows.jsonl", True),
        ("data/train-00000-of-00001.json", True),
        ("data/train.md", False),
        ("data/trained.csv", False),
        ("other/train.csv", False),
        ("train.csv", False),
    ],
)
@pytest.mark.parametrize(("published", "exact"), [(200, False), (None, False), (None, True)])
def test_two_formats_of_a_split_are_both_named_unless_it_is_clear_which_is_meant(
    hub: FakeHub, beside: str, named: bool, published: int | None, exact: bool
) -> None:
    """Clear by the path that the task gives, or by the published number of rows."""
    name = PATH if exact else "data/train-00000-of-00001.parquet"
    content = parquet(TABLE)
    commit = hub.add(
        f"datasets/{REPO}", "main", {name: content, beside: b"text,label\nother,0\n", "test.parquet": content}
    )
    columns = Columns({"text": "text"}, "label", (0, 1))
    reader = SourceRows("mine", Source(REPO, {"train": File(PATH, published)}, columns, test="train"))
    if named and published is None and not exact:
        with pytest.raises(
            PlanError, match=rf"{name} \(200 rows; .*not published\) and {beside} are named after split"
        ):
            reader._read("train", None)
    else:
        assert f"{REPO}@main ({commit}) {name}: 200 of 200 rows" in reader._read("train", None).source


def test_a_pinned_commit_is_not_left_for_the_conversion(hub: FakeHub, commit: str) -> None:
    hub.add(f"datasets/{REPO}", CONVERTED, {"default/dev/0000.parquet": parquet(TABLE)})
    assert fetch_dataset_split(REPO, "dev", "data/dev.parquet").revision == CONVERTED
    with pytest.raises(CheckpointError, match="neither this file nor Parquet files of a split 'dev'"):
        fetch_dataset_split(REPO, "dev", "data/dev.parquet", commit)
    with pytest.raises(CheckpointError, match="neither this file nor Parquet files of a split 'dev' with 200 rows"):
        fetch_dataset_split(REPO, "dev", "data/dev.parquet", commit, TABLE.height)


@pytest.mark.parametrize(("published", "is_taken"), [(100, True), (None, True), (101, False)])
def test_a_task_takes_a_split_found_by_name_unless_it_has_another_number_of_rows(
    hub: FakeHub, published: int | None, is_taken: bool
) -> None:
    halves = {"data/train.parquet": parquet(TABLE[:100]), "moved/validation.parquet": b"", "validation": b""}
    halves["data/validation-00000-of-00001.parquet"] = parquet(TABLE[100:])
    commit = hub.add(f"datasets/{REPO}", "main", halves)
    files = {"train": File(PATH, 7), "validation": File("data/validation.parquet", published)}
    reader = SourceRows("mine", Source(REPO, files, Columns({"text": "text"}, "label", (0, 1))))
    if is_taken:
        rows = reader()
        assert [row.fields["text"] for row in rows.test] == TABLE["text"][100:].to_list()
        assert f"test {REPO}@main ({commit}) data/validation-00000-of-00001.parquet: 100 of 100 rows" in rows.source
    else:
        with pytest.raises(
            PlanError, match=r"with 101 rows are at .*: at main .*validation-0.* \(100 rows\); .* Pin a commit"
        ):
            reader()


@pytest.mark.parametrize("wrong", [{"oid": "0" * 40, "lfs": None}, {"lfs": {"oid": "0" * 64}}, {"size": 7}])
def test_a_listing_that_was_wrong_is_requested_again(hub: FakeHub, commit: str, wrong: dict) -> None:
    hub.tree_overrides = {commit: {PATH: wrong}}
    with pytest.raises(PlanError):
        hub_files(REPO, "train", PATH, "main")
    hub.tree_overrides = {}
    hub.reset_counts()
    assert read_tables(hub_files(REPO, "train", PATH, "main").paths)[0].equals(TABLE)
    assert hub.requests["GET tree"] <= 1


def parquet(table: pl.DataFrame) -> bytes:
    """A table as a file."""
    table.write_parquet(buffer := io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize("published", [200, None, 1])
def test_two_formats_of_a_split_in_a_folder_are_both_named_too(tmp_path: Path, published: int | None) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/train.parquet").write_bytes(parquet(TABLE))
    (tmp_path / "mine/train.csv").write_text("text,label\nother,0\n")
    files = {"train": File("data/train-00000-of-00001.parquet", published)}
    reader = SourceRows("mine", Source(REPO, files, Columns({"text": "text"}, "label", (0, 1)), test="train"))
    if published == TABLE.height:
        assert reader._read("train", tmp_path).source == "local mine/train.parquet: 200 of 200 rows"
    else:
        with pytest.raises(PlanError, match=r"local mine/train.parquet \(200 rows; .*\) and mine/train.csv are named"):
            reader._read("train", tmp_path)
