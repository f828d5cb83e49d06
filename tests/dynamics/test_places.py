"""Places: what is one, what a kill leaves behind, and how an object store's refusals read."""

import io
import pickle
from pathlib import Path, PurePosixPath

import polars as pl
import pytest

from dynamics.errors import StoreError
from dynamics.results import object_stores
from dynamics.results import places as storage
from dynamics.results.object_stores import ObjectPath
from dynamics.results.places import Place, entries, exists, names, place, polars_options, put, read
from tests.s3_server import CREDENTIALS, LocalS3


@pytest.fixture(params=["folder", "s3", "gs"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A folder that does not exist yet, in each kind of place."""
    if request.param == "folder":
        return tmp_path / "a b"
    server = request.getfixturevalue(request.param)
    return place(f"{request.param}://{server if request.param == 'gs' else server.bucket()}/a b")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("out/x", Path("out/x")),
        (Path("out"), Path("out")),
        ("~/out", Path.home() / "out"),
        ("file:///tmp/a%20b", Path("/tmp/a b")),
        ("s3://bucket/some/key/", ObjectPath("s3", PurePosixPath("bucket/some/key"))),
        ("gs://bucket", ObjectPath("gs", PurePosixPath("bucket"))),
    ],
)
def test_a_path_or_uri_is_a_place(text: str | Path, meant: Place) -> None:
    assert place(text) == meant
    assert place(str(meant)) == meant == place(meant) == pickle.loads(pickle.dumps(meant))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "s3a://bucket/x",
            r"unknown address 's3a://'; did you mean 's3://'\? Allowed: s3://, gs://, file://, a folder",
        ),
        ("s3://", "does not name a bucket and key; write s3://BUCKET/FOLDER"),
        (Path("s3://bucket/x"), "s3:/bucket/x does not name a bucket and key; write s3://BUCKET/FOLDER"),
        ("gs://bucket/../x", "write gs://BUCKET/FOLDER"),
        ("file://elsewhere/x", "names another machine; write file:///FOLDER"),
        ("s3://bucket/x?endpoint_override=y", "may hold bucket and key only; set AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_is_no_place_is_refused(text: str | Path, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        place(text)


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(StoreError, match="may hold bucket and key only") as refused:
        place("s3://AKIDEXAMPLE:wJa/lr@bucket/x")
    assert "AKID" not in str(refused.value)
    assert "wJa" not in str(refused.value)


def test_the_five_verbs(root: Place) -> None:
    assert (names(root), entries(root, "*"), exists(root)) == ([], [], False)
    with pytest.raises(FileNotFoundError):
        read(root / "one.txt")
    big = bytes(range(256)) * 50_000  # 12.8 MB: more than a part
    put(root / "model=org%2Fm" / "two.bin", big)
    put(root / "one.txt", b"first")
    put(root / "one.txt", b"second")
    assert read(root / "one.txt") == b"second"
    assert read(root / "model=org%2Fm" / "two.bin") == big
    assert names(root) == ["model=org%2Fm", "one.txt"]
    assert [(str(e.place), e.size) for e in entries(root, "*/*.bin")] == [(f"{root}/model=org%2Fm/two.bin", len(big))]
    assert [e.place for e in entries(root, "*.txt")] == [root / "one.txt"]
    assert exists(root / "one.txt")
    assert exists(root / "model=org%2Fm")


def test_a_small_object_is_one_put(s3: LocalS3) -> None:
    root = place(f"s3://{s3.bucket()}/out")
    s3.requests.clear()
    put(root / "x", b"data")
    assert [(method, path) for method, path, _ in s3.requests] == [("PUT", f"/{root.path}/x")]


def test_an_interrupted_upload_is_not_seen(s3: LocalS3) -> None:
    root = place(f"s3://{s3.bucket()}/out")
    put(root / "x", b"old")
    s3.refuse = lambda method, path: (500, "InternalError") if method in ("PUT", "POST") and "/out/x" in path else None
    with pytest.raises(StoreError):
        put(root / "x", b"new")
    with pytest.raises(StoreError):
        put(root / "x", b"n" * 12_000_000)
    s3.refuse = lambda _method, _path: None
    assert read(root / "x") == b"old"
    assert names(root) == ["x"]


def test_polars_reads_only_the_columns_and_row_groups_it_needs(s3: LocalS3) -> None:
    where = place(f"s3://{s3.bucket()}/x.parquet")
    row = pl.int_range(400_000, eager=True).alias("row")
    frame = pl.DataFrame({"step": row // 40_000, "thin": row % 7, "wide": row.hash()})
    frame.write_parquet(buffer := io.BytesIO(), row_group_size=40_000)
    put(where, buffer.getvalue())
    s3.requests.clear()
    found = pl.scan_parquet(str(where), **polars_options(where)).filter(pl.col("step") == 3).select("thin").collect()
    assert len(found) == 40_000
    footer, *parts = [asked.removeprefix("bytes=") for *_, asked in s3.requests]
    assert footer.startswith("-")
    n_bytes = sum(int(last) - int(first) for first, last in (part.split("-") for part in parts))
    assert 0 < n_bytes < len(buffer.getvalue()) / 50


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((403, "AccessDenied"), r"access is denied; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        ((403, "InvalidAccessKeyId"), "access is denied"),
        ((403, "SignatureDoesNotMatch"), "access is denied"),
        ((301, "PermanentRedirect"), "is in another region; set AWS_REGION"),
        ((503, "SlowDown"), r"cannot be reached; check the network and AWS_ENDPOINT_URL \(http://127.0.0.1:\d+\)"),
        ((409, "OperationAborted"), "fix this, then resume"),
    ],
)
def test_a_refusal_is_one_line_with_a_remedy(s3: LocalS3, refusal: tuple[int, str], message: str) -> None:
    root = place(f"s3://{s3.bucket()}/out")
    s3.refuse = lambda _method, _path: refusal
    for verb in (lambda: put(root / "x", b"x"), lambda: entries(root, "*")):
        with pytest.raises(StoreError, match=message) as refused:
            verb()
        assert "\n" not in str(refused.value)
        assert not any(value in str(refused.value) for name, value in CREDENTIALS.items() if "KEY" in name)


@pytest.mark.usefixtures("s3")
def test_no_bucket_and_no_server_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for verb in (lambda: put(place("s3://nobody/x"), b"x"), lambda: names(place("s3://nobody/x"))):
        with pytest.raises(StoreError, match="there is no bucket nobody; create it, or name another"):
            verb()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"s3://b/x cannot be reached; check the network and AWS_ENDPOINT_URL"):
        read(place("s3://b/x"))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("google::cloud::Status(UNAVAILABLE: Could not create a OAuth2 access token", "set GOOGLE_APPLICATION_CREDENT"),
        (
            "google::cloud::Status(UNAVAILABLE: EasyPerform() - CURL error",
            "gs://b/x cannot be reached; check the network",
        ),
        ("google::cloud::Status(NOT_FOUND: The specified bucket does not exist.", "there is no bucket b"),
    ],
)
def test_google_is_explained_too(said: str, message: str) -> None:
    with pytest.raises(StoreError, match=message), storage.explained_errors(place("gs://b/x")):
        raise OSError(said)


def test_both_clients_take_the_same_credentials(s3: LocalS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polars left to itself would read as the default profile what pyarrow wrote as another."""
    where = place(f"s3://{s3.bucket()}/x.parquet")
    profiles = "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = x\n"
    (tmp_path / "credentials").write_text(profiles + "[lab]\naws_access_key_id = LAB\naws_secret_access_key = y\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    pl.DataFrame({"a": [1]}).write_parquet(buffer := io.BytesIO())
    for profile, key in ((None, CREDENTIALS["AWS_ACCESS_KEY_ID"]), ("lab", "LAB")):
        if profile:
            monkeypatch.setenv("AWS_PROFILE", profile)
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        object_stores._s3.cache_clear()
        s3.keys.clear()
        put(where, buffer.getvalue())
        pl.scan_parquet(str(where), **polars_options(where)).collect()
        assert s3.keys == {key}
    object_stores._s3.cache_clear()


def test_a_profile_that_only_the_writer_could_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(object_stores, "find_spec", lambda _: None)
    object_stores._s3.cache_clear()
    with pytest.raises(StoreError, match=r"AWS_PROFILE needs boto3; pip install boto3, or set AWS_ACCESS_KEY_ID"):
        names(place("s3://b/x"))
