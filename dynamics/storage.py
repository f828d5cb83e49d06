"""Where bytes lie: a folder of this machine or an object store, behind six verbs.

    put     a whole file or none
    read    all of it
    exists  whether something is there
    names   what lies directly in a folder
    entries the files below a folder, by pattern
    delete  one file

A place is a `Path`, or an `ObjectPath` for `s3://` and `gs://`. Credentials come from the environment of each process
(`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, with boto3 `AWS_PROFILE`;
`GOOGLE_APPLICATION_CREDENTIALS`), as the stores' own tools take them; none is kept, passed on or printed. Files are
written and listed through pyarrow, and scanned by Polars, which finds columns and rows in ranges of an object.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl
import pyarrow as pa
from pyarrow import fs

from dynamics.errors import StoreError, unknown

TEMPORARY = ".tmp-"
"""What the name of a file begins with while it is written."""
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE,",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_RETRIES, _CONNECT_SECONDS, _REQUEST_SECONDS = 3, 5, 30


@dataclass(frozen=True)
class ObjectPath:
    """A place in an object store, `scheme://bucket/key`; behaves as a `Path` where it can."""

    scheme: str
    path: PurePosixPath

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(self.scheme, self.path / name)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    @property
    def name(self) -> str:
        """Last part of the key."""
        return self.path.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.path.stem

    @property
    def parent(self) -> "ObjectPath":
        """The folder that holds it."""
        return ObjectPath(self.scheme, self.path.parent)

    def with_name(self, name: str) -> "ObjectPath":
        """Another place in the same folder."""
        return ObjectPath(self.scheme, self.path.with_name(name))


Place = Path | ObjectPath


@dataclass(frozen=True)
class Entry:
    """A file and its size in bytes."""

    place: Place
    size: int


def place(text: Place | str) -> Place:
    """A path, or a `file://`, `s3://` or `gs://` URI, as a place.

    Raises:
        StoreError: another kind of URI, one without a bucket, or one that carries credentials or options.
    """
    if isinstance(text, ObjectPath):
        return text
    uri = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)(.*)", str(text), re.DOTALL)
    if uri is None:
        return Path(text).expanduser()
    scheme, slashes, rest = uri.groups()
    if scheme not in ("file", "s3", "gs"):
        raise StoreError(unknown("address", f"{scheme}://", ["s3://", "gs://", "file://", "a folder"]))
    if scheme == "file":
        return _local(str(text))
    bucket, _, key = rest.partition("/")
    if "@" in bucket or ":" in bucket or re.search(r"[?#]", rest):
        raise StoreError(f"an {scheme}:// address holds bucket and key only; set {_CREDENTIALS[scheme]} instead")
    if slashes != "//" or not bucket or ".." in key.split("/"):
        raise StoreError(f"{text} names no bucket and key; write {scheme}://BUCKET/FOLDER")
    return ObjectPath(scheme, PurePosixPath(rest))


def put(where: Place, data: bytes | pa.Buffer) -> None:
    """Write a whole file or none, its folders made where they lack.

    On disk: a temporary name that readers do not match, fsync, rename, fsync of the folder. In an object store: one
    PUT of what is complete in memory, which nobody sees before it has ended (larger ones in parts, joined at the end).

    Raises:
        StoreError: it cannot be written.
    """
    if isinstance(where, Path):
        _put_file(where, data)
        return
    with explained(where), _filesystem(where).open_output_stream(str(where.path)) as stream:
        stream.write(data)


def read(where: Place) -> bytes:
    """All bytes of a file.

    Raises:
        FileNotFoundError: nothing is there.
        StoreError: the object store refuses or cannot be reached.
    """
    if isinstance(where, Path):
        return where.read_bytes()
    with explained(where), _filesystem(where).open_input_stream(str(where.path)) as stream:
        return stream.read()


def exists(where: Place) -> bool:
    """Whether a file or folder is there."""
    if isinstance(where, Path):
        return where.exists()
    with explained(where):
        return _filesystem(where).get_file_info(str(where.path)).type != fs.FileType.NotFound


def names(folder: Place) -> list[str]:
    """Names of what lies directly in a folder, sorted; none where there is no folder."""
    if isinstance(folder, Path):
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return sorted(info.base_name for info in _infos(folder, recursive=False))


def entries(folder: Place, pattern: str) -> list[Entry]:
    """The files below a folder whose path from there matches, sorted; none where there is no folder."""
    if isinstance(folder, Path):
        return [Entry(path, path.stat().st_size) for path in sorted(folder.glob(pattern))]
    files = [info for info in _infos(folder, recursive=True) if info.is_file]
    found = {PurePosixPath(info.path).relative_to(folder.path): info.size for info in files}
    depth = len(PurePosixPath(pattern).parts)
    kept = [path for path in sorted(found) if len(path.parts) == depth and path.match(pattern)]
    return [Entry(folder / str(path), found[path]) for path in kept]


def delete(where: Place) -> None:
    """Take a file away, if it is there.

    Raises:
        StoreError: it cannot be taken away.
    """
    try:
        if isinstance(where, Path):
            where.unlink(missing_ok=True)
        else:
            with explained(where):
                _filesystem(where).delete_file(str(where.path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot delete {where}: {error.strerror}; check permissions") from error


def polars_options(where: Place) -> dict[str, Any]:
    """How Polars reaches a place, as arguments of its scans: the endpoint and region that this module uses."""
    if isinstance(where, Path):
        return {}
    options: dict[str, Any] = {"max_retries": _RETRIES}
    if where.scheme == "s3":
        filesystem = _filesystem(where)
        assert isinstance(filesystem, fs.S3FileSystem)
        options |= {"aws_region": filesystem.region, "aws_allow_http": "true"}
        options |= {"aws_endpoint_url": endpoint} if (endpoint := _endpoint()) else {}
    if where.scheme == "s3" and (profile := os.environ.get("AWS_PROFILE")):
        # left to itself, Polars takes the keys of the default profile
        return {"storage_options": options, "credential_provider": pl.CredentialProviderAWS(profile_name=profile)}
    return {"storage_options": options}


@contextmanager
def explained(where: Place) -> Iterator[None]:
    """An object store's refusal as one line with a remedy; a file that is not there stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        if isinstance(where, Path):
            raise
        raise StoreError(_explanation(where, str(error))) from error


def _explanation(where: ObjectPath, error: str) -> str:
    """One line for what an object store, or the way to it, said."""
    bucket, key = where.path.parts[0], _CREDENTIALS[where.scheme]
    causes = {
        r"NO_?SUCH_?BUCKET|bucket does not exist": f": there is no bucket {bucket}; make it, or name another",
        r"NETWORK_CONNECTION|sending request": _unreachable(where),
        r"ACCESS_?DENIED|INVALID_?ACCESS|SIGNATURE|TOKEN|FORBIDDEN|PERMISSION|\b40[13]\b": (
            f": access is refused; set {key} in the environment of every node, of an account that may list, read and "
            f"write in {bucket}"
        ),
        r"REDIRECT|AUTHORIZATION_?HEADER|\b301\b": f": bucket {bucket} is in another region; set AWS_REGION",
        r"connect|resolve|timed? ?out|UNAVAILABLE|SLOW_?DOWN|\b50\d\b": _unreachable(where),
        "": f": {error.strip().splitlines()[0]}; mend it, then resume",
    }
    return f"{where}{next(text for cause, text in causes.items() if re.search(cause, error, re.IGNORECASE))}"


def _unreachable(where: ObjectPath) -> str:
    shown = re.sub(r"//.*@", "//", _endpoint() or "not set")
    endpoint = f" and AWS_ENDPOINT_URL ({shown})" if where.scheme == "s3" else ""
    return f" cannot be reached; check the network{endpoint}, then resume"


def _infos(folder: ObjectPath, *, recursive: bool) -> list[fs.FileInfo]:
    """What lies in a folder; a bucket that is not there is refused, which `allow_not_found` would hide."""
    try:
        with explained(folder):
            return _filesystem(folder).get_file_info(fs.FileSelector(str(folder.path), recursive=recursive))
    except FileNotFoundError:
        return []


def _filesystem(where: ObjectPath) -> fs.FileSystem:
    return _s3(_endpoint()) if where.scheme == "s3" else _gs()


def _endpoint() -> str | None:
    """Another S3 than Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


@lru_cache
def _s3(endpoint: str | None) -> fs.FileSystem:
    """One client per process and endpoint; waits are bounded, so that a wrong address is told in seconds."""
    if os.environ.get("AWS_PROFILE") and find_spec("boto3") is None:
        raise StoreError("AWS_PROFILE needs boto3 (pip install boto3); or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY")
    return fs.S3FileSystem(
        endpoint_override=endpoint,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_RETRIES),
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
        allow_delayed_open=True,  # a small file is one PUT
    )


@lru_cache
def _gs() -> fs.FileSystem:
    return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=_REQUEST_SECONDS))


def _local(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not uri.startswith("file:///"):
        raise StoreError(f"{uri} is not on this machine; write file:///FOLDER or /FOLDER")
    return Path(unquote(parts.path))


def _put_file(path: Path, data: bytes | pa.Buffer) -> None:
    _make(path.parent)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{TEMPORARY}{path.stem}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; free space or permissions, then resume") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {folder}: {error.strerror}; name a folder you may write to") from error
