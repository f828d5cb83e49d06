"""Paths inside a submitted Ray job, which runs in a copy of the working directory that is deleted after it."""

import os
from pathlib import Path

from dynamics.errors import StoreError
from dynamics.results.places import Place


def check_absolute(option: str, path: Place) -> None:
    """Check that nothing is written below the job's working directory.

    Raises:
        StoreError: inside a job, and the path is relative.
    """
    # Ray sets this for a job's driver; RAY_JOB_ID it sets for workers only.
    if os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") and isinstance(path, Path) and not path.is_absolute():
        raise StoreError(
            f"{option} {path} is relative: inside a Ray job its files would be deleted; give an absolute path"
        )
