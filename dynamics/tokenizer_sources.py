"""Tokenizers that a plan names in place of a model's own, on the Hub or in a folder, with their commit and hash."""

import re
from dataclasses import dataclass
from pathlib import Path

from dynamics.checkpoint_files import git_id
from dynamics.errors import CheckpointError, unknown
from dynamics.hub.fetch import fetch_setup
from dynamics.hub.listing import CONFIG, SETUP_FILES, TOKENIZER, HubRevision, hash_setup, list_files, list_refs
from dynamics.hub.names import split_name

FILES = tuple(name for name in SETUP_FILES if name != CONFIG)
"""The files that decide the tokens of a text and the special tokens around it."""
_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class NamedTokenizer:
    """A tokenizer that a plan names for all steps of a model.

    Attributes:
        name: `owner/name@revision`, or the name of its folder.
        commit_sha: the Hub commit (40 hex); for a folder `sha256:` and the hash of its files.
        files_hash: hash of its files, whose change is another unit.
        folder: of its files; None for one on the Hub.
        remote: its files on the Hub; None for a folder.
    """

    name: str
    commit_sha: str
    files_hash: str
    folder: Path | None
    remote: HubRevision | None = None

    def __str__(self) -> str:
        return f"{self.name} commit {self.commit_sha} files {self.files_hash}"

    def local(self) -> Path:
        """Its folder, fetched and verified where it is on the Hub.

        Raises:
            CheckpointError: as `dynamics.hub.fetch.fetch_setup`.
        """
        if self.remote is not None:
            return fetch_setup(self.remote)
        assert self.folder is not None
        return self.folder


def find_tokenizer(where: str | Path) -> NamedTokenizer:
    """The tokenizer of a folder, or of `owner/name@revision` on the Hub; nothing of it is fetched.

    Raises:
        CheckpointError: there is no such folder, repository or revision, or it has no tokenizer.json.
    """
    return _in_folder(where) if isinstance(where, Path) else _on_hub(where)


def _in_folder(folder: Path) -> NamedTokenizer:
    present = [path for name in FILES if (path := folder / name).is_file()]
    if TOKENIZER not in {path.name for path in present}:
        raise CheckpointError(
            f"tokenizer {folder} is not a folder with {TOKENIZER}; give one, or a tokenizer on the Hub as "
            '"owner/name@revision"'
        )
    files_hash = hash_setup({path.name: git_id(path) for path in present})
    return NamedTokenizer(folder.resolve().name, f"sha256:{files_hash}", files_hash, folder)


def _on_hub(name: str) -> NamedTokenizer:
    repo, revision = split_name(name)
    sha = revision
    if not _SHA.fullmatch(revision):
        refs = list_refs(repo)
        if revision not in refs:
            raise CheckpointError(unknown(f"revision of {repo}", revision, sorted(refs)))
        sha = refs[revision]
    setup = tuple(file for file in list_files(repo, sha) if file.path in FILES)
    if TOKENIZER not in {file.path for file in setup}:
        raise CheckpointError(f"tokenizer {name} has no {TOKENIZER}; give a revision or a folder that has one")
    files_hash = hash_setup({file.path: file.etag for file in setup})
    return NamedTokenizer(name, sha, files_hash, None, HubRevision(repo, revision, sha, "", (), setup))
