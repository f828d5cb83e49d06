"""Identity of a number: the version of the method, and the short hashes that tables carry."""

import hashlib

METHOD_VERSION = 1
"""Raised when the same checkpoint and prompts would give other numbers; part of every unit's identity."""


def short_hash(text: str, length: int = 16) -> str:
    """The first hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]
