"""Verified download: a revision's files by commit, each compared with the listing before anything opens it.

huggingface_hub accepts any content of the announced length, and names blobs after whatever ETag the server sends. So
the ETag must be the listed hash before a download starts, and size and hash are computed after it.
"""

import errno
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import disable_progress_bars

from dynamics.errors import CheckpointError
from dynamics.hub.listing import HubFile, HubRevision
from dynamics.hub.names import HubSettings, checked_repo, checked_sha, settings
from dynamics.hub.retries import with_retries

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def fetch_revision(revision: HubRevision) -> Path:
    """Have all files of a revision on disk, each equal to the listing; the folder they are in.

    A file that differs from the listing is deleted and fetched once more; then the fetch fails. Offline, nothing is
    deleted.

    Raises:
        CheckpointError: a file cannot be had, or is not what the listing says (with both hashes), or the disk is full.
    """
    at = settings()
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        disable_progress_bars()
    paths = [_verified(revision, file, at) for file in revision.files]
    folder = snapshot_folder(at.cache, revision)
    if any(path.parent != folder for path in paths):
        raise CheckpointError(f"{at.endpoint} answers for another commit than {revision.commit_sha}; try again")
    _check_index(folder, revision)
    return folder


def fetch_setup(revision: HubRevision) -> Path:
    """Have config and tokenizer on disk, verified, and no weights; the folder they are in.

    Raises:
        CheckpointError: as `fetch_revision`.
    """
    at = settings()
    paths = [_verified(revision, file, at) for file in revision.setup]
    return paths[0].parent


def is_cached(cache: Path, revision: HubRevision, file: HubFile) -> bool:
    """Whether the cache has the content of a file, by name."""
    return blob_path(cache, revision, file).exists() or (snapshot_folder(cache, revision) / file.path).exists()


def repo_folder(cache: Path, repo: str) -> Path:
    """Where the cache keeps a repository."""
    return cache / repo_folder_name(repo_id=checked_repo(repo), repo_type="model")


def snapshot_folder(cache: Path, revision: HubRevision) -> Path:
    """Where the cache shows the files of a commit."""
    return repo_folder(cache, revision.repo) / "snapshots" / checked_sha(revision.commit_sha, "commit")


def blob_path(cache: Path, revision: HubRevision, file: HubFile) -> Path:
    """Where the cache keeps the content of a file."""
    return repo_folder(cache, revision.repo) / "blobs" / file.etag


def differs(path: Path, file: HubFile) -> str | None:
    """How a file on disk differs from the listing, or None where it does not."""
    size = path.stat().st_size
    if size != file.size:
        return f"{size} bytes, the listing says {file.size}"
    with path.open("rb") as content:
        if file.sha256:
            found, listed = hashlib.file_digest(content, "sha256").hexdigest(), file.sha256
        else:
            found, listed = git_blob_id(content, size), file.oid
    return None if found == listed else f"hash {found}, the listing says {listed}"


def git_blob_id(content: BinaryIO, size: int) -> str:
    """Git's id of a file's content."""
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    while chunk := content.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _verified(revision: HubRevision, file: HubFile, at: HubSettings) -> Path:
    """The path of a file whose content is the listed one."""
    for attempt in (1, 2):
        path = _download(revision, file, at)
        difference = differs(path, file)
        if difference is None:
            return path
        what = f"{revision.repo}@{revision.revision} {file.path}: {difference}"
        if at.offline:
            raise CheckpointError(f"{what}; HF_HUB_OFFLINE is set, so it is not fetched again")
        discard(path)
        if attempt == 2:
            raise CheckpointError(f"{what}, twice; the server or a proxy alters it. Nothing of it was kept")
    raise AssertionError("unreachable")


def discard(path: Path) -> None:
    """Delete a file of a snapshot and the content behind it."""
    content = path.resolve()
    path.unlink(missing_ok=True)
    content.unlink(missing_ok=True)


def _download(revision: HubRevision, file: HubFile, at: HubSettings) -> Path:
    """One file by commit, through huggingface_hub's cache; tried again while errors pass."""
    if not _FILE_NAME.fullmatch(file.path):
        raise CheckpointError(f"{revision.repo} lists a file {file.path!r}, which is not a plain name")
    path = snapshot_folder(at.cache, revision) / file.path
    if path.exists():
        return path
    what = f"{revision.repo}@{revision.revision} {file.path}"
    if at.offline:
        raise CheckpointError(f"{what} is not in {at.cache}, and HF_HUB_OFFLINE is set")
    return with_retries(lambda: _once(revision, file, at, what), what)


def _once(revision: HubRevision, file: HubFile, at: HubSettings, what: str) -> Path:
    """One attempt."""
    try:
        if not blob_path(at.cache, revision, file).exists():
            url = hf_hub_url(revision.repo, file.path, revision=revision.commit_sha, endpoint=at.endpoint)
            _check_etag(url, file, at, what)
        found = hf_hub_download(
            revision.repo,
            file.path,
            revision=revision.commit_sha,
            endpoint=at.endpoint,
            cache_dir=at.cache,
            token=at.token or False,
        )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CheckpointError(_full(at.cache, what, file.size)) from error
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise CheckpointError(f"{what}: the server lists the file and does not have it") from error
        raise
    return Path(found)


def _check_etag(url: str, file: HubFile, at: HubSettings, what: str) -> None:
    """Refuse a server that would serve something else, before the client names a file after it."""
    found = get_hf_file_metadata(url, token=at.token or False, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    if found.etag != file.etag:
        raise CheckpointError(f"{what}: the server offers content {found.etag!r}, the listing says {file.etag!r}")


def _full(cache: Path, what: str, size: int) -> str:
    free = shutil.disk_usage(cache).free
    return (
        f"{what}: the disk is full: {size / 1e9:.3g} GB needed, {free / 1e9:.3g} GB free at {cache}. Free space, set "
        "disk_gb in the plan's [hub] lower, or point HF_HUB_CACHE elsewhere"
    )


def _check_index(folder: Path, revision: HubRevision) -> None:
    """The index of shards names the shards that were verified, and no other file."""
    if len(revision.weights) == 1:
        return
    shards = {file.path for file in revision.weights}
    (index,) = (file.path for file in revision.setup if file.path.endswith(".index.json"))
    try:
        named = set(json.loads((folder / index).read_text())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{revision.repo}@{revision.revision} {index} is not an index of shards") from error
    if named != shards:
        odd = sorted(map(str, named ^ shards))
        raise CheckpointError(
            f"{revision.repo}@{revision.revision} {index} and the shards listed differ: {', '.join(odd[:3])}"
        )
