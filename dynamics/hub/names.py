"""Names that are safe in paths and URLs, and texts without access tokens."""

import re

from dynamics.errors import CheckpointError

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(f"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SHA = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{3,}")


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


def split_name(text: str) -> tuple[str, str]:
    """Repository and revision of `owner/name@revision`.

    Raises:
        CheckpointError: it is something else.
    """
    repo, _, revision = text.partition("@")
    return checked_repo(repo), checked_revision(revision)
