"""Files on a disk or in an object store, behind seven functions.

    put        write a whole file or none
    read       read all of a file
    open_file  open a file to read parts of it
    exists     whether a file or folder exists
    names      names directly in a folder
    entries    files below a folder that match a pattern
    delete     delete a file

A place is a `Path`, or an `ObjectPath` for `s3://` and `gs://`. Files are written and listed with pyarrow, and scanned
by Polars, which reads columns and rows as ranges of an object.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from dynamics.atomic_write import write_atomically
from dynamics.errors import StoreError, unknown
from dynamics.paths import expand_home
from dynamics.results.object_stores import CREDENTIALS, ObjectPath, explanation, filesystem, scan_options

Place = Path | ObjectPath


@dataclass(frozen=True)
class Entry:
    """A file, its size in bytes, and when it was changed, in ns since 1970 (0 where that is not known)."""

    place: Place
    size: int
    changed_ns: int = field(default=0, compare=False)


def place(text: Place | str) -> Place:
    """The place of a path, or of a `file://`, `s3://` or `gs://` URI.

    Raises:
        StoreError: the URI has another scheme, has no bucket, or contains credentials or options.
    """
    if isinstance(text, ObjectPath):
        return text
    uri = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)(.*)", str(text), re.DOTALL)
    if uri is None:
        return expand_home(Path(text))
    scheme, slashes, rest = uri.groups()
    if scheme not in ("file", "s3", "gs"):
        raise StoreError(unknown("address", f"{scheme}://", ["s3://", "gs://", "file://", "a folder"]))
    if scheme == "file":
        return _local(str(text))
    bucket, _, key = rest.partition("/")
    if "@" in bucket or ":" in bucket or re.search(r"[?#]", rest):
        raise StoreError(f"an {scheme}:// address may hold bucket and key only; set {CREDENTIALS[scheme]} instead")
    if slashes != "//" or not bucket or ".." in key.split("/"):
        raise StoreError(f"{text} does not name a bucket and key; write {scheme}://BUCKET/FOLDER")
    return ObjectPath(scheme, PurePosixPath(rest))


def put(where: Place, data: bytes | pa.Buffer) -> None:
    """Write a whole file or none, and make its folders.

    On a disk: a temporary name that readers do not match, fsync, rename, fsync of the folder. In an object store: one
    PUT of the whole content, which is not visible before it has ended (large ones in parts, joined at the end).

    Raises:
        StoreError: the file cannot be written.
    """
    if isinstance(where, Path):
        _put_file(where, data)
        return
    try:
        with explained_errors(where), filesystem(where).open_output_stream(str(where.path)) as stream:
            stream.write(data)
    except FileNotFoundError as error:
        raise StoreError(explanation(where, "NO_SUCH_BUCKET")) from error


def read(where: Place) -> bytes:
    """All bytes of a file.

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: the object store denies access or cannot be reached.
    """
    if isinstance(where, Path):
        return where.read_bytes()
    with explained_errors(where), filesystem(where).open_input_stream(str(where.path)) as stream:
        return stream.read()


@contextmanager
def open_file(where: Place) -> Iterator[pa.NativeFile]:
    """A file, open to read parts of it.

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: the object store denies access or cannot be reached.
    """
    with explained_errors(where):
        file = pa.OSFile(str(where)) if isinstance(where, Path) else filesystem(where).open_input_file(str(where.path))
        with file:
            yield file


def exists(where: Place) -> bool:
    """Whether a file or folder exists."""
    if isinstance(where, Path):
        return where.exists()
    with explained_errors(where):
        return filesystem(where).get_file_info(str(where.path)).type != fs.FileType.NotFound


def names(folder: Place) -> list[str]:
    """Names of the files and folders directly in a folder, sorted; none where there is no folder."""
    if isinstance(folder, Path):
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    # Google's client does not list folders unless it lists their content too
    infos = _infos(folder, recursive=folder.scheme == "gs")
    return sorted({PurePosixPath(info.path).relative_to(folder.path).parts[0] for info in infos})


def entries(folder: Place, pattern: str) -> list[Entry]:
    """The files below a folder whose relative path matches a pattern, sorted; none where there is no folder.

    A link that leads nowhere is a file of 0 bytes; a file that is deleted meanwhile is left out.
    """
    if isinstance(folder, Path):
        return [Entry(path, *_size_and_time(path)) for path in sorted(folder.glob(pattern)) if _is_file(path)]
    files = [info for info in _infos(folder, recursive=True) if info.is_file]
    by_path = {PurePosixPath(info.path).relative_to(folder.path): info for info in files}
    depth = len(PurePosixPath(pattern).parts)
    matching = [path for path in sorted(by_path) if len(path.parts) == depth and path.match(pattern)]
    return [Entry(folder / str(path), by_path[path].size, by_path[path].mtime_ns or 0) for path in matching]


def delete(where: Place) -> None:
    """Delete a file, if it exists.

    Raises:
        StoreError: it cannot be deleted.
    """
    try:
        if isinstance(where, Path):
            where.unlink(missing_ok=True)
        else:
            with explained_errors(where):
                filesystem(where).delete_file(str(where.path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot delete {where}: {error.strerror}; check permissions") from error


def polars_options(where: Place) -> dict[str, Any]:
    """Arguments of Polars' scans that let it reach a place."""
    return {} if isinstance(where, Path) else scan_options(where)


@contextmanager
def explained_errors(where: Place) -> Iterator[None]:
    """Turn an object store's error into a StoreError with a remedy; FileNotFoundError is left as it is."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        if isinstance(where, Path):
            raise
        raise StoreError(explanation(where, str(error))) from error


def _is_file(path: Path) -> bool:
    return not path.is_dir() and (path.exists() or path.is_symlink())


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _infos(folder: ObjectPath, *, recursive: bool) -> list[fs.FileInfo]:
    """The content of a folder; a missing S3 bucket is an error, which `allow_not_found` would hide."""
    selector = fs.FileSelector(str(folder.path), recursive=recursive, allow_not_found=folder.scheme == "gs")
    try:
        with explained_errors(folder):
            return filesystem(folder).get_file_info(selector)
    except FileNotFoundError:
        return []


def _local(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not uri.startswith("file:///"):
        raise StoreError(f"{uri} names another machine; write file:///FOLDER or /FOLDER")
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
