"""Identity of results: the version of the method, and the short hashes that identify units, fits and parts."""

import hashlib

METHOD_VERSION = 1
"""Raised when a change of the code changes numbers of the same checkpoint and prompts; hashed into every unit's id."""


def short_hash(text: str, length: int = 16) -> str:
    """The first `length` hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]
