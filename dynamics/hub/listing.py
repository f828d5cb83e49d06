"""What a repository holds: revisions, files and their hashes; one format per revision. No file is downloaded.

The listing of a commit never changes, so each is asked for once and kept in the cache; offline, what was kept serves.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from huggingface_hub import get_session, hf_raise_for_status
from huggingface_hub.utils import build_hf_headers

from dynamics.atomic_write import write_atomically
from dynamics.errors import CheckpointError
from dynamics.hub.names import HubSettings, checked_repo, checked_revision, checked_sha, checked_sha256, settings
from dynamics.hub.retries import with_retries

STATE_FOLDER = ".pythia-emergence"
API_TIMEOUT = 30.0
API_LIMIT, API_LIMIT_WITH_TOKEN = 500, 1000
FILE_LIMIT, FILE_LIMIT_WITH_TOKEN = 3000, 5000
REQUESTS_PER_FILE = 3
"""Two HEAD (ours, and huggingface_hub's) and one GET."""
SETUP_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
REQUIRED = ("config.json", "tokenizer.json")
FORMATS = {"safetensors": ("model", "safetensors"), "bin": ("pytorch_model", "bin")}
_AT_ONCE = 4


@dataclass(frozen=True, order=True)
class HubFile:
    """A file of a commit: `oid` is git's id of it (40 hex), `sha256` (64 hex) is known of large files only."""

    path: str
    size: int
    oid: str
    sha256: str | None

    @property
    def etag(self) -> str:
        """What the server calls this content; the name of its blob in the cache."""
        return self.sha256 or self.oid


@dataclass(frozen=True)
class HubRevision:
    """One revision, resolved: its commit, and the only files of it that are needed, sorted.

    Attributes:
        repo, revision, commit_sha: where it is.
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
    def files(self) -> tuple[HubFile, ...]:
        """Setup first: a broken one fails before gigabytes are fetched."""
        return self.setup + self.weights

    @property
    def n_bytes(self) -> int:
        """Size of all files on disk; equal contents are one blob."""
        return sum({file.etag: file.size for file in self.files}.values())

    @property
    def content_hash(self) -> str:
        """The hash a folder with these weights has; equal hashes are equal weights."""
        lines = (f"{file.path} {file.sha256 or 'git:' + file.oid}\n" for file in self.weights)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def setup_hash(self) -> str:
        """Hash of config and tokenizer, from their git ids."""
        return hash_setup({file.path: file.etag for file in self.setup if file.path in SETUP_FILES})


def hash_setup(ids: Mapping[str, str]) -> str:
    """Hash of name and git id of the setup files."""
    return hashlib.sha256("".join(f"{name} {ids[name]}\n" for name in sorted(ids)).encode()).hexdigest()


def list_refs(repo: str) -> dict[str, str]:
    """Branches and tags of a repository -> commit; one request.

    Raises:
        CheckpointError: no such repository, no permission, no network.
    """
    at, kept = settings(), f"{checked_repo(repo)}/refs.json"
    if at.offline:
        answer = _kept(at, kept)
        if answer is None:
            raise CheckpointError(f"HF_HUB_OFFLINE is set and {repo} was never listed here; list it once online")
    else:
        answer = _get(at, f"{at.endpoint}/api/models/{repo}/refs", f"the revisions of {repo}")[0]
        _keep(at, kept, answer)
    try:
        refs = [(ref["name"], ref["targetCommit"]) for kind in ("tags", "branches") for ref in answer[kind]]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{at.endpoint} does not answer as the Hub does for {repo} ({error!r})") from error
    return {str(name): checked_sha(sha, f"the commit of {repo}@{name}") for name, sha in refs}


def list_files(repo: str, commit_sha: str) -> tuple[HubFile, ...]:
    """All files of a commit, sorted; one request per thousand, none if they were listed before.

    Raises:
        CheckpointError: no such commit, no permission, no network, or entries that are not the Hub's.
    """
    at, kept = settings(), f"{checked_repo(repo)}/{checked_sha(commit_sha, 'commit')}.json"
    entries = _kept(at, kept)
    if entries is None:
        if at.offline:
            raise CheckpointError(f"HF_HUB_OFFLINE is set and {repo}@{commit_sha} was never listed here")
        entries = _pages(at, f"{at.endpoint}/api/models/{repo}/tree/{commit_sha}?recursive=true", repo, commit_sha)
    files = tuple(sorted(_file(entry, repo) for entry in entries if entry.get("type") == "file"))
    _keep(at, kept, entries)
    return files


def resolve(
    repo: str, revisions: Sequence[tuple[str, str]], *, allow_pickle: bool
) -> tuple[list[HubRevision], dict[str, str]]:
    """The revisions with the files each needs; and of those that cannot be used, the reason, by revision.

    Args:
        repo: `owner/name`.
        revisions: pairs of revision and commit.
        allow_pickle: whether `.bin` may be chosen where there is no safetensors.

    Raises:
        CheckpointError: the Hub cannot be asked.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        listings = list(pool.map(lambda pair: list_files(repo, pair[1]), revisions))
    found, refused = [], {}
    for (revision, sha), files in zip(revisions, listings, strict=True):
        try:
            found.append(choose_format(repo, revision, sha, files, allow_pickle=allow_pickle))
        except CheckpointError as error:
            refused[revision] = str(error)
    return found, refused


def choose_format(
    repo: str, revision: str, commit_sha: str, files: Iterable[HubFile], *, allow_pickle: bool
) -> HubRevision:
    """The weights to use: safetensors, else `.bin` if allowed; a whole file, else all shards and their index.

    Raises:
        CheckpointError: there are none, only pickles that are not allowed, or a shard, config or tokenizer is missing.
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
                "trust it (it is opened with weights_only=True), or leave the step out"
            )
        index = by_path.get(f"{stem}.{suffix}.index.json")
        parts = tuple(setup) if index is None or len(weights) == 1 else (*setup, index)
        return HubRevision(repo, revision, commit_sha, kind, weights, tuple(sorted(parts)))
    raise CheckpointError(f"{repo}@{revision} has no weights; leave the step out")


def _weights(by_path: Mapping[str, HubFile], stem: str, suffix: str, where: str) -> tuple[HubFile, ...]:
    """The whole file, else the complete shards, else nothing; as transformers would choose."""
    if (whole := f"{stem}.{suffix}") in by_path:
        return (by_path[whole],)
    shard = re.compile(rf"{stem}-(\d{{5}})-of-(\d{{5}})\.{suffix}")
    found = {name: match for name in sorted(by_path) if (match := shard.fullmatch(name))}
    if not found:
        return ()
    totals = {int(match[2]) for match in found.values()}
    numbers = sorted(int(match[1]) for match in found.values())
    if len(totals) > 1 or numbers != list(range(1, max(totals) + 1)) or f"{whole}.index.json" not in by_path:
        raise CheckpointError(
            f"{where} lacks shards or their index ({len(found)} of {max(totals)} {suffix} files); leave the step out"
        )
    return tuple(by_path[name] for name in found)


def _file(entry: Mapping[str, Any], repo: str) -> HubFile:
    """One entry of a tree listing, checked."""
    try:
        path, size, lfs = str(entry["path"]), int(entry["size"]), entry.get("lfs")
        oid = checked_sha(entry["oid"], f"the id of {path} in {repo}")
        return HubFile(path, size, oid, checked_sha256(lfs["oid"], f"the hash of {path} in {repo}") if lfs else None)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"the listing of {repo} is not the Hub's: {error!r} in an entry") from error


def _pages(at: HubSettings, url: str, repo: str, commit_sha: str) -> list[dict]:
    """All entries of a paged answer."""
    entries: list[dict] = []
    host = urlsplit(at.endpoint).netloc
    while url:
        page, following = _get(at, url, f"the files of {repo}@{commit_sha[:8]}")
        if not isinstance(page, list):
            raise CheckpointError(f"{at.endpoint} does not answer as the Hub does for the files of {repo}")
        entries += page
        url = urljoin(url, following) if following else ""
        if url and urlsplit(url).netloc != host:  # the token must not follow a link elsewhere
            raise CheckpointError(f"the listing of {repo} continues on another host, {urlsplit(url).netloc}")
    return entries


def _get(at: HubSettings, url: str, what: str) -> tuple[Any, str | None]:
    """The JSON at a URL, and the URL of the next page.

    Not by `HfApi`: its requests have no time limit, and a hanging server would hang the sweep.
    """

    def once() -> tuple[Any, str | None]:
        headers = build_hf_headers(token=at.token or False)
        response = get_session().get(url, headers=headers, timeout=API_TIMEOUT)
        hf_raise_for_status(response)
        return response.json(), response.links.get("next", {}).get("url")

    return with_retries(once, what)


def _kept(at: HubSettings, name: str) -> Any:
    """An answer kept earlier, or None."""
    try:
        return json.loads((at.cache / STATE_FOLDER / "listings" / name).read_text())
    except (OSError, ValueError):
        return None


def _keep(at: HubSettings, name: str, answer: Any) -> None:
    """Keep an answer; a cache that cannot be written only costs asking again."""
    path = at.cache / STATE_FOLDER / "listings" / name
    with suppress(OSError):
        write_atomically(path, json.dumps(answer).encode())
