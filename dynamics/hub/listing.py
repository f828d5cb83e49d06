"""Listings of a repository: its revisions, files and their hashes, and the formats of a revision. Downloads no file.

The listing of a commit never changes, so it is requested once and stored in the cache; offline, the stored one is used.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from multiprocessing.pool import ThreadPool
from typing import Any, Literal

from dynamics.errors import CheckpointError, NoRepository
from dynamics.hub.api import checked_entries, drop, get_json, get_pages, keep, kept, repo_url
from dynamics.hub.names import checked_repo, checked_revision, checked_sha, checked_sha256
from dynamics.hub.retries import is_no_repository
from dynamics.hub.settings import HubSettings, settings
from dynamics.suites import all_models

Kind = Literal["model", "dataset"]
API_LIMIT, API_LIMIT_WITH_TOKEN = 500, 1000
FILE_LIMIT, FILE_LIMIT_WITH_TOKEN = 3000, 5000
REQUESTS_PER_FILE = 3
"""Two HEAD (ours, and huggingface_hub's) and one GET."""
SETUP_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
CONFIG, TOKENIZER = "config.json", "tokenizer.json"
FORMATS = {"safetensors": ("model", "safetensors"), "bin": ("pytorch_model", "bin")}
"""Kinds of weights in order of preference: stem and suffix of their files."""
_N_THREADS = 4
_NONE: dict[str, object] = {}
"""Kept in place of an answer where the Hub has no such repository."""


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
    """A commit of a repository, and the name of the revision that it was found by.

    `subfolder` is the folder in it that is meant, such as `step512`; empty for all of it.
    """

    repo: str
    revision: str
    sha: str
    kind: Kind = "model"
    subfolder: str = ""

    def __str__(self) -> str:
        return f"{'dataset ' if self.kind == 'dataset' else ''}{self.repo}@{self.revision}"


@dataclass(frozen=True)
class HubRevision:
    """A resolved revision in one of its formats: its commit, and the files that are needed of it, sorted.

    Attributes:
        repo, revision, commit_sha: its location.
        format: `safetensors` or `bin`.
        weights: the weight files.
        setup: config, tokenizer and the index of shards.
        subfolder: the folder of the commit that holds it; empty where it is all of the commit.
    """

    repo: str
    revision: str
    commit_sha: str
    format: str
    weights: tuple[HubFile, ...]
    setup: tuple[HubFile, ...]
    subfolder: str = ""

    @property
    def commit(self) -> Commit:
        """Its location alone."""
        return Commit(self.repo, self.revision, self.commit_sha, subfolder=self.subfolder)

    def name_in_folder(self, file: HubFile) -> str:
        """The name of one of its files in the folder that holds it."""
        return file.path.removeprefix(f"{self.subfolder}/") if self.subfolder else file.path

    @property
    def files(self) -> tuple[HubFile, ...]:
        """All files, setup first: a faulty one then fails before gigabytes are fetched."""
        return self.setup + self.weights

    @property
    def weights_name(self) -> str:
        """Its weights in a few words: the file, or the first shard and their number."""
        return self.weights[0].path + (f" ({len(self.weights)} shards)" if len(self.weights) > 1 else "")

    @property
    def n_bytes(self) -> int:
        """Size of all files on disk; files of equal content are one blob."""
        return sum({file.etag: file.size for file in self.files}.values())

    @property
    def content_hash(self) -> str:
        """Hash of the weights, equal to that of a local folder with the same files; equal hashes are equal weights."""
        lines = (f"{self.name_in_folder(file)} {file.sha256 or 'git:' + file.oid}\n" for file in self.weights)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def setup_hash(self) -> str:
        """Hash of config and tokenizer files, from their ids on the Hub."""
        ids = {self.name_in_folder(file): file.etag for file in self.setup}
        return hash_setup({name: etag for name, etag in ids.items() if name in SETUP_FILES})


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
        if answer == _NONE:
            raise NoRepository(f"HF_HUB_OFFLINE is set and there was no {repo} when it was asked for online")
    else:
        answer = _online_refs(hub, repo, kind, name)
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


def _online_refs(hub: HubSettings, repo: str, kind: Kind, name: str) -> Any:
    """The Hub's answer; that there is no such repository is kept too, unless it was there before."""
    try:
        return _refs(hub, repo, kind)
    except NoRepository:
        if kept(hub, name) is None:
            keep(hub, name, _NONE)
        raise


def _refs(hub: HubSettings, repo: str, kind: Kind) -> Any:
    try:
        return get_json(hub, repo_url(hub, repo, kind, "refs"), f"the revisions of {repo}")[0]
    except CheckpointError as error:
        if not is_no_repository(error):
            raise
        near = get_close_matches(repo, all_models(), 1, cutoff=0.8) if kind == "model" else []
        hint = f"; did you mean {near[0]!r}?" if near and near != [repo] else ""
        raise NoRepository(f"{error}{hint}") from error


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
    commits: Sequence[Commit], *, own_tokenizer: bool = True
) -> tuple[dict[Commit, tuple[HubRevision, ...]], dict[Commit, str]]:
    """The formats of every usable commit, and for each unusable one the reason.

    Args:
        commits: commits, or folders of them.
        own_tokenizer: as in `list_formats`.

    Raises:
        CheckpointError: the Hub cannot be reached.
    """
    listed = sorted({(commit.repo, commit.sha) for commit in commits})
    with ThreadPool(_N_THREADS) as pool:  # of daemons: an interrupted sweep must not wait for one that waits
        files = dict(zip(listed, pool.imap(lambda pair: list_files(*pair), listed), strict=True))
    usable, reasons = {}, {}
    for commit in commits:
        try:
            usable[commit] = list_formats(commit, files[commit.repo, commit.sha], own_tokenizer=own_tokenizer)
        except CheckpointError as error:
            reasons[commit] = str(error)
    return usable, reasons


def list_formats(commit: Commit, files: Iterable[HubFile], *, own_tokenizer: bool = True) -> tuple[HubRevision, ...]:
    """A commit's checkpoint in each format that it has, in order of preference: safetensors, `.bin`; one file, shards.

    A set of shards without all of them, or without their index, is left out, unless it would be the first.

    Args:
        commit: its location.
        files: all files of the commit.
        own_tokenizer: whether its own tokenizer is used, and so has to be there.

    Raises:
        CheckpointError: it has no weights, or lacks a shard, config or tokenizer.
    """
    checked_revision(commit.revision)
    folder = f"{commit.subfolder}/" if commit.subfolder else ""
    by_path = {file.path.removeprefix(folder): file for file in files if file.path.startswith(folder)}
    where = f"{commit} {commit.subfolder}".strip()
    _check_setup(by_path, where, own_tokenizer=own_tokenizer)
    names = SETUP_FILES if own_tokenizer else (CONFIG,)
    setup = tuple(by_path[name] for name in names if name in by_path)

    def found(kind: str, weights: tuple[HubFile, ...], *index: HubFile) -> HubRevision:
        in_order = tuple(sorted((*setup, *index)))
        return HubRevision(commit.repo, commit.revision, commit.sha, kind, weights, in_order, commit.subfolder)

    formats: list[HubRevision] = []
    for kind, (stem, suffix) in FORMATS.items():
        if whole := by_path.get(f"{stem}.{suffix}"):
            formats.append(found(kind, (whole,)))
        try:
            shards = _shards(by_path, stem, suffix, where)
        except CheckpointError:
            if not formats:
                raise
            continue
        if shards:
            formats.append(found(kind, shards, by_path[f"{stem}.{suffix}.index.json"]))
    if not formats:
        raise CheckpointError(f"{where} has no weights; leave the step out")
    return tuple(formats)


def _check_setup(by_path: Mapping[str, HubFile], where: str, *, own_tokenizer: bool) -> None:
    """Check that a revision has a config and, where it is used, a tokenizer."""
    required = (CONFIG, TOKENIZER) if own_tokenizer else (CONFIG,)
    missing = [name for name in required if name not in by_path]
    if not missing:
        return
    remedy = "leave the step out"
    if missing == [TOKENIZER]:
        others = " and ".join(name for name in ("vocab.json", "merges.txt") if name in by_path)
        instead = f" ({others} may be read in several ways)" if others else ""
        remedy = f'name one for the model, as tokenizer = "owner/name@revision" or a folder{instead}, or {remedy}'
    raise CheckpointError(f"{where} has no {' and no '.join(missing)}; {remedy}")


def _shards(by_path: Mapping[str, HubFile], stem: str, suffix: str, where: str) -> tuple[HubFile, ...]:
    """All shards of a kind; nothing where there are none."""
    shard = re.compile(rf"{stem}-(\d{{5}})-of-(\d{{5}})\.{suffix}")
    shards = {name: match for name in sorted(by_path) if (match := shard.fullmatch(name))}
    if not shards:
        return ()
    totals = {int(match[2]) for match in shards.values()}
    numbers = sorted(int(match[1]) for match in shards.values())
    index = f"{stem}.{suffix}.index.json"
    if len(totals) > 1 or numbers != list(range(1, max(totals) + 1)) or index not in by_path:
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
        path, size, lfs = entry["path"], entry["size"], entry.get("lfs")
        if not isinstance(path, str) or type(size) is not int or not 0 <= size < 2**63:
            raise ValueError(f"path {path!r}, size {size!r}")
        oid = checked_sha(entry["oid"], f"the id of {path} in {repo}")
        return HubFile(path, size, oid, checked_sha256(lfs["oid"], f"the hash of {path} in {repo}") if lfs else None)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"the listing of {repo} is not the Hub's: {error!r} in an entry; check HF_ENDPOINT"
        ) from error
