"""Paths as people write them."""

from pathlib import Path


def expand_home(path: Path) -> Path:
    """The path with a leading `~` expanded to the user's home; shells do so in arguments only, and not after `=`."""
    return path.expanduser() if path.parts[:1] == ("~",) else path
