"""Where bytes lie: a folder of this machine or an object store, behind seven verbs.

    put     a whole file or none
    read    all of it
    opened  it, to read from here and there
    exists  whether something is there
    names   what lies directly in a folder
    entries the files below a folder, by pattern
    delete  one file

A place is a `Path`, or an `ObjectPath` for `s3://` and `gs://`. Files are written and listed through pyarrow, and
scanned by Polars, which finds columns and rows in ranges of an object.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from dynamics.atomic_write import write_atomically
from dynamics.errors import StoreError, unknown
from dynamics.results.object_stores import CREDENTIALS, ObjectPath, explanation, filesystem, scan_options

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
        return at_home(Path(text))
    scheme, slashes, rest = uri.groups()
    if scheme not in ("file", "s3", "gs"):
        raise StoreError(unknown("address", f"{scheme}://", ["s3://", "gs://", "file://", "a folder"]))
    if scheme == "file":
        return _local(str(text))
    bucket, _, key = rest.partition("/")
    if "@" in bucket or ":" in bucket or re.search(r"[?#]", rest):
        raise StoreError(f"an {scheme}:// address holds bucket and key only; set {CREDENTIALS[scheme]} instead")
    if slashes != "//" or not bucket or ".." in key.split("/"):
        raise StoreError(f"{text} names no bucket and key; write {scheme}://BUCKET/FOLDER")
    return ObjectPath(scheme, PurePosixPath(rest))


def at_home(path: Path) -> Path:
    """The path with a `~` at its front as the user's home; a shell expands it in arguments only, and not after `=`."""
    return path.expanduser() if path.parts[:1] == ("~",) else path


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
    try:
        with explained(where), filesystem(where).open_output_stream(str(where.path)) as stream:
            stream.write(data)
    except FileNotFoundError as error:
        raise StoreError(explanation(where, "NO_SUCH_BUCKET")) from error


def read(where: Place) -> bytes:
    """All bytes of a file.

    Raises:
        FileNotFoundError: nothing is there.
        StoreError: the object store refuses or cannot be reached.
    """
    if isinstance(where, Path):
        return where.read_bytes()
    with explained(where), filesystem(where).open_input_stream(str(where.path)) as stream:
        return stream.read()


@contextmanager
def opened(where: Place) -> Iterator[pa.NativeFile]:
    """A file to read parts of.

    Raises:
        FileNotFoundError: nothing is there.
        StoreError: the object store refuses or cannot be reached.
    """
    with explained(where):
        file = pa.OSFile(str(where)) if isinstance(where, Path) else filesystem(where).open_input_file(str(where.path))
        with file:
            yield file


def exists(where: Place) -> bool:
    """Whether a file or folder is there."""
    if isinstance(where, Path):
        return where.exists()
    with explained(where):
        return filesystem(where).get_file_info(str(where.path)).type != fs.FileType.NotFound


def names(folder: Place) -> list[str]:
    """Names of what lies directly in a folder, sorted; none where there is no folder."""
    if isinstance(folder, Path):
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    # Google's client names no folders unless it lists what is in them
    infos = _infos(folder, recursive=folder.scheme == "gs")
    return sorted({PurePosixPath(info.path).relative_to(folder.path).parts[0] for info in infos})


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
                filesystem(where).delete_file(str(where.path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot delete {where}: {error.strerror}; check permissions") from error


def polars_options(where: Place) -> dict[str, Any]:
    """How Polars reaches a place, as arguments of its scans."""
    return {} if isinstance(where, Path) else scan_options(where)


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
        raise StoreError(explanation(where, str(error))) from error


def _infos(folder: ObjectPath, *, recursive: bool) -> list[fs.FileInfo]:
    """What lies in a folder; an S3 bucket that is not there is refused, which `allow_not_found` would hide."""
    selector = fs.FileSelector(str(folder.path), recursive=recursive, allow_not_found=folder.scheme == "gs")
    try:
        with explained(folder):
            return filesystem(folder).get_file_info(selector)
    except FileNotFoundError:
        return []


def _local(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not uri.startswith("file:///"):
        raise StoreError(f"{uri} is not on this machine; write file:///FOLDER or /FOLDER")
    return Path(unquote(parts.path))


def _put_file(path: Path, data: bytes | pa.Buffer) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {path.parent}: {error.strerror}; name a folder you may write to") from error
    try:
        write_atomically(path, memoryview(data))
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; free space or permissions, then resume") from error
