"""Verified download of a dataset's files: found in a listing, by path or by their split's name and number of rows.

The hash that a file must have comes from that listing. A cache names it only sometimes: huggingface_hub names content
after the server's ETag, but the Hub's Xet store after another hash.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import hf_hub_download

from dynamics.errors import CheckpointError, Unreachable, unknown
from dynamics.hub.cache import blob_behind, repo_folder
from dynamics.hub.fetch import Contradiction, changed_entry, differs, fetch_file
from dynamics.hub.listing import Commit, HubFile, list_files, list_refs
from dynamics.hub.retries import with_retries
from dynamics.hub.settings import HubSettings, settings

CONVERTED = "refs/convert/parquet"
"""The branch to which the Hub converts a dataset; its files are `<configuration>/<split>/0000.parquet`."""
TABLE_SUFFIXES = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv")
"""Of files that hold the rows of a split."""
_ANY_CONFIGURATION = ("", "data", "default", "plain_text")
"""Folders that name no configuration, so that one of them may stand for another."""
_SHARD = re.compile(r"(?P<stem>.*?)(?:(?P<number>\d+)(?:-of-(?P<total>\d+))?)?(?:-[0-9a-f]{16})?")
"""A name without its suffix, such as `train-00000-of-00002`, with a hash at its end in older repositories."""


@dataclass(frozen=True)
class SplitOnHub:
    """The verified files of a split: `paths` in the cache, their `names` at a commit, and the revision of that.

    `others` are files there that are named after the split too, in other formats.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    revision: str
    commit_sha: str
    others: tuple[str, ...] = ()


def fetch_dataset_split(
    repo: str, split: str, hint: str, revision: str = "main", n_rows: int | None = None
) -> SplitOnHub:
    """The verified files of a split: the one at a known path, else Parquet files that are named after the split.

    By name the revision is searched and then, unless it is a commit, the Hub's own conversion to Parquet; what is found
    must have `n_rows`.
    A file that differs from its hash is deleted and downloaded once more; if it differs again, the listing is requested
    again, and where that has not changed, the fetch fails. Offline, nothing is deleted, and without a stored listing
    the known path is read from the cache.

    Args:
        repo, revision: of the dataset.
        split: its name, as in `train-00000-of-00002.parquet` or `train/0000.parquet`.
        hint: where the file was when the task was written; its first folder is the configuration, as in `rte/...`.
        n_rows: published number of rows, where known.

    Raises:
        CheckpointError: it is nowhere, several files may be meant, it cannot be downloaded, or its content does not
            have its hash.
    """
    hub, seen = settings(), list[str]()
    is_pinned = re.fullmatch(r"[0-9a-f]{40}", revision) is not None
    places = (revision,) if is_pinned else tuple(dict.fromkeys((revision, CONVERTED)))
    what = f"{hint} of dataset {repo}@{revision}"
    for place in places:
        try:
            commit, listed = _listed(hub, repo, place)
        except Unreachable:
            raise
        except CheckpointError as error:
            if place == revision and not hub.offline:
                raise
            if place == revision and (cached := _without_listing(hub, repo, hint, revision, seen)):
                return cached
            seen.append(f"{place}: {error}")
            continue
        if place == revision and hint in listed:
            return _split(commit, listed, split, (hint,))
        right, wrong = _with_rows(commit, listed, split_candidates(listed, split, hint), n_rows)
        if len(right) > 1:
            rows = "no published number of rows" if n_rows is None else f"{n_rows} rows"
            raise CheckpointError(
                f"{what}: not there, and {' and '.join(map(_shown, right))} at {place} are named after the split "
                f"{split!r}, with {rows}, so either may be meant; pin a commit that has one in the plan's [revisions]"
            )
        if right:
            return _split(commit, listed, split, right[0])
        seen.append(f"at {place} it has {', '.join(wrong) or _first_names(listed)}")
    rows = "" if n_rows is None else f" with {n_rows} rows"
    raise CheckpointError(
        f"{what}: neither this file nor Parquet files of a split {split!r}{rows} are at {' or '.join(places)}: "
        f"{'; '.join(seen)}. "
        + ("HF_HUB_OFFLINE is set" if hub.offline else "Pin a commit that has it in the plan's [revisions]")
    )


def split_candidates(files: Collection[str], split: str, hint: str) -> tuple[tuple[str, ...], ...]:
    """The Parquet files that are named after a split, each one or set of shards apart, shards in order.

    Names are `split.parquet`, `split-*.parquet` and `split/*.parquet` in the folder of the configuration, in `data` or
    in none, and `split*.parquet` in none.
    """
    if not hint.endswith(".parquet"):
        return ()
    own = PurePosixPath(hint).parts[0] if "/" in hint else ""
    found: dict[tuple[object, ...], list[tuple[int, str]]] = defaultdict(list)
    for folder in _ANY_CONFIGURATION if own in _ANY_CONFIGURATION else (own, "data", ""):
        prefix, rest = (f"{re.escape(folder)}/", "") if folder else ("", "|[^/]*")
        pattern = re.compile(rf"{prefix}{re.escape(split)}(|-[^/]*|/[^/]+{rest})\.parquet")
        for name in sorted(files):
            if (match := pattern.fullmatch(name)) and (shard := _SHARD.fullmatch(match[1])):
                set_of_shards = (folder, shard["stem"], shard["number"] is None, shard["total"])
                found[set_of_shards].append((int(shard["number"] or 0), name))
    return tuple(tuple(name for _, name in sorted(shards)) for shards in found.values())


def _with_rows(
    commit: Commit, listed: Mapping[str, HubFile], candidates: Iterable[tuple[str, ...]], n_rows: int | None
) -> tuple[list[tuple[str, ...]], list[str]]:
    """The candidates that have a number of rows, or all where it is None; and in words those that have not."""
    right, wrong = [], []
    for names in candidates:
        if not _is_complete(names):
            wrong.append(f"{_shown(names)} (not all files of it, or too many)")
            continue
        try:
            n = sum(pq.read_metadata(_verified(commit, listed[name])).num_rows for name in names)
        except (OSError, pa.ArrowException):
            wrong.append(f"{_shown(names)} (not Parquet)")
            continue
        if n_rows in (None, n):
            right.append(names)
        else:
            wrong.append(f"{_shown(names)} ({n} rows)")
    return right, wrong


def _is_complete(names: Sequence[str]) -> bool:
    """Whether files numbered `2-of-3` or `0002` are all there."""
    shards = [_SHARD.fullmatch(name.removesuffix(".parquet")) for name in names]
    numbers = [int(shard["number"] or 0) for shard in shards if shard]
    total = shards[0]["total"] if shards[0] else None
    return numbers == list(range(int(total))) if total else len(names) == 1 or numbers == list(range(len(names)))


def _split(commit: Commit, listed: Mapping[str, HubFile], split: str, names: tuple[str, ...]) -> SplitOnHub:
    paths = tuple(_verified(commit, listed[name]) for name in names)
    return SplitOnHub(paths, names, commit.revision, commit.sha, _in_other_formats(listed, split, names))


def _without_listing(hub: HubSettings, repo: str, hint: str, revision: str, seen: list[str]) -> SplitOnHub | None:
    """The file at a known path from the cache alone; None where that has none, with the reason added to `seen`."""
    try:
        file = _by_name_of_blob(hub, repo, hint, revision)
    except CheckpointError as error:
        seen.append(str(error))
        return None
    sha = file.relative_to(repo_folder(hub.cache, repo, "dataset") / "snapshots").parts[0]
    return SplitOnHub((file,), (hint,), revision, sha)


def _in_other_formats(files: Collection[str], split: str, names: Collection[str]) -> tuple[str, ...]:
    """The files beside some of a split that are named after it as well, in formats other than theirs, sorted."""
    first = PurePosixPath(min(names))
    formats = "|".join(re.escape(suffix) for suffix in TABLE_SUFFIXES if suffix != first.suffix)
    root = first.parent.parent if first.parent.name == split else first.parent
    prefix = "" if root == PurePosixPath() else f"{re.escape(str(root))}/"
    pattern = re.compile(rf"{prefix}{re.escape(split)}(?:(?:-\d+-of-\d+)?|/[^/]*)(?:{formats})")
    return tuple(sorted(name for name in files if pattern.fullmatch(name)))


def _listed(hub: HubSettings, repo: str, revision: str) -> tuple[Commit, Mapping[str, HubFile]]:
    """The commit of a revision, and its files by path."""
    sha = _commit_of(hub.endpoint, hub.cache, repo, revision)
    return Commit(repo, revision, sha, "dataset"), {file.path: file for file in list_files(repo, sha, "dataset")}


@lru_cache
def _commit_of(_endpoint: str, _cache: Path, repo: str, revision: str) -> str:
    """The commit of a branch or tag; one for a whole process, so that a sweep does not change its rows half way."""
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    refs = list_refs(repo, "dataset")
    if revision not in refs:
        raise CheckpointError(unknown(f"revision of dataset {repo}", revision, sorted(refs)))
    return refs[revision]


def _verified(commit: Commit, file: HubFile) -> Path:
    try:
        return fetch_file(commit, file)
    except Contradiction:
        if settings().offline or (listed := changed_entry(commit, file)) is None:
            raise
        return fetch_file(commit, listed)


def _by_name_of_blob(hub: HubSettings, repo: str, path: str, revision: str) -> Path:
    """A file that was cached by another program, so that no listing is kept: its blob is named after its hash.

    Raises:
        CheckpointError: it is not cached, differs from that hash, or has no such name.
    """
    what = f"{path} of dataset {repo}@{revision}"
    options = {"endpoint": hub.endpoint, "cache_dir": hub.cache, "local_files_only": True}
    file = Path(
        with_retries(lambda: hf_hub_download(repo, path, repo_type="dataset", revision=revision, **options), what)
    )
    blob = blob_behind(file)
    if blob is None or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name):
        raise CheckpointError(
            f"{what}: HF_HUB_OFFLINE is set, and the cache does not say its hash; fetch it once online, or put "
            "HF_HUB_CACHE on a disk with symbolic links"
        )
    sha256 = blob.name if len(blob.name) == 64 else None
    if difference := differs(file, HubFile(path, file.stat().st_size, blob.name, sha256)):
        raise CheckpointError(f"{what}: {difference}; HF_HUB_OFFLINE is set, so it is not fetched again")
    return file


def _first_names(files: Collection[str]) -> str:
    """The first few names, as text."""
    return f"{', '.join(sorted(files)[:5])}{' and others' if len(files) > 5 else ''}" if files else "no files"


def _shown(names: Sequence[str]) -> str:
    """A file, or the first and the last of its shards."""
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
