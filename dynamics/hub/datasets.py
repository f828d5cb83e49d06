"""Verified download of a dataset's file: retried after transient errors, and compared with its hash on the Hub.

huggingface_hub accepts any content of the announced length. It names the stored content after the server's ETag, which
is the SHA-256 of a large file and git's id of a small one: that name is the hash to compare with, without another
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
    """One verified file of a dataset repository, from the cache or the network.

    A file that differs from its hash is deleted and downloaded once more; if it differs again, the fetch fails.
    Offline, nothing is deleted.

    Raises:
        CheckpointError: it cannot be downloaded, or its content does not have its hash.
    """
    hub, what = settings(), f"{path} of dataset {repo} at revision {revision} from the Hub"
    difference = None
    for _ in range(2):
        file = with_retries(lambda: _download(hub, repo, path, revision), what)
        difference = differs(file, _expected_file(file))
        if difference is None:
            return file
        if hub.offline:
            raise CheckpointError(f"{what}: {difference}; HF_HUB_OFFLINE is set, so it is not fetched again")
        discard(file)
    raise CheckpointError(f"{what}: {difference}, twice; the server or a proxy alters it. Nothing of it was kept")


def _download(hub: HubSettings, repo: str, path: str, revision: str) -> Path:
    file = hf_hub_download(
        repo,
        path,
        repo_type="dataset",
        revision=revision,
        endpoint=hub.endpoint,
        cache_dir=hub.cache,
        token=hub.token or False,
        local_files_only=hub.offline,
    )
    return Path(file)


def _expected_file(file: Path) -> HubFile:
    """The listing of a file in the cache, whose content is named after its hash.

    Raises:
        CheckpointError: the name is not a hash, as in a cache on a disk without symbolic links.
    """
    content = file.resolve()
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", content.name):
        raise CheckpointError(f"{file} does not say its hash; put HF_HUB_CACHE on a disk with symbolic links")
    sha256 = content.name if len(content.name) == 64 else None
    return HubFile(file.name, content.stat().st_size, content.name, sha256)
