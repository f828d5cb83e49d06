"""Folders and files of the Hub's cache, and deleting some of them: never anything outside it, whatever a file says.

A snapshot's file is a link to `blobs/<etag>` of its repository. After a download from the Hub's Xet store that blob is
itself a link, to a store that all repositories of the cache share.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import DeleteCacheStrategy
from huggingface_hub.file_download import repo_folder_name

from dynamics.errors import CheckpointError
from dynamics.hub.listing import Commit, HubFile
from dynamics.hub.names import checked_repo, checked_sha


def repo_folder(cache: Path, repo: str, kind: str = "model") -> Path:
    """Folder of a repository in the cache."""
    return cache / repo_folder_name(repo_id=checked_repo(repo), repo_type=kind)


def snapshot_folder(cache: Path, commit: Commit) -> Path:
    """Folder of a commit in the cache, which links to the contents of its files."""
    return repo_folder(cache, commit.repo, commit.kind) / "snapshots" / checked_sha(commit.sha, "commit")


def checkpoint_folder(cache: Path, commit: Commit) -> Path:
    """Folder of a commit's checkpoint in the cache: that of the commit, or the one in it that is meant."""
    return snapshot_folder(cache, commit) / commit.subfolder


def blob_path(cache: Path, commit: Commit, file: HubFile) -> Path:
    """Path of a file's content in the cache; it may be a link to the shared store."""
    return repo_folder(cache, commit.repo, commit.kind) / "blobs" / file.etag


def blob_behind(path: Path) -> Path | None:
    """The path that a snapshot's link names, one hop; it need not exist. None where the path is no link."""
    return Path(os.path.normpath(path.parent / path.readlink())) if path.is_symlink() else None


def is_inside(path: Path, cache: Path) -> bool:
    """Whether a path, with every link before its last part followed, is in the cache: deleting it touches no other."""
    root = cache.resolve()
    real = path.parent.resolve() / path.name
    return path.name not in ("", "..") and real != root and real.is_relative_to(root)


def leads_inside(path: Path, cache: Path) -> bool:
    """Whether what a path leads to, with every link followed, is in the cache."""
    return path.resolve().is_relative_to(cache.resolve())


def remove(cache: Path, files: Iterable[Path], blobs: Iterable[Path]) -> None:
    """Delete files of snapshots, and blobs; from the shared store only what no other blob links to.

    What is not a file or link inside the cache stays.
    """
    DeleteCacheStrategy(
        expected_freed_size=0,
        blobs=frozenset(path for path in blobs if _removable(path, cache)),
        refs=frozenset(),
        repos=frozenset(),
        snapshots=frozenset(),
        files=frozenset(path for path in files if _removable(path, cache)),
        cache_dir=cache,
    ).execute()


def discard(path: Path, cache: Path) -> None:
    """Delete a file of a snapshot and the content one link behind it.

    Raises:
        CheckpointError: it is not in the cache, as where one of its folders is a link.
    """
    if not is_inside(path, cache):
        raise CheckpointError(
            f"{path} is damaged, but is not deleted: its folder leads outside {cache}; remove that link"
        )
    blob = blob_behind(path)
    remove(cache, [path], [blob] if blob is not None and blob.parent.name == "blobs" else [])


def _removable(path: Path, cache: Path) -> bool:
    return is_inside(path, cache) and (path.is_symlink() or path.is_file())
