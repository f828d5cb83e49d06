"""Listings of a repository: its revisions, files and their hashes, and one format per revision. Downloads no file.

The listing of a commit never changes, so it is requested once and stored in the cache; offline, the stored one is used.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from dynamics.errors import CheckpointError
from dynamics.hub.api import checked_entries, drop, get_json, get_pages, keep, kept, repo_url
from dynamics.hub.names import checked_repo, checked_revision, checked_sha, checked_sha256, settings

Kind = Literal["model", "dataset"]
API_LIMIT, API_LIMIT_WITH_TOKEN = 500, 1000
FILE_LIMIT, FILE_LIMIT_WITH_TOKEN = 3000, 5000
REQUESTS_PER_FILE = 3
"""Two HEAD (ours, and huggingface_hub's) and one GET."""
SETUP_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
REQUIRED = ("config.json", "tokenizer.json")
FORMATS = {"safetensors": ("model", "safetensors"), "bin": ("pytorch_model", "bin")}
_N_THREADS = 4


@dataclass(frozen=True, order=True)
class HubFile:
    """A file of a commit, with its git id `oid` (40 hex) and, of large files only, its `sha256` (64 hex)."""

    path: str
    size: int
    oid: str
    sha256: str | None

    @property
    def etag(self) -> str:
        """The server's ETag of this content, which is also the name of its blob in the cache."""
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    """A commit of a repository, and the name of the revision that it was found by."""

    repo: str
    revision: str
    sha: str
    kind: Kind = "model"

    def __str__(self) -> str:
        return f"{'dataset ' if self.kind == 'dataset' else ''}{self.repo}@{self.revision}"


@dataclass(frozen=True)
class HubRevision:
    """A resolved revision: its commit, and the files that are needed of it, sorted.

    Attributes:
        repo, revision, commit_sha: its location.
        format: `safetensors` or `bin`.
        weights: the weight files.
        setup: config, tokenizer and the index of shards.
    """

    repo: str
    revision: str
    commit_sha: str
    format: str
    weights: tuple[HubFile, ...]
    setup: tuple[HubFile, ...]

    @property
    def commit(self) -> Commit:
        """Its location alone."""
        return Commit(self.repo, self.revision, self.commit_sha)

    @property
    def files(self) -> tuple[HubFile, ...]:
        """All files, setup first: a faulty one then fails before gigabytes are fetched."""
        return self.setup + self.weights

    @property
    def n_bytes(self) -> int:
        """Size of all files on disk; files of equal content are one blob."""
        return sum({file.etag: file.size for file in self.files}.values())

    @property
    def content_hash(self) -> str:
        """Hash of the weights, equal to that of a local folder with the same files; equal hashes are equal weights."""
        lines = (f"{file.path} {file.sha256 or 'git:' + file.oid}\n" for file in self.weights)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def setup_hash(self) -> str:
        """Hash of config and tokenizer files, from their ids on the Hub."""
        return hash_setup({file.path: file.etag for file in self.setup if file.path in SETUP_FILES})


def hash_setup(ids: Mapping[str, str]) -> str:
    """Hash of the names and ids of setup files."""
    return hashlib.sha256("".join(f"{name} {ids[name]}\n" for name in sorted(ids)).encode()).hexdigest()


def list_refs(repo: str, kind: Kind = "model") -> dict[str, str]:
    """Commit of every branch and tag of a repository, and of its conversions as `refs/convert/...`; one request.

    Raises:
        CheckpointError: no such repository, no permission, no network.
    """
    hub, name = settings(), _kept_name(repo, kind, "refs")
    if hub.offline:
        answer = kept(hub, name)
        if answer is None:
            raise CheckpointError(f"HF_HUB_OFFLINE is set and {repo} was never listed here; list it once online")
    else:
        answer = get_json(hub, repo_url(hub, repo, kind, "refs"), f"the revisions of {repo}")[0]
    try:
        pairs = [(ref["name"], ref["targetCommit"]) for key in ("tags", "branches") for ref in answer[key]]
        pairs += [(ref["ref"], ref["targetCommit"]) for ref in answer.get("converts") or ()]
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{hub.endpoint} does not answer as the Hub does for {repo} ({error!r}); check HF_ENDPOINT"
        ) from error
    refs = {str(ref): checked_sha(sha, f"the commit of {repo}@{ref}") for ref, sha in pairs}
    if not hub.offline:
        keep(hub, name, answer)
    return refs


def list_files(repo: str, commit_sha: str, kind: Kind = "model") -> tuple[HubFile, ...]:
    """All files of a commit, sorted; one request per thousand files, none if they were listed before.

    A kept listing that is none is requested again.

    Raises:
        CheckpointError: no such commit, no permission, no network, or malformed entries.
    """
    hub, name = settings(), _kept_name(repo, kind, checked_sha(commit_sha, "commit"))
    entries = kept(hub, name)
    if entries is not None:
        try:
            return _files(entries, repo)
        except CheckpointError:
            if hub.offline:
                raise
    if hub.offline:
        raise CheckpointError(
            f"HF_HUB_OFFLINE is set and {repo}@{commit_sha} was never listed here; list it once online"
        )
    return list_again(repo, commit_sha, kind)


def list_again(repo: str, commit_sha: str, kind: Kind = "model") -> tuple[HubFile, ...]:
    """All files of a commit, requested again: a kept listing that contradicts the server or a file is dropped.

    Raises:
        CheckpointError: as `list_files`.
    """
    hub, name = settings(), _kept_name(repo, kind, checked_sha(commit_sha, "commit"))
    drop(hub, name)
    url = repo_url(hub, repo, kind, f"tree/{commit_sha}?recursive=true")
    entries = get_pages(hub, url, f"the listing of {repo}@{commit_sha[:8]}")
    files = _files(entries, repo)
    keep(hub, name, entries)
    return files


def resolve(
    repo: str, revisions: Sequence[tuple[str, str]], *, allow_pickle: bool
) -> tuple[list[HubRevision], dict[str, str]]:
    """The usable revisions, each with the files it needs, and for each unusable one the reason.

    Args:
        repo: `owner/name`.
        revisions: pairs of revision and commit.
        allow_pickle: whether `.bin` may be chosen where there is no safetensors.

    Raises:
        CheckpointError: the Hub cannot be reached.
    """
    with ThreadPoolExecutor(_N_THREADS) as pool:
        listings = list(pool.map(lambda pair: list_files(repo, pair[1]), revisions))
    usable, reasons = [], {}
    for (revision, sha), files in zip(revisions, listings, strict=True):
        try:
            usable.append(choose_format(repo, revision, sha, files, allow_pickle=allow_pickle))
        except CheckpointError as error:
            reasons[revision] = str(error)
    return usable, reasons


def choose_format(
    repo: str, revision: str, commit_sha: str, files: Iterable[HubFile], *, allow_pickle: bool
) -> HubRevision:
    """The revision with its weights: safetensors, else `.bin` if allowed; a single file, else all shards and an index.

    Raises:
        CheckpointError: it has no weights or only pickles that are not allowed, or lacks a shard, config or tokenizer.
    """
    checked_revision(revision)
    by_path = {file.path: file for file in files}
    missing = [name for name in REQUIRED if name not in by_path]
    if missing:
        raise CheckpointError(f"{repo}@{revision} has no {' and no '.join(missing)}; leave the step out")
    setup = [by_path[name] for name in SETUP_FILES if name in by_path]
    for kind, (stem, suffix) in FORMATS.items():
        weights = _weights(by_path, stem, suffix, f"{repo}@{revision}")
        if not weights:
            continue
        if kind == "bin" and not allow_pickle:
            raise CheckpointError(
                f"{repo}@{revision} has its weights as pickle (.bin) only; add allow_pickle = true to the model if you "
                "trust it (it is loaded with weights_only=True), or leave the step out"
            )
        index = by_path.get(f"{stem}.{suffix}.index.json")
        parts = tuple(setup) if index is None or len(weights) == 1 else (*setup, index)
        return HubRevision(repo, revision, commit_sha, kind, weights, tuple(sorted(parts)))
    raise CheckpointError(f"{repo}@{revision} has no weights; leave the step out")


def _weights(by_path: Mapping[str, HubFile], stem: str, suffix: str, where: str) -> tuple[HubFile, ...]:
    """A single file, else the complete shards, else nothing, which is how transformers chooses."""
    if (whole := f"{stem}.{suffix}") in by_path:
        return (by_path[whole],)
    shard = re.compile(rf"{stem}-(\d{{5}})-of-(\d{{5}})\.{suffix}")
    shards = {name: match for name in sorted(by_path) if (match := shard.fullmatch(name))}
    if not shards:
        return ()
    totals = {int(match[2]) for match in shards.values()}
    numbers = sorted(int(match[1]) for match in shards.values())
    if len(totals) > 1 or numbers != list(range(1, max(totals) + 1)) or f"{whole}.index.json" not in by_path:
        raise CheckpointError(
            f"{where} lacks shards or their index ({len(shards)} of {max(totals)} {suffix} files); leave the step out"
        )
    return tuple(by_path[name] for name in shards)


def _kept_name(repo: str, kind: Kind, what: str) -> str:
    """Name of an answer that is kept."""
    return f"{'' if kind == 'model' else 'datasets/'}{checked_repo(repo)}/{what}.json"


def _files(entries: object, repo: str) -> tuple[HubFile, ...]:
    """The files of a tree listing, sorted; its folders are left out."""
    listed = checked_entries(entries, f"the listing of {repo}")
    return tuple(sorted(_file(entry, repo) for entry in listed if entry.get("type") == "file"))


def _file(entry: Mapping[str, Any], repo: str) -> HubFile:
    """One entry of a tree listing, checked."""
    try:
        path, size, lfs = str(entry["path"]), int(entry["size"]), entry.get("lfs")
        oid = checked_sha(entry["oid"], f"the id of {path} in {repo}")
        return HubFile(path, size, oid, checked_sha256(lfs["oid"], f"the hash of {path} in {repo}") if lfs else None)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"the listing of {repo} is not the Hub's: {error!r} in an entry; check HF_ENDPOINT"
        ) from error
