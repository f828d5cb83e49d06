"""Verified download of a revision's files by commit: each is compared with the listing before it is used.

huggingface_hub accepts any content of the announced length, and names blobs after the ETag that the server sends. So
the ETag is compared with the listed hash before a download, and size and hash of the file after it.
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
    """Download all files of a revision, each verified against the listing, and return their folder.

    A file that differs from the listing is deleted and downloaded once more; if it differs again, the fetch fails.
    Offline, nothing is deleted.

    Raises:
        CheckpointError: a file cannot be downloaded or differs from the listing (with both hashes); the disk is full.
    """
    hub = settings()
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        disable_progress_bars()
    paths = [_verified(revision, file, hub) for file in revision.files]
    folder = snapshot_folder(hub.cache, revision)
    if any(path.parent != folder for path in paths):
        raise CheckpointError(f"{hub.endpoint} answers for another commit than {revision.commit_sha}; try again")
    _check_index(folder, revision)
    return folder


def fetch_setup(revision: HubRevision) -> Path:
    """Download config and tokenizer, verified, without weights, and return their folder.

    Raises:
        CheckpointError: as `fetch_revision`.
    """
    hub = settings()
    paths = [_verified(revision, file, hub) for file in revision.setup]
    return paths[0].parent


def is_cached(cache: Path, revision: HubRevision, file: HubFile) -> bool:
    """Whether the cache has the content of a file, judged by its name."""
    return blob_path(cache, revision, file).exists() or (snapshot_folder(cache, revision) / file.path).exists()


def repo_folder(cache: Path, repo: str) -> Path:
    """Folder of a repository in the cache."""
    return cache / repo_folder_name(repo_id=checked_repo(repo), repo_type="model")


def snapshot_folder(cache: Path, revision: HubRevision) -> Path:
    """Folder of a commit in the cache, which links to the contents of its files."""
    return repo_folder(cache, revision.repo) / "snapshots" / checked_sha(revision.commit_sha, "commit")


def blob_path(cache: Path, revision: HubRevision, file: HubFile) -> Path:
    """Path of a file's content in the cache."""
    return repo_folder(cache, revision.repo) / "blobs" / file.etag


def differs(path: Path, file: HubFile) -> str | None:
    """The difference between a file on disk and the listing, in words; None where there is none."""
    size = path.stat().st_size
    if size != file.size:
        return f"{size} bytes, the listing says {file.size}"
    with path.open("rb") as content:
        if file.sha256:
            actual, listed = hashlib.file_digest(content, "sha256").hexdigest(), file.sha256
        else:
            actual, listed = git_blob_id(content, size), file.oid
    return None if actual == listed else f"hash {actual}, the listing says {listed}"


def git_blob_id(content: BinaryIO, size: int) -> str:
    """Git's id of a file's content."""
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    while chunk := content.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _verified(revision: HubRevision, file: HubFile, hub: HubSettings) -> Path:
    """The path of a file whose content was compared with the listing."""
    for attempt in (1, 2):
        path = _download(revision, file, hub)
        difference = differs(path, file)
        if difference is None:
            return path
        what = f"{revision.repo}@{revision.revision} {file.path}: {difference}"
        if hub.offline:
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


def _download(revision: HubRevision, file: HubFile, hub: HubSettings) -> Path:
    """One file by commit, through huggingface_hub's cache; transient errors are retried."""
    if not _FILE_NAME.fullmatch(file.path):
        raise CheckpointError(f"{revision.repo} lists a file {file.path!r}, which is not a plain name")
    path = snapshot_folder(hub.cache, revision) / file.path
    if path.exists():
        return path
    what = f"{revision.repo}@{revision.revision} {file.path}"
    if hub.offline:
        raise CheckpointError(f"{what} is not in {hub.cache}, and HF_HUB_OFFLINE is set; unset it to download the file")
    return with_retries(lambda: _attempt(revision, file, hub, what), what)


def _attempt(revision: HubRevision, file: HubFile, hub: HubSettings, what: str) -> Path:
    """A single attempt of a download."""
    try:
        if not blob_path(hub.cache, revision, file).exists():
            url = hf_hub_url(revision.repo, file.path, revision=revision.commit_sha, endpoint=hub.endpoint)
            _check_etag(url, file, hub, what)
        path = hf_hub_download(
            revision.repo,
            file.path,
            revision=revision.commit_sha,
            endpoint=hub.endpoint,
            cache_dir=hub.cache,
            token=hub.token or False,
        )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CheckpointError(_disk_full_message(hub.cache, what, file.size)) from error
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise CheckpointError(
                f"{what}: the server lists the file but does not have it; leave the step out"
            ) from error
        raise
    return Path(path)


def _check_etag(url: str, file: HubFile, hub: HubSettings, what: str) -> None:
    """Check that the server offers the listed content, before the client names a blob after it."""
    offered = get_hf_file_metadata(url, token=hub.token or False, timeout=constants.HF_HUB_ETAG_TIMEOUT).etag
    if offered != file.etag:
        raise CheckpointError(f"{what}: the server offers content {offered!r}, the listing says {file.etag!r}")


def _disk_full_message(cache: Path, what: str, size: int) -> str:
    free = shutil.disk_usage(cache).free
    return (
        f"{what}: the disk is full: {size / 1e9:.3g} GB needed, {free / 1e9:.3g} GB free at {cache}. Free space, set "
        "disk_gb in the plan's [hub] lower, or point HF_HUB_CACHE elsewhere"
    )


def _check_index(folder: Path, revision: HubRevision) -> None:
    """Check that the index of shards names exactly the verified shards."""
    if len(revision.weights) == 1:
        return
    shards = {file.path for file in revision.weights}
    (index,) = (file.path for file in revision.setup if file.path.endswith(".index.json"))
    try:
        named = set(json.loads((folder / index).read_text())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{revision.repo}@{revision.revision} {index} is not an index of shards; leave the step out"
        ) from error
    if named != shards:
        differing = sorted(map(str, named ^ shards))
        raise CheckpointError(
            f"{revision.repo}@{revision.revision} {index} and the shards listed differ: {', '.join(differing[:3])}; "
            "leave the step out"
        )
