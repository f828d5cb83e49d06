"""Verified download of a dataset's files: found in the listing of a commit, by path or by the name of their split.

The hash that a file must have comes from that listing. A cache names it only sometimes: huggingface_hub names content
after the server's ETag, but the Hub's Xet store after another hash.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

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


def fetch_dataset_split(repo: str, split: str, hint: str, revision: str = "main") -> SplitOnHub:
    """The verified files of a split: the one at a known path, else Parquet files that are named after the split.

    Searched are the revision and, unless that is a commit, the Hub's own conversion to Parquet. A file that differs
    from its hash is deleted and downloaded once more; if it differs again, the listing is requested again, and where
    that has not changed, the fetch fails. Offline, nothing is deleted, and without a stored listing the known path is
    read from the cache.

    Args:
        repo, revision: of the dataset.
        split: its name, as in `train-00000-of-00002.parquet` or `train/0000.parquet`.
        hint: where the file was when the task was written; its first folder is the configuration, as in `rte/...`.

    Raises:
        CheckpointError: it is nowhere, a shard is missing, several configurations have it, it cannot be downloaded, or
            its content does not have its hash.
    """
    hub = settings()
    try:
        commit, files = _listed(hub, repo, revision)
    except CheckpointError:
        if not hub.offline:
            raise
        file = _by_name_of_blob(hub, repo, hint, revision)
        sha = file.relative_to(repo_folder(hub.cache, repo, "dataset") / "snapshots").parts[0]
        return SplitOnHub((file,), (hint,), revision, sha)
    listings = [(commit, files)]
    if not split_names(files, split, hint) and not re.fullmatch(r"[0-9a-f]{40}", revision):
        try:
            listings.append(_listed(hub, repo, CONVERTED))
        except Unreachable:
            raise
        except CheckpointError:  # not every dataset has a conversion
            pass
    for commit, listed in listings:
        if names := split_names(listed, split, hint):
            paths = tuple(_verified(commit, listed[name]) for name in names)
            return SplitOnHub(paths, names, commit.revision, commit.sha, _in_other_formats(listed, split, names))
    raise CheckpointError(
        f"{hint} of dataset {repo}@{revision}: neither this file nor Parquet files of a split {split!r} are there "
        f"or at {CONVERTED}; it has {_first_names(files)}. Pin a commit that has it in the plan's [revisions]"
    )


def split_names(files: Collection[str], split: str, hint: str) -> tuple[str, ...]:
    """The names of a split's files, in order; none where it has none.

    Raises:
        CheckpointError: a shard is missing, or it is not clear which configuration is meant.
    """
    if hint in files:
        return (hint,)
    if not hint.endswith(".parquet"):
        return ()
    pattern = re.compile(rf"(?:(.+)/)?{re.escape(split)}(?:(?:-\d+-of-\d+)?|/[^/]*)\.parquet")
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(files):
        if match := pattern.fullmatch(name):
            found[match[1] or ""].append(name)
    folder = PurePosixPath(hint).parts[0] if "/" in hint else ""
    if folder not in found and folder in _ANY_CONFIGURATION:
        possible = [name for name in found if name in _ANY_CONFIGURATION]
        if len(possible) > 1:
            raise CheckpointError(f"the split {split} is in {' and in '.join(map(repr, possible))}; pin a commit")
        folder = possible[0] if possible else folder
    names = found.get(folder, [])
    _check_shards(names)
    return tuple(names)


def _in_other_formats(files: Collection[str], split: str, names: Collection[str]) -> tuple[str, ...]:
    """The files beside some of a split that are named after it as well, in formats other than theirs, sorted."""
    first = PurePosixPath(min(names))
    formats = "|".join(re.escape(suffix) for suffix in TABLE_SUFFIXES if suffix != first.suffix)
    root = first.parent.parent if first.parent.name == split else first.parent
    prefix = "" if root == PurePosixPath() else f"{re.escape(str(root))}/"
    pattern = re.compile(rf"{prefix}{re.escape(split)}(?:(?:-\d+-of-\d+)?|/[^/]*)(?:{formats})")
    return tuple(sorted(name for name in files if pattern.fullmatch(name)))


def _check_shards(names: Collection[str]) -> None:
    """Check that files numbered `2-of-3` or `0002` are all there."""
    numbers = [re.search(r"(\d+)(?:-of-(\d+))?\.parquet$", name) for name in names]
    if len(names) == 1 and not (numbers[0] and numbers[0][2]):
        return
    wanted = {int(number[2]) if number and number[2] else len(names) for number in numbers}
    present = sorted(int(number[1]) if number else -1 for number in numbers)
    if names and (len(wanted) > 1 or present != list(range(max(wanted)))):
        raise CheckpointError(f"{', '.join(sorted(names)[:3])}: not all files of this split are there, or too many")


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
