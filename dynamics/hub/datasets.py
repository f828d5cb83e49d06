"""Verified download of a dataset's file: tried again while errors pass, compared with the hash the Hub gave it.

huggingface_hub accepts any content of the announced length. It names what it stores after the server's ETag, which is
the sha256 of a large file and git's id of a small one: so the stored name is the hash to compare with, without another
request, and offline too.
"""

import re
from pathlib import Path

from huggingface_hub import hf_hub_download

from dynamics.errors import CheckpointError
from dynamics.hub.fetch import differs, discard
from dynamics.hub.listing import HubFile
from dynamics.hub.names import HubSettings, settings
from dynamics.hub.retries import with_retries


def fetch_dataset_file(repo: str, path: str, revision: str) -> Path:
    """One file of a dataset repository, from the cache or the network, with the content that its hash names.

    A file that differs is deleted and fetched once more; then the fetch fails. Offline, nothing is deleted.

    Raises:
        CheckpointError: it cannot be had, or is not what its hash says.
    """
    at, what = settings(), f"{path} of dataset {repo} at revision {revision} from the Hub"
    difference = None
    for _ in range(2):
        found = with_retries(lambda: _download(at, repo, path, revision), what)
        difference = differs(found, _named(found))
        if difference is None:
            return found
        if at.offline:
            raise CheckpointError(f"{what}: {difference}; HF_HUB_OFFLINE is set, so it is not fetched again")
        discard(found)
    raise CheckpointError(f"{what}: {difference}, twice; the server or a proxy alters it. Nothing of it was kept")


def _download(at: HubSettings, repo: str, path: str, revision: str) -> Path:
    found = hf_hub_download(
        repo,
        path,
        repo_type="dataset",
        revision=revision,
        endpoint=at.endpoint,
        cache_dir=at.cache,
        token=at.token or False,
        local_files_only=at.offline,
    )
    return Path(found)


def _named(found: Path) -> HubFile:
    """What a file in the cache has to be: the name of its content is its hash.

    Raises:
        CheckpointError: the name is no hash, as in a cache on a disk without symbolic links.
    """
    content = found.resolve()
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", content.name):
        raise CheckpointError(f"{found} does not say its hash; put HF_HUB_CACHE on a disk with symbolic links")
    sha256 = content.name if len(content.name) == 64 else None
    return HubFile(found.name, content.stat().st_size, content.name, sha256)
