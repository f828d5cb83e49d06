"""Verified download of a revision's files by commit: each is compared with the listing before it is used.

huggingface_hub accepts any content of the announced length, and names blobs after the ETag that the server sends. So
the ETag is compared with the listed hash before a download, and size and hash of the file after it.
"""

import errno
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfFileMetadata, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.utils import disable_progress_bars

from dynamics.checkpoint_files import git_blob_id
from dynamics.errors import CheckpointError
from dynamics.hub import xet
from dynamics.hub.api import configure_client, not_the_hub
from dynamics.hub.cache import (
    blob_behind,
    blob_path,
    checkpoint_folder,
    discard,
    leads_inside,
    remove,
    repo_folder,
    snapshot_folder,
)
from dynamics.hub.listing import Commit, HubFile, HubRevision, list_again
from dynamics.hub.retries import BadAnswer, first_line, with_retries
from dynamics.hub.settings import HubSettings, settings
from dynamics.hub.waiting import LEAST_RATE, least_rate

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]*(/[A-Za-z0-9_][A-Za-z0-9._=+-]*)*")


Check = Callable[[Path], None]
"""Raises a `UserError` where a model cannot be used, as its folder tells without weights."""


def accept(_folder: Path) -> None:
    """The check that accepts every folder."""


class Contradiction(CheckpointError):
    """The server or a file contradicts the listing of a commit."""


def fetch_revision(revision: HubRevision, rate: float = LEAST_RATE, check: Check = accept) -> Path:
    """Download all files of a revision, each verified against the listing, and return their folder.

    A file that differs from the listing is deleted and downloaded once more; if it differs again, the fetch fails.
    Offline, nothing is deleted. A download slower than `rate` bytes a second for a minute is tried once more, then
    fails. No weights are downloaded before `check` has seen the folder with config, tokenizer and index of shards.

    Raises:
        CheckpointError: a file cannot be downloaded or differs from the listing (with both hashes); the disk is full;
            the index does not name the shards.
        UserError: as `check`.
    """
    hub = settings()
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        disable_progress_bars()
    folder = checkpoint_folder(hub.cache, revision.commit)
    token = least_rate.set(rate)
    try:
        for file in revision.setup:
            _fetch(revision, file, hub)
        _check_index(folder, revision)
        check(folder)
        for file in revision.weights:
            _fetch(revision, file, hub)
    finally:
        least_rate.reset(token)
    return folder


def fetch_setup(revision: HubRevision) -> Path:
    """Download config and tokenizer, verified, without weights, and return their folder.

    Raises:
        CheckpointError: as `fetch_revision`.
    """
    hub = settings()
    for file in revision.setup:
        _fetch(revision, file, hub)
    return checkpoint_folder(hub.cache, revision.commit)


def fetch_file(commit: Commit, file: HubFile) -> Path:
    """Download a file of a commit, verified against the listing.

    Raises:
        Contradiction: the server, or the file twice, contradicts the listing.
        CheckpointError: it cannot be downloaded.
    """
    return _verified(commit, file, settings())


def is_cached(cache: Path, revision: HubRevision, file: HubFile) -> bool:
    """Whether the cache has the content of a file, judged by its name."""
    commit = revision.commit
    return blob_path(cache, commit, file).exists() or (snapshot_folder(cache, commit) / file.path).exists()


def changed_entry(commit: Commit, file: HubFile) -> HubFile | None:
    """A file as the Hub lists it now, where it contradicted the listing; None where that has not changed.

    The kept listing is dropped either way.
    """
    try:
        files = {listed.path: listed for listed in list_again(commit.repo, commit.sha, commit.kind)}
    except CheckpointError:
        return None
    return found if (found := files.get(file.path)) != file else None


def _fetch(revision: HubRevision, file: HubFile, hub: HubSettings) -> Path:
    """A verified file of a revision, whose units are known by the hashes of its listing, so it cannot just change."""
    try:
        return _verified(revision.commit, file, hub)
    except Contradiction as error:
        if hub.offline or changed_entry(revision.commit, file) is None:
            raise
        raise CheckpointError(
            f"{revision.commit} {file.path}: the listing kept of it was wrong and is replaced; run the command again"
        ) from error


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


def _verified(commit: Commit, file: HubFile, hub: HubSettings) -> Path:
    """The path of a file whose content was compared with the listing."""
    difference = None
    for attempt in (1, 2):
        path = _download(commit, file, hub, replace=attempt == 2)
        difference = differs(path, file)
        if difference is None:
            return path
        if hub.offline:
            raise CheckpointError(
                f"{commit} {file.path}: {difference}; HF_HUB_OFFLINE is set, so it is not fetched again"
            )
        discard(path, hub.cache)
    raise Contradiction(
        f"{commit} {file.path}: {difference}, twice; the server or a proxy alters it. Nothing of it was kept"
    )


def _download(commit: Commit, file: HubFile, hub: HubSettings, *, replace: bool) -> Path:
    """One file by commit, through huggingface_hub's cache; transient errors are retried.

    With `replace`, content that is in the cache already, even in the store that repositories share, is not used.
    """
    if not _PATH.fullmatch(file.path):
        raise CheckpointError(f"{commit.repo} lists a file {file.path!r}, which is not a plain name")
    path = snapshot_folder(hub.cache, commit) / file.path
    if path.exists() and not replace:
        if leads_inside(path, hub.cache):
            return path
        raise CheckpointError(f"{path} leads to {path.resolve()}, outside {hub.cache}; remove that link")
    what = f"{commit} {file.path}"
    if hub.offline:
        raise CheckpointError(f"{what} is not in {hub.cache}, and HF_HUB_OFFLINE is set; unset it to download the file")
    return with_retries(
        lambda: _attempt(commit, file, hub, replace), what, progress=lambda: _progress(commit, file, hub)
    )


def _progress(commit: Commit, file: HubFile, hub: HubSettings) -> str:
    """How much of a file is there, of what its partial downloads hold."""
    blob = blob_path(hub.cache, commit, file)
    sizes = [size for path in blob.parent.glob(f"{blob.name}*.incomplete") if (size := _size(path))]
    return f"{max(sizes, default=0) / 1e6:.1f} of {file.size / 1e6:.1f} MB"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _attempt(commit: Commit, file: HubFile, hub: HubSettings, replace: bool) -> Path:
    """A single attempt of a download."""
    what = f"{commit} {file.path}"
    before = _content(hub.cache, commit, file)
    configure_client()
    offer, by_xet = None, False
    try:
        if replace or not blob_path(hub.cache, commit, file).exists():
            offer = _check_offer(commit, file, hub)
            xet.check(hub, offer)
            by_xet = xet.is_used(offer)
        path = Path(
            hf_hub_download(
                commit.repo,
                file.path,
                repo_type=commit.kind,
                revision=commit.sha,
                endpoint=hub.endpoint,
                cache_dir=hub.cache,
                token=hub.token or False,
                force_download=replace,
                tqdm_class=xet.TransferBar if by_xet else None,
            )
        )
    except CheckpointError:
        raise
    except Exception as error:
        if _is_disk_full(error):
            raise CheckpointError(_disk_full_message(hub.cache, what, file.size)) from error
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise Contradiction(
                f"{what}: the server lists the file but does not have it; leave the step out"
            ) from error
        if by_xet and getattr(error, "response", None) is None:
            xet.disable(hub, error)
            raise BadAnswer(f"the Xet store fails: {first_line(error)}") from error
        raise
    _check_place(path, commit, file, hub, before)
    return path


def _check_offer(commit: Commit, file: HubFile, hub: HubSettings) -> HfFileMetadata:
    """Check that the server offers the listed content, before the client names a blob after it."""
    url = hf_hub_url(commit.repo, file.path, repo_type=commit.kind, revision=commit.sha, endpoint=hub.endpoint)
    offer = get_hf_file_metadata(
        url, token=hub.token or False, timeout=constants.HF_HUB_ETAG_TIMEOUT, endpoint=hub.endpoint
    )
    if offer.commit_hash is None and offer.etag is None:
        raise CheckpointError(f"{commit} {file.path}: {not_the_hub(hub, '')}")
    if offer.etag != file.etag:
        raise Contradiction(
            f"{commit} {file.path}: the server offers content {offer.etag!r}, the listing says {file.etag!r}"
        )
    return offer


def _content(cache: Path, commit: Commit, file: HubFile) -> set[Path]:
    """The blobs of a repository, and its snapshots' links to a file of this name."""
    root = repo_folder(cache, commit.repo, commit.kind)
    return {*root.glob("blobs/*"), *(folder / file.path for folder in root.glob("snapshots/*"))}


def _check_place(path: Path, commit: Commit, file: HubFile, hub: HubSettings, before: set[Path]) -> None:
    """Check where the client put a file: it asks again, and names both after the second answer.

    What it put elsewhere is deleted, since no budget counts it; but nothing that was there before.
    """
    blob = blob_behind(path)
    if path == snapshot_folder(hub.cache, commit) / file.path and blob in (None, blob_path(hub.cache, commit, file)):
        return
    new = {path, blob} - before - {None}
    remove(hub.cache, new & {path}, new & {blob})
    if path.parent.name != commit.sha and not any(path.parent.iterdir()):
        path.parent.rmdir()
    raise BadAnswer("the server named another commit or another content when the request was repeated")


def _is_disk_full(error: Exception) -> bool:
    """Whether a disk or a quota is full; the client of the Xet store says so in words alone."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in codes or any(f"(os error {code})" in str(error) for code in codes)


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
    shards = {revision.name_in_folder(file) for file in revision.weights}
    (index,) = (name for file in revision.setup if (name := revision.name_in_folder(file)).endswith(".index.json"))
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
