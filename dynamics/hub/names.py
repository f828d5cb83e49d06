"""Names that are safe in paths and URLs, and the settings of the Hub client."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import constants, get_token

from dynamics.errors import CheckpointError

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(f"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SHA = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{3,}")
_TRUE = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True)
class HubSettings:
    """Settings of the Hub client: HF_ENDPOINT, HF_HUB_CACHE, HF_HUB_OFFLINE, and HF_TOKEN or HF_TOKEN_PATH."""

    endpoint: str
    cache: Path
    offline: bool
    token: str | None = field(repr=False)


def settings() -> HubSettings:
    """The current settings; huggingface_hub itself reads the environment only once, when it is imported."""
    environment = os.environ
    home = environment.get("HF_HOME")
    cache = environment.get("HF_HUB_CACHE") or (f"{home}/hub" if home else constants.HF_HUB_CACHE)
    offline = environment.get("HF_HUB_OFFLINE")
    return HubSettings(
        endpoint=(environment.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/"),
        cache=Path(os.path.expandvars(cache)).expanduser().absolute(),
        offline=constants.is_offline_mode() if offline is None else offline.upper() in _TRUE,
        token=_token(),
    )


def checked_repo(name: str) -> str:
    """The name of a repository, if it has the form `owner/name`.

    Raises:
        CheckpointError: it has not.
    """
    if not _REPO.fullmatch(name) or ".." in name or "--" in name:
        raise CheckpointError(
            f"model {name!r} is not a repository of the Hub: give owner/name, such as EleutherAI/pythia-70m"
        )
    return name


def checked_revision(name: str) -> str:
    """The name of a branch or tag, if it is valid and has no slashes.

    Raises:
        CheckpointError: it is not valid.
    """
    if not _REVISION.fullmatch(name) or ".." in name:
        raise CheckpointError(f"revision {name!r} is not a branch name: use letters, digits, '.', '_' and '-' only")
    return name


def checked_sha(value: object, what: str) -> str:
    """A git id, if it has 40 hex digits.

    Raises:
        CheckpointError: it has not; `what` names the object.
    """
    if not isinstance(value, str) or not _SHA.fullmatch(value):
        raise CheckpointError(f"{what} is {value!r}, not 40 hex digits; HF_ENDPOINT does not serve the Hub's API")
    return value


def checked_sha256(value: object, what: str) -> str:
    """A SHA-256, if it has 64 hex digits.

    Raises:
        CheckpointError: it has not; `what` names the object.
    """
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise CheckpointError(f"{what} is {value!r}, not 64 hex digits; HF_ENDPOINT does not serve the Hub's API")
    return value


def redact(text: str) -> str:
    """The text without access tokens."""
    return _TOKEN.sub("hf_***", text)


def _token() -> str | None:
    """The token in HF_TOKEN, else in the file that HF_TOKEN_PATH names, else the one huggingface_hub has stored."""
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    named = os.environ.get("HF_TOKEN_PATH")
    if named is None:
        return get_token()
    path = Path(os.path.expandvars(named)).expanduser()
    return path.read_text().strip() or None if path.is_file() else None
